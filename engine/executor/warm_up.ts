// Runs every kind of step once before a server takes requests, so that no pipeline is compiled while serving: prompt
// lengths and batch sizes at which kernels change, greedy and with every sampling option.
//
// The steps use row 0, whose page-table entries all still point at the dummy page, so nothing has to be undone.

import { type BatchPlan, SampleFlag, type SamplingRows } from "../plan.ts";
import type { StateSpec } from "../../kernels/ops.ts";

/** Tokens in a step at which some kernel may change its shape. */
const sizes = [1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 256, 512, 1024, 2048, 4096, 8192];

/** The plans, smallest first. `mostTokens` bounds the work where a step is slow. */
export function* warmUpPlans(state: StateSpec, mostTokens: number): Generator<BatchPlan> {
  const fits = sizes.filter((n) => n <= Math.min(mostTokens, state.maxTokens));
  for (const n of fits) {
    if (n <= Math.min(state.maxRows, state.maxSamples)) {
      yield makePlan(new Array<number>(n).fill(1), false);
      yield makePlan(new Array<number>(n).fill(1), true);
    }
    if (n > 1) yield makePlan(chunks(n, state.contextLength - 1), false);
  }
}

/** A prompt of n tokens as sequences no longer than the context. */
function chunks(n: number, most: number): number[] {
  const lengths: number[] = [];
  for (let left = n; left > 0; left -= most) lengths.push(Math.min(left, most));
  return lengths;
}

function makePlan(extendLengths: readonly number[], everything: boolean): BatchPlan {
  const decode = extendLengths.every((n) => n === 1);
  let end = 0;
  const token = extendLengths.map((n) => (end += n) - 1);
  return {
    id: 0,
    steps: 1,
    pageWrites: new Uint32Array(),
    tokenWrites: new Uint32Array(),
    tokenIds: new Uint32Array(),
    row: new Uint32Array(extendLengths.length),
    cachedLength: new Uint32Array(extendLengths.length),
    extendLength: Uint32Array.from(extendLengths),
    sampling: samplingRows(decode ? token : token.slice(-1), decode ? 0 : token.length - 1, everything),
  };
}

function samplingRows(token: readonly number[], firstSequence: number, everything: boolean): SamplingRows {
  const count = token.length;
  const floats = (value: number, otherwise: number) =>
    new Float32Array(count).fill(everything ? value : otherwise);
  return {
    token: Uint32Array.from(token),
    sequence: Uint32Array.from(token, (_, i) => firstSequence + i),
    flags: new Uint32Array(count).fill(SampleFlag.Draw),
    temperature: floats(0.8, 0),
    topK: new Uint32Array(count).fill(everything ? 20 : 0),
    topP: floats(0.9, 1),
    minP: floats(0.05, 0),
    presencePenalty: floats(0.1, 0),
    frequencyPenalty: floats(0.1, 0),
    repetitionPenalty: floats(1.1, 1),
    promptLength: new Uint32Array(count),
    seed: new Uint32Array(2 * count),
    logprobs: new Uint32Array(count).fill(everything ? 6 : 0),
    biasRow: new Uint32Array(everything ? 1 : 0),
    biasToken: new Uint32Array(everything ? 1 : 0),
    biasValue: new Float32Array(everything ? 1 : 0),
  };
}
