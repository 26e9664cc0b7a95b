// The parameters of one sampled row, taken out of a plan's parallel arrays, for backends that sample row by row.

import type { BatchPlan } from "./plan.ts";

/** One sampled row's parameters; see `SamplingRows` in `kernels/plan.ts`. */
export interface RowParameters {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 keeps all. */
  readonly topK: number;
  /** 1 keeps all. */
  readonly topP: number;
  /** 0 keeps all. */
  readonly minP: number;
  /** Subtracted once for a token in the output. */
  readonly presencePenalty: number;
  /** Subtracted per occurrence in the output. */
  readonly frequencyPenalty: number;
  /** 1 is none. */
  readonly repetitionPenalty: number;
  /** Position where the row's output begins. */
  readonly promptLength: number;
  /** First word of the seed. */
  readonly seedLow: number;
  /** Second word of the seed. */
  readonly seedHigh: number;
  /** Added to the logits; −Infinity forbids. */
  readonly bias: readonly (readonly [token: number, value: number])[];
}

/** Parameters of sampled row s. */
export function rowParameters({ sampling }: BatchPlan, s: number): RowParameters {
  const bias: [number, number][] = [];
  sampling.biasRow.forEach((row, i) => {
    if (row === s) bias.push([sampling.biasToken[i]!, sampling.biasValue[i]!]);
  });
  return {
    temperature: sampling.temperature[s]!,
    topK: sampling.topK[s]!,
    topP: sampling.topP[s]!,
    minP: sampling.minP[s]!,
    presencePenalty: sampling.presencePenalty[s]!,
    frequencyPenalty: sampling.frequencyPenalty[s]!,
    repetitionPenalty: sampling.repetitionPenalty[s]!,
    promptLength: sampling.promptLength[s]!,
    seedLow: sampling.seed[2 * s]!,
    seedHigh: sampling.seed[2 * s + 1]!,
    bias,
  };
}
