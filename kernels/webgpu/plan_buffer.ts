// A batch plan as the kernels read it: one array of 32-bit words for all forwards of a step.
//
// The array is a row of regions, each beginning at a multiple of the binding alignment: first the writes to page
// table and token pool, then for every forward its tokens and attention work, and for every forward and group of
// sampled rows their parameters. Kernels see one region at a time through a dynamic offset, so the same bind group
// and the same recorded kernels serve them all. Positions inside a region are words from its beginning.

import { type BatchPlan, tokenCount } from "../../engine/plan.ts";
import type { StateSpec } from "../ops.ts";
import { needsWholeRow } from "../vocabulary.ts";
import { PlanWord } from "./kernel.ts";

/** Words of a region's header. */
export const Word = {
  ...PlanWord,
  /** Where the tokens' (row, position) pairs begin. */
  TokensAt: 3,
  /** Queries of the decode kernel: where their (token, row, position) triples begin, and how many there are. */
  DecodesAt: 4,
  Decodes: 5,
  /** Keys per split of a decode sequence. */
  SplitKeys: 6,
  /** Query tiles of longer sequences: (first token, row, first position, tokens), and how many there are. */
  TilesAt: 7,
  Tiles: 8,
  /** Sampled rows' records. */
  SamplesAt: 9,
  /** Where this group's results begin in the result buffer, in words, and how many alternatives a row has. */
  ResultsAt: 10,
  TopCount: 11,
  /** (destination, value) pairs for the page table and for the token pool: how many, and where they begin. */
  PageWrites: 12,
  PageWritesAt: 13,
  TokenWrites: 14,
  TokenWritesAt: 15,
  /** Splits there is room for per decode sequence. */
  Splits: 16,
  /** In the first region only: number of the step, read back as proof that the step has run. */
  Serial: 17,
} as const;

const headerWords = 20;

/** Words of a sampled row's record. */
export const Sample = {
  Token: 0,
  Row: 1,
  Position: 2,
  Flags: 3,
  Temperature: 4,
  TopK: 5,
  TopP: 6,
  MinP: 7,
  Presence: 8,
  Frequency: 9,
  Repetition: 10,
  PromptLength: 11,
  SeedLow: 12,
  SeedHigh: 13,
  Logprobs: 14,
  BiasAt: 15,
  BiasCount: 16,
} as const;

export const sampleWords = 17;

/** Words of one sampled row's result: token, log-probability, then the alternatives' ids and log-probabilities. */
export const resultWords = (topCount: number) => 2 + 2 * topCount;

/** How attention work is cut; chosen from the plan and the device. */
export interface AttentionCut {
  /** Keys per split of a decode sequence. */
  readonly splitKeys: number;
  /** Most splits of any decode sequence of the forward. */
  readonly splits: number;
}

/** What one forward looks like to whoever records it. */
export interface ForwardShape extends AttentionCut {
  readonly tokens: number;
  readonly decodes: number;
  readonly tiles: number;
  /** Byte offset of its region. */
  readonly offset: number;
  readonly groups: readonly SampleGroup[];
}

/** Sampled rows that go through head and sampler together. */
export interface SampleGroup {
  readonly offset: number;
  /** First sampled row and how many. */
  readonly first: number;
  readonly count: number;
}

/** Which parts of the sampler some row of the plan needs. */
export interface SamplingNeeds {
  /** Longest history to count for penalties, in the first forward; 0 where no row has any. */
  readonly history: number;
  /** Most biases of a row. */
  readonly biases: number;
  /** Top-k, top-p or min-p. */
  readonly limits: boolean;
  readonly logprobs: boolean;
  /** Ranks that share the vocabulary cannot settle every row by their best candidates. */
  readonly wholeRows: boolean;
}

