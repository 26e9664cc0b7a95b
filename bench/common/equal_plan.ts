// Plans of equal sequences, for measuring steps and kernels without a scheduler.

import type { BatchPlan } from "../../kernels/plan.ts";
import { greedySampler, packSampling, SampleFlag } from "../../kernels/sampling.ts";

/** What a step of equal sequences looks like. */
export interface EqualPlan {
  readonly id: number;
  /** Sequences; sequence i stands in row i. */
  readonly batch: number;
  /** Positions of each that have keys and values, and how many are computed now. */
  readonly cached: number;
  readonly extend: number;
  /** Forwards: more than one only when every sequence decodes. */
  readonly steps?: number;
  /** Draw a token (greedily) from the last position of each. */
  readonly sampled: boolean;
  /** Page-table entries to set first, (row, index, page) after (row, index, page). */
  readonly pages?: readonly number[];
  /** The tokens of every sequence, if they are to be written first. */
  readonly prompt?: Uint32Array;
}

export function equalPlan(
  { id, batch, cached, extend, steps = 1, sampled, pages = [], prompt }: EqualPlan,
): BatchPlan {
  const rows = Array.from({ length: batch }, (_, i) => i);
  const tokens = prompt?.subarray(0, cached + extend) ?? new Uint32Array();
  return {
    id,
    steps,
    pageWrites: Uint32Array.from(pages),
    tokenWrites: Uint32Array.from(rows.flatMap((row) => tokens.length > 0 ? [row, 0, tokens.length] : [])),
    tokenIds: Uint32Array.from(rows.flatMap(() => [...tokens])),
    row: Uint32Array.from(rows),
    cachedLength: new Uint32Array(batch).fill(cached),
    extendLength: new Uint32Array(batch).fill(extend),
    sampling: packSampling(Array.from({ length: sampled ? batch : 0 }, (_, sequence) => ({
      ...greedySampler,
      token: (sequence + 1) * extend - 1,
      sequence,
      flags: SampleFlag.Draw,
      promptLength: 0,
      seedLow: 0,
      seedHigh: 0,
      logprobs: 0,
      bias: [],
    }))),
  };
}

/** Page-table entries of rows whose pages stand one behind the other, for {@link EqualPlan.pages}. */
export function consecutivePages(rows: number, pagesPerRow: number): number[] {
  const entry = (_: unknown, i: number) => [Math.floor(i / pagesPerRow), i % pagesPerRow, i];
  return Array.from({ length: rows * pagesPerRow }, entry).flat();
}
