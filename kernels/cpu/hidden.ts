// What sampled rows are after the last norm, for plans that ask for it. Few rows, so the host computes them.

import type { BatchPlan, StepResult } from "../plan.ts";
import type { Norm } from "../ops.ts";
import { rowField } from "../sampling.ts";
import type { Bank } from "./bank.ts";
import type { CpuVector } from "./matrix.ts";

/** norm(input), [S, width], of the plan's sampled rows; `input` is the address of [T, width] numbers in a bank. */
export function hiddenRows(
  bank: Bank,
  input: number,
  width: number,
  { weight, epsilon }: Norm,
  { sampling }: BatchPlan,
): Float32Array {
  const tokens = rowField(sampling, "token"), factors = (weight as CpuVector).values;
  const hidden = new Float32Array(tokens.length * width);
  tokens.forEach((token, s) => {
    const from = input / 4 + token * width, x = bank.floats.subarray(from, from + width);
    let squares = 0;
    for (const v of x) squares += v * v;
    const scale = 1 / Math.sqrt(squares / width + epsilon);
    x.forEach((v, i) => hidden[s * width + i] = v * scale * factors[i]!);
  });
  return hidden;
}

/** The result of a step of which nothing but `hidden` is wanted. */
export function hiddenOnly({ id, sampling }: BatchPlan, hidden: Float32Array): StepResult {
  const { length } = rowField(sampling, "token");
  return {
    id,
    tokens: new Uint32Array(length),
    logprobs: new Float32Array(length).fill(NaN),
    topCount: 0,
    topTokens: new Uint32Array(),
    topLogprobs: new Float32Array(),
    hidden,
    milliseconds: 0,
  };
}