/** A plan, packed. */
export interface PackedPlan {
  readonly words: Uint32Array<ArrayBuffer>;
  /** Largest region in bytes: what a binding must cover. */
  readonly regionBytes: number;
  readonly pageWrites: number;
  readonly tokenWrites: number;
  readonly forwards: readonly ForwardShape[];
  readonly samples: number;
  readonly topCount: number;
  readonly needs: SamplingNeeds;
}

/** Fixed properties of the device and the engine that packing depends on. */
export interface PackOptions {
  readonly state: StateSpec;
  /** Words between possible region beginnings. */
  readonly alignWords: number;
  /** Most sampled rows whose logits fit one buffer. */
  readonly maxGroup: number;
  /** Query tokens in a tile. */
  readonly tileTokens: number;
  /** Sequences that compute at most so many tokens go through the decode kernel, token by token. */
  readonly decodeTokens: number;
  readonly cut: (lengths: readonly number[]) => AttentionCut;
}

/** Appends regions to a growing array. */
class Regions {
  #words = new Uint32Array(1024);
  #floats = new Float32Array(this.#words.buffer);
  #start = 0;
  #end = 0;
  longest = 0;

  /** Begins a region; returns its first word's index. */
  begin(alignWords: number): number {
    this.#start = Math.ceil(this.#end / alignWords) * alignWords;
    this.#end = this.#start;
    this.take(headerWords);
    return this.#start;
  }

  /** Sets a header word. */
  header(word: number, value: number): void {
    this.#words[this.#start + word] = value;
  }

