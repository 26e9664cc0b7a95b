// Steps as a server may meet them, for tests that hold warming up against what is compiled later.

import type { StateSizes } from "../../engine/model/decoder.ts";
import type { BatchPlan } from "../../kernels/plan.ts";
import { SampleFlag } from "../../kernels/sampling.ts";
import type { Random } from "../random.ts";
import { plan, samplingRows, type TestSampling, type TestSequence } from "./plans.ts";

/** Any mixture of prompts and answers, any sampling. */
export function randomPlan(
  id: number,
  { maxRows, maxTokens, contextLength }: StateSizes,
  random: Random,
): BatchPlan {
  const batch = random.pick([1, 1, 2, 3, 5, 8, 13, 20, 50, maxRows]);
  const sequences: TestSequence[] = [];
  let left = maxTokens - maxRows;
  for (let row = 0; row < batch; row++) {
    const extend = Math.min(left, random.pick([1, 1, 1, 2, 7, 40, 130]));
    left -= extend - 1;
    sequences.push({ row, cached: random.int(0, contextLength - extend - 1), extend });
  }
  const parameters = sequences.map((): TestSampling => ({
    temperature: random.pick([0, 0, 0.8]),
    topK: random.pick([0, 20]),
    topP: random.pick([1, 0.9]),
    minP: random.pick([0, 0.1]),
    presencePenalty: random.pick([0, 0, 0.5]),
    frequencyPenalty: random.pick([0, 0, 0.5]),
    repetitionPenalty: random.pick([1, 1, 1.2]),
    promptLength: 1,
    logprobs: random.pick([0, 0, 0, 1, 4]),
    bias: random.pick([[], [], [[3, 1], [5, -1]]]),
    ...(random.next() < 0.2 ? { mask: new Uint32Array(128).fill(5) } : {}),
    ...(random.next() < 0.1 ? { flags: SampleFlag.Keep } : {}),
  }));
  return plan(id, sequences, { sampling: samplingRows(sequences, parameters) });
}
