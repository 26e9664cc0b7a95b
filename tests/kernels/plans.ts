// Batch plans and page tables for tests, with defaults for everything that a test does not care about.

import type { BatchPlan } from "../../kernels/plan.ts";
import {
  greedySampler,
  packSampling,
  type SampledRow,
  SampleFlag,
  type Sampling,
} from "../../kernels/sampling.ts";
import type { StateSpec } from "../../kernels/ops.ts";

/** As little state as products need, which look at none of it. */
export const smallState: StateSpec = {
  numLayers: 1,
  heads: { numHeads: 1, numKvHeads: 1, headDim: 8 },
  vocabSize: 8,
  vocabStart: 0,
  pageSize: 16,
  numPages: 1,
  maxRows: 1,
  contextLength: 16,
  maxTokens: 8,
  maxSamples: 1,
  hiddenSize: 64,
};

/** One sequence of a step; `sample` false for a prompt chunk that is not the last. */
export interface TestSequence {
  row: number;
  cached: number;
  extend: number;
  sample?: boolean;
}

/** Per-row sampling parameters; greedy unless said otherwise. */
export type TestSampling = Partial<SampledRow> & { readonly seed?: readonly [number, number] };

/** Sampled rows of a step: the last token of every sequence that samples. */
export function samplingRows(
  sequences: readonly TestSequence[],
  parameters: readonly TestSampling[] = [],
): Sampling {
  const rows: SampledRow[] = [];
  let end = 0;
  sequences.forEach((s, sequence) => {
    end += s.extend;
    if (s.sample === false) return;
    const { seed = [0, 0], ...given } = parameters[rows.length] ?? {};
    rows.push({
      ...greedySampler,
      token: end - 1,
      sequence,
      flags: SampleFlag.Draw,
      promptLength: 0xffffffff,
      seedLow: seed[0],
      seedHigh: seed[1],
      logprobs: 0,
      bias: [],
      ...given,
    });
  });
  return packSampling(rows);
}

/** A plan over the sequences; pages and tokens are written when given. */
export function plan(
  id: number,
  sequences: readonly TestSequence[],
  options: {
    steps?: number;
    pages?: readonly (readonly [row: number, index: number, page: number])[];
    tokens?: readonly { row: number; first: number; ids: readonly number[] }[];
    sampling?: Sampling;
    returnLogits?: boolean;
    hidden?: "also" | "only";
    draws?: boolean;
  } = {},
): BatchPlan {
  return {
    id,
    steps: options.steps ?? 1,
    pageWrites: Uint32Array.from((options.pages ?? []).flat()),
    tokenWrites: Uint32Array.from((options.tokens ?? []).flatMap((t) => [t.row, t.first, t.ids.length])),
    tokenIds: Uint32Array.from((options.tokens ?? []).flatMap((t) => [...t.ids])),
    row: Uint32Array.from(sequences, (s) => s.row),
    cachedLength: Uint32Array.from(sequences, (s) => s.cached),
    extendLength: Uint32Array.from(sequences, (s) => s.extend),
    sampling: options.sampling ?? samplingRows(sequences),
    ...(options.returnLogits ? { returnLogits: true } : {}),
    ...(options.hidden ? { hidden: options.hidden } : {}),
    ...(options.draws ? { draws: true } : {}),
  };
}

/** Pages for `count` positions of each row, handed out in a scattered order. */
export function scatteredPages(
  rows: readonly number[],
  pagesPerRow: number,
  numPages: number,
): [number, number, number][] {
  const order = Array.from({ length: numPages }, (_, i) => i).sort((a, b) =>
    (a * 7919) % 1009 - (b * 7919) % 1009
  );
  if (rows.length * pagesPerRow > numPages) throw new RangeError("not enough pages for the test");
  let next = 0;
  return rows.flatMap((row) =>
    Array.from({ length: pagesPerRow }, (_, index): [number, number, number] => [row, index, order[next++]!])
  );
}