  /** Room for `count` words; returns their offset within the region. */
  take(count: number): number {
    const at = this.#end - this.#start;
    this.#end += count;
    if (this.#end > this.#words.length) {
      const grown = new Uint32Array(Math.max(2 * this.#words.length, this.#end));
      grown.set(this.#words);
      this.#words = grown;
      this.#floats = new Float32Array(grown.buffer);
    }
    this.longest = Math.max(this.longest, this.#end - this.#start);
    return at;
  }

  set(at: number, value: number): void {
    this.#words[this.#start + at] = value;
  }

  setFloat(at: number, value: number): void {
    this.#floats[this.#start + at] = value;
  }

  finish(): Uint32Array<ArrayBuffer> {
    return this.#words.slice(0, this.#end);
  }
}

/** Packs a plan. */
export function packPlan(plan: BatchPlan, options: PackOptions): PackedPlan {
  const regions = new Regions();
  const { pageWrites, tokenWrites } = packWrites(regions, plan, options);
  const samples = plan.sampling.token.length;
  let topCount = 0;
  for (const n of plan.sampling.logprobs) topCount = Math.max(topCount, n - 1);
  const bias = mergeBias(plan);
  const forwards: ForwardShape[] = [];
  for (let step = 0; step < plan.steps; step++) {
    const body = packForward(regions, plan, step, options);
    const groups: SampleGroup[] = [];
    for (let first = 0; first < samples; first += options.maxGroup) {
      const count = Math.min(options.maxGroup, samples - first);
      const resultsAt = (step * samples + first) * resultWords(topCount);
      const offset = packSamples(regions, plan, step, { first, count, resultsAt, topCount, bias }, options);
      groups.push({ offset, first, count });
    }
    forwards.push({ ...body, groups });
  }
  return {
    words: regions.finish(),
    regionBytes: 4 * regions.longest,
    pageWrites,
    tokenWrites,
    forwards,
    samples,
    topCount,
    needs: samplingNeeds(plan, bias),
  };
}

function samplingNeeds(
  { sampling, cachedLength, extendLength, returnLogits }: BatchPlan,
  bias: ReadonlyMap<number, ReadonlyMap<number, number>>,
): SamplingNeeds {
  let history = 0, biases = 0, limits = false, logprobs = false, wholeRows = returnLogits === true;
  for (let s = 0; s < sampling.token.length; s++) {
    const penalized = sampling.presencePenalty[s] !== 0 || sampling.frequencyPenalty[s] !== 0 ||
      sampling.repetitionPenalty[s] !== 1;
    const b = sampling.sequence[s]!;
    if (penalized) history = Math.max(history, cachedLength[b]! + extendLength[b]!);
    biases = Math.max(biases, bias.get(s)?.size ?? 0);
    const filtered = sampling.topK[s]! > 0 || sampling.topP[s]! < 1 || sampling.minP[s]! > 0;
    limits ||= sampling.temperature[s]! > 0 && filtered;
    logprobs ||= sampling.logprobs[s]! > 0;
    wholeRows ||= needsWholeRow(sampling, s);
  }
  return { history, biases, limits, logprobs, wholeRows };
}

/** The first region: page-table and token-pool entries to set. */
function packWrites(regions: Regions, plan: BatchPlan, { state, alignWords }: PackOptions) {
  const pagesPerRow = Math.ceil(state.contextLength / state.pageSize);
  regions.begin(alignWords);
  // The last of several writes to one entry counts; on the device they would race.
  const pages = new Map<number, number>();
  for (let i = 0; i < plan.pageWrites.length; i += 3) {
    pages.set(plan.pageWrites[i]! * pagesPerRow + plan.pageWrites[i + 1]!, plan.pageWrites[i + 2]!);
  }
  let at = regions.take(2 * pages.size);
  regions.header(Word.PageWrites, pages.size);
  regions.header(Word.PageWritesAt, at);
  for (const [destination, page] of pages) {
    regions.set(at++, destination);
    regions.set(at++, page);
  }
  at = regions.take(2 * plan.tokenIds.length);
  regions.header(Word.TokenWrites, plan.tokenIds.length);
  regions.header(Word.TokenWritesAt, at);
  let next = 0;
  for (let i = 0; i < plan.tokenWrites.length; i += 3) {
    const destination = plan.tokenWrites[i]! * state.contextLength + plan.tokenWrites[i + 1]!;
    const count = plan.tokenWrites[i + 2]!;
    for (let j = 0; j < count; j++) {
      regions.set(at++, destination + j);
      regions.set(at++, plan.tokenIds[next++]!);
    }
  }
  return { pageWrites: pages.size, tokenWrites: next };
}

/** One forward's tokens and attention work. */
function packForward(regions: Regions, plan: BatchPlan, step: number, options: PackOptions) {
  const { alignWords, tileTokens, decodeTokens } = options;
  const tokens = tokenCount(plan);
  const sequences = plan.row.length;
  const offset = 4 * regions.begin(alignWords);
  regions.header(Word.Tokens, tokens);
  regions.header(Word.Sequences, sequences);
  regions.header(Word.Samples, plan.sampling.token.length);
  const decodeLengths: number[] = [];
  let tiles = 0;
  for (let b = 0; b < sequences; b++) {
    const extend = plan.extendLength[b]!;
    const first = plan.cachedLength[b]! + step;
    if (extend > decodeTokens) tiles += Math.ceil(extend / tileTokens);
    else for (let i = 0; i < extend; i++) decodeLengths.push(first + i + 1);
  }
  let tokenAt = regions.take(2 * tokens);
  let decodeAt = regions.take(3 * decodeLengths.length);
  let tileAt = regions.take(4 * tiles);
  const cut = options.cut(decodeLengths);
  regions.header(Word.TokensAt, tokenAt);
  regions.header(Word.DecodesAt, decodeAt);
  regions.header(Word.Decodes, decodeLengths.length);
  regions.header(Word.SplitKeys, cut.splitKeys);
  regions.header(Word.Splits, cut.splits);
  regions.header(Word.TilesAt, tileAt);
  regions.header(Word.Tiles, tiles);
  let token = 0;
  for (let b = 0; b < sequences; b++) {
    const row = plan.row[b]!;
    const extend = plan.extendLength[b]!;
    const first = plan.cachedLength[b]! + step;
    for (let i = 0; i < extend; i++) {
      regions.set(tokenAt++, row);
      regions.set(tokenAt++, first + i);
    }
    const isTiled = extend > decodeTokens;
    for (let i = 0; i < extend; i += isTiled ? tileTokens : 1) {
      if (isTiled) {
        regions.set(tileAt++, token + i);
        regions.set(tileAt++, row);
        regions.set(tileAt++, first + i);
        regions.set(tileAt++, Math.min(tileTokens, extend - i));
      } else {
        regions.set(decodeAt++, token + i);
        regions.set(decodeAt++, row);
        regions.set(decodeAt++, first + i);
      }
    }
    token += extend;
  }
  return { tokens, decodes: decodeLengths.length, tiles, offset, ...cut };
}

/** Biases of each sampled row, added up per token: (token → value). */
function mergeBias({ sampling }: BatchPlan): ReadonlyMap<number, ReadonlyMap<number, number>> {
  const rows = new Map<number, Map<number, number>>();
  for (let i = 0; i < sampling.biasRow.length; i++) {
    const row = sampling.biasRow[i]!;
    const token = sampling.biasToken[i]!;
    const list = rows.get(row) ?? new Map<number, number>();
    list.set(token, (list.get(token) ?? 0) + sampling.biasValue[i]!);
    rows.set(row, list);
  }
  return rows;
}

interface GroupContents {
  readonly first: number;
  readonly count: number;
  readonly resultsAt: number;
  readonly topCount: number;
  readonly bias: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

/** Parameters of a group of sampled rows; returns the region's byte offset. */
function packSamples(
  regions: Regions,
  plan: BatchPlan,
  step: number,
  { first, count, resultsAt, topCount, bias }: GroupContents,
  { alignWords }: PackOptions,
): number {
  const { sampling } = plan;
  const offset = 4 * regions.begin(alignWords);
  const at = regions.take(sampleWords * count);
  regions.header(Word.Samples, count);
  regions.header(Word.SamplesAt, at);
  regions.header(Word.ResultsAt, resultsAt);
  regions.header(Word.TopCount, topCount);
  const starts = new Uint32Array(plan.row.length);
  for (let b = 1; b < starts.length; b++) starts[b] = starts[b - 1]! + plan.extendLength[b - 1]!;
  for (let i = 0; i < count; i++) {
    const s = first + i;
    const record = at + sampleWords * i;
    const token = sampling.token[s]!;
    const b = sampling.sequence[s]!;
    regions.set(record + Sample.Token, token);
    regions.set(record + Sample.Row, plan.row[b]!);
    regions.set(record + Sample.Position, plan.cachedLength[b]! + step + token - starts[b]!);
    regions.set(record + Sample.Flags, sampling.flags[s]!);
    regions.setFloat(record + Sample.Temperature, sampling.temperature[s]!);
    regions.set(record + Sample.TopK, sampling.topK[s]!);
    regions.setFloat(record + Sample.TopP, sampling.topP[s]!);
    regions.setFloat(record + Sample.MinP, sampling.minP[s]!);
    regions.setFloat(record + Sample.Presence, sampling.presencePenalty[s]!);
    regions.setFloat(record + Sample.Frequency, sampling.frequencyPenalty[s]!);
    regions.setFloat(record + Sample.Repetition, sampling.repetitionPenalty[s]!);
    regions.set(record + Sample.PromptLength, sampling.promptLength[s]!);
    regions.set(record + Sample.SeedLow, sampling.seed[2 * s]!);
    regions.set(record + Sample.SeedHigh, sampling.seed[2 * s + 1]!);
    regions.set(record + Sample.Logprobs, sampling.logprobs[s]!);
    const list = bias.get(s);
    if (list === undefined) continue;
    let biasAt = regions.take(2 * list.size);
    regions.set(record + Sample.BiasAt, biasAt);
    regions.set(record + Sample.BiasCount, list.size);
    for (const [id, value] of list) {
      regions.set(biasAt++, id);
      regions.setFloat(biasAt++, value);
    }
  }
  return offset;
}
