// The sampling part of a packed plan: a record per sampled row, its biases, and which parts of the sampler are needed.

import type { BatchPlan } from "../../plan.ts";
import { isFiltered, isPenalized, maskOf, rowWords, SampleFlag } from "../../sampling.ts";
import { needsWholeRow } from "../../vocabulary.ts";
import type { Regions } from "./regions.ts";
import { contentAt, Sample, sampleWords, Word } from "./words.ts";

/** Sampled rows that go through head and sampler together. */
export interface SampleGroup {
  /** Byte offset of its region. */
  readonly offset: number;
  /** First sampled row and how many. */
  readonly first: number;
  /** How many sampled rows. */
  readonly count: number;
}

/** Which parts of the sampler some row of the plan needs. */
export interface SamplingNeeds {
  /** Longest history to count for penalties, in the first forward; 0 where no row has any. */
  readonly history: number;
  /** Most biases of a row. */
  readonly biases: number;
  /** Whether some row has a mask. */
  readonly masks: boolean;
  /** Top-k, top-p or min-p. */
  readonly limits: boolean;
  /** Whether some row reports log-probabilities. */
  readonly logprobs: boolean;
  /** Ranks that share the vocabulary cannot settle every row by their best candidates. */
  readonly wholeRows: boolean;
  /** Where logits come from and go to beside the draw: "keep" those of some rows, or "restore" what was kept. */
  readonly kept: "keep" | "restore" | null;
}

/** Looks through the plan's rows. */
export function samplingNeeds(
  { sampling, cachedLength, extendLength, returnLogits, draws }: BatchPlan,
  bias: ReadonlyMap<number, ReadonlyMap<number, number>>,
): SamplingNeeds {
  let history = 0, biases = 0, limits = false, logprobs = false, wholeRows = returnLogits === true;
  let kept: SamplingNeeds["kept"] = draws ? "restore" : null;
  const words = sampling.rows, floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  for (let s = 0, at = 0; at < words.length; s++, at += rowWords) {
    // A record for each row, by name of its words, would take most of the time of packing.
    const row = {
      temperature: floats[at + Sample.temperature]!,
      topK: words[at + Sample.topK]!,
      topP: floats[at + Sample.topP]!,
      minP: floats[at + Sample.minP]!,
      presencePenalty: floats[at + Sample.presencePenalty]!,
      frequencyPenalty: floats[at + Sample.frequencyPenalty]!,
      repetitionPenalty: floats[at + Sample.repetitionPenalty]!,
      logprobs: words[at + Sample.logprobs]!,
      bias: { length: bias.get(s)?.size ?? 0 },
      mask: maskOf(sampling, s),
    };
    if (isPenalized(row)) {
      const sequence = words[at + Sample.sequence]!;
      history = Math.max(history, cachedLength[sequence]! + extendLength[sequence]!);
    }
    biases = Math.max(biases, row.bias.length);
    limits ||= isFiltered(row);
    logprobs ||= row.logprobs > 0;
    wholeRows ||= needsWholeRow(row);
    if (words[at + Sample.flags] === SampleFlag.Keep) kept ??= "keep";
  }
  return { history, biases, masks: sampling.maskRow.length > 0, limits, logprobs, wholeRows, kept };
}

/** Biases of each sampled row, added up per token: (token → value). */
export function mergeBias({ sampling }: BatchPlan): ReadonlyMap<number, ReadonlyMap<number, number>> {
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

/** A group of sampled rows of one forward. */
export interface GroupContents {
  /** First sampled row. */
  readonly first: number;
  /** How many. */
  readonly count: number;
  /** Where its results begin in the result buffer, in words. */
  readonly resultsAt: number;
  /** Alternatives that a row reports. */
  readonly topCount: number;
  /** By sampled row, by token. */
  readonly bias: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

/** Parameters of a group of sampled rows; returns the region's byte offset. */
export function packSamples(
  regions: Regions,
  plan: BatchPlan,
  step: number,
  { first, count, resultsAt, topCount, bias }: GroupContents,
  alignWords: number,
): number {
  const { sampling } = plan;
  const offset = 4 * regions.begin(alignWords);
  regions.take(sampleWords * count);
  regions.header(Word.Samples, count);
  regions.header(Word.ResultsAt, resultsAt);
  regions.header(Word.TopCount, topCount);
  const starts = new Uint32Array(plan.row.length);
  for (let b = 1; b < starts.length; b++) starts[b] = starts[b - 1]! + plan.extendLength[b - 1]!;
  for (let i = 0; i < count; i++) {
    const s = first + i;
    const record = contentAt + sampleWords * i;
    const words = sampling.rows.subarray(s * rowWords, (s + 1) * rowWords);
    regions.setAll(record, words);
    const token = words[Sample.token]!, b = words[Sample.sequence]!;
    regions.set(record + Sample.row, plan.row[b]!);
    regions.set(record + Sample.position, plan.cachedLength[b]! + step + token - starts[b]!);
    const mask = maskOf(sampling, s);
    const maskAt = mask ? regions.take(mask.length) : 0;
    regions.set(record + Sample.maskAt, maskAt);
    if (mask) regions.setAll(maskAt, mask);
    const list = bias.get(s);
    if (list === undefined) continue;
    let biasAt = regions.take(2 * list.size);
    regions.set(record + Sample.biasAt, biasAt);
    regions.set(record + Sample.biasCount, list.size);
    for (const [id, value] of list) {
      regions.set(biasAt++, id);
      regions.setFloat(biasAt++, value);
    }
  }
  return offset;
}
