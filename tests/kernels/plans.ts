// Batch plans and page tables for tests, with defaults for everything that a test does not care about.

import { type BatchPlan, SampleFlag, type SamplingRows } from "../../kernels/plan.ts";
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
};

/** One sequence of a step; `sample` false for a prompt chunk that is not the last. */
export interface TestSequence {
  row: number;
  cached: number;
  extend: number;
  sample?: boolean;
}

/** Per-row sampling parameters; greedy unless said otherwise. */
export interface TestSampling {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  repetitionPenalty?: number;
  promptLength?: number;
  seed?: readonly [number, number];
  logprobs?: number;
  bias?: readonly (readonly [number, number])[];
}

/** Sampled rows of a step: the last token of every sequence that samples. */
export function samplingRows(
  sequences: readonly TestSequence[],
  parameters: readonly TestSampling[] = [],
): SamplingRows {
  const token: number[] = [], sequence: number[] = [];
  let end = 0;
  sequences.forEach((s, b) => {
    end += s.extend;
    if (s.sample === false) return;
    token.push(end - 1);
    sequence.push(b);
  });
  const rows = token.map((_, s) => parameters[s] ?? {});
  const floats = (get: (p: TestSampling) => number | undefined, otherwise: number) =>
    Float32Array.from(rows, (p) => get(p) ?? otherwise);
  const ints = (get: (p: TestSampling) => number | undefined, otherwise: number) =>
    Uint32Array.from(rows, (p) => get(p) ?? otherwise);
  const bias = rows.flatMap((p, s) => (p.bias ?? []).map(([t, v]) => [s, t, v] as const));
  return {
    token: Uint32Array.from(token),
    sequence: Uint32Array.from(sequence),
    flags: new Uint32Array(token.length).fill(SampleFlag.Draw),
    temperature: floats((p) => p.temperature, 0),
    topK: ints((p) => p.topK, 0),
    topP: floats((p) => p.topP, 1),
    minP: floats((p) => p.minP, 0),
    presencePenalty: floats((p) => p.presencePenalty, 0),
    frequencyPenalty: floats((p) => p.frequencyPenalty, 0),
    repetitionPenalty: floats((p) => p.repetitionPenalty, 1),
    promptLength: ints((p) => p.promptLength, 0xffffffff),
    seed: Uint32Array.from(rows.flatMap((p) => p.seed ?? [0, 0])),
    logprobs: ints((p) => p.logprobs, 0),
    biasRow: Uint32Array.from(bias, (b) => b[0]),
    biasToken: Uint32Array.from(bias, (b) => b[1]),
    biasValue: Float32Array.from(bias, (b) => b[2]),
  };
}

/** A plan over the sequences; pages and tokens are written when given. */
export function plan(
  id: number,
  sequences: readonly TestSequence[],
  options: {
    steps?: number;
    pages?: readonly (readonly [row: number, index: number, page: number])[];
    tokens?: readonly { row: number; first: number; ids: readonly number[] }[];
    sampling?: SamplingRows;
    returnLogits?: boolean;
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
