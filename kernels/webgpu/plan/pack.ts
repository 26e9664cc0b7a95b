// Packs a batch plan into words for the kernels.
//
// The array is a row of regions: first the writes to page table and token pool, then for every forward its tokens
// and attention work, and for every forward and group of sampled rows their parameters. Kernels see one region at a
// time through a dynamic offset, so the same bind group and the same recorded kernels serve them all.

import { type BatchPlan, tokenCount } from "../../plan.ts";
import { rowField, sampleCount } from "../../sampling.ts";
import type { StateSpec } from "../../ops.ts";
import type { DecodeLayout } from "../attention/tuning.ts";
import {
  mergeBias,
  packSamples,
  type SampleGroup,
  type SamplingNeeds,
  samplingNeeds,
} from "./pack_sampling.ts";
import { Regions } from "./regions.ts";
import { type ResultLayout, resultWords } from "../../results.ts";
import { headerWords, sampleWords, Word } from "./words.ts";

/** How attention work is cut; chosen from the plan and the device. */
export interface AttentionCut extends DecodeLayout {
  /** Keys per split of a decode sequence. */
  readonly splitKeys: number;
  /** Most splits of any decode sequence of the forward. */
  readonly splits: number;
}

/** What one forward looks like to the operations that record it. */
export interface ForwardShape extends AttentionCut {
  /** Tokens that it computes. */
  readonly tokens: number;
  /** Queries of the decode kernel. */
  readonly decodes: number;
  /** Every sequence computes one token: no query of the forward sees another's key. */
  readonly decodeOnly: boolean;
  /** Query tiles of longer sequences. */
  readonly tiles: number;
  /** Byte offset of its region. */
  readonly offset: number;
  /** Its sampled rows. */
  readonly groups: readonly SampleGroup[];
}

/** A plan, packed. */
export interface PackedPlan extends ResultLayout {
  /** All regions. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Largest region in bytes: what a binding must cover. */
  readonly regionBytes: number;
  /** Page-table entries to set. */
  readonly pageWrites: number;
  /** Token-pool entries to set. */
  readonly tokenWrites: number;
  /** In order. */
  readonly forwards: readonly ForwardShape[];
  /** Parts of the sampler that some row needs. */
  readonly needs: SamplingNeeds;
}

/** Fixed properties of the device and the engine that packing depends on. */
export interface PackOptions {
  /** Sizes of the engine. */
  readonly state: StateSpec;
  /** Words between possible region beginnings. */
  readonly alignWords: number;
  /** Most sampled rows whose logits fit one buffer. */
  readonly maxGroup: number;
  /** Query tokens in a tile. */
  readonly tileTokens: number;
  /** Sequences that compute at most this many tokens go through the decode kernel, token by token. */
  readonly decodeTokens: number;
  /** How decode attention over sequences of these lengths is cut, and whether they are all there is. */
  readonly cut: (lengths: readonly number[], decodeOnly: boolean) => AttentionCut;
}

/** Words that a packed plan has at most. */
export function mostWords(plan: BatchPlan, { alignWords, maxGroup }: PackOptions): number {
  const { steps, sampling, pageWrites, tokenIds } = plan, samples = sampleCount(sampling);
  const regions = 1 + steps * (1 + Math.ceil(samples / maxGroup));
  let row = sampleWords * samples + 2 * sampling.biasRow.length;
  for (const { length } of sampling.masks) row += length;
  // A token is in the list of tokens, and has a query or a tile of its own at most.
  return regions * (headerWords + alignWords) + pageWrites.length + 2 * tokenIds.length +
    steps * (6 * tokenCount(plan) + row);
}

/** Packs a plan, into `room` for `mostWords` of it, which may hold anything. */
export function packPlan(
  plan: BatchPlan,
  options: PackOptions,
  room: Uint32Array<ArrayBuffer> = new Uint32Array(mostWords(plan, options)),
): PackedPlan {
  const regions = new Regions(room);
  const { pageWrites, tokenWrites } = packWrites(regions, plan, options);
  const samples = sampleCount(plan.sampling);
  let topCount = 0;
  for (const logprobs of rowField(plan.sampling, "logprobs")) topCount = Math.max(topCount, logprobs - 1);
  const bias = mergeBias(plan);
  const forwards: ForwardShape[] = [];
  for (let step = 0; step < plan.steps; step++) {
    const body = packForward(regions, plan, step, options);
    const groups: SampleGroup[] = [];
    for (let first = 0; first < samples; first += options.maxGroup) {
      const count = Math.min(options.maxGroup, samples - first);
      const resultsAt = (step * samples + first) * resultWords(topCount);
      const offset = packSamples(
        regions,
        plan,
        step,
        { first, count, resultsAt, topCount, bias },
        options.alignWords,
      );
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
    returned: samples === 0 ? null : returnedRows(plan, options.state),
  };
}

function returnedRows(
  { returnLogits, hidden }: BatchPlan,
  { vocabSize, hiddenSize }: StateSpec,
): PackedPlan["returned"] {
  if (returnLogits) return { name: "logits", width: vocabSize };
  return hidden ? { name: "hidden", width: hiddenSize } : null;
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
  for (const [destination, page] of pages) {
    regions.set(at++, destination);
    regions.set(at++, page);
  }
  at = regions.take(2 * plan.tokenIds.length);
  regions.header(Word.TokenWrites, plan.tokenIds.length);
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
  regions.header(Word.Samples, sampleCount(plan.sampling));
  const decodeLengths: number[] = [];
  let tiles = 0;
  for (let b = 0; b < sequences; b++) {
    const extend = plan.extendLength[b]!;
    const first = plan.cachedLength[b]! + step;
    if (extend > decodeTokens) tiles += Math.ceil(extend / tileTokens);
    else for (let i = 0; i < extend; i++) decodeLengths.push(first + i + 1);
  }
  let decodeAt = regions.take(3 * decodeLengths.length);
  let tokenAt = regions.take(2 * tokens);
  let tileAt = regions.take(4 * tiles);
  const decodeOnly = plan.extendLength.every((extend) => extend === 1);
  const cut = options.cut(decodeLengths, decodeOnly);
  regions.header(Word.TokensAt, tokenAt);
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
  return { tokens, decodes: decodeLengths.length, decodeOnly, tiles, offset, ...cut };
}
