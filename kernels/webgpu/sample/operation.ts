// The end of a forward: norm, head and sampling of the rows whose logits are wanted.

import type { Collective, Norm } from "../../ops.ts";
import { recordGather, recordGatherBest } from "../collective/operation.ts";
import { DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "../record/context.ts";
import { PlanWord } from "../shader/kernel.ts";
import { normedType, recordLinear } from "../linear/operation.ts";
import { gatherNorm } from "../norm/gather_norm.ts";
import { resultWords } from "../plan/words.ts";
import { type SampleGroup } from "../plan/pack_sampling.ts";
import { chunkCount, drawChunks, drawFinish, type LogitsShape } from "./draw.ts";
import { chunkWords, logprobChunks, logprobFinish } from "./logprobs.ts";
import { applyBias, applyPenalties, countHistory } from "./penalties.ts";
import { sampleLimits } from "./threshold.ts";
import type { DeviceBuffer } from "../device/buffers.ts";
import type { DeviceMatrix, DeviceVector } from "../state/weights.ts";
import { divideUp } from "../shader/wgsl.ts";

/** Bytes of all results of a step. */
export const resultBytes = (samples: number, steps: number, topCount: number): number =>
  4 * samples * steps * resultWords(topCount);

/** Norm, head and draw, group after group of sampled rows. */
export function recordSample(
  forward: Forward,
  input: DeviceActivation,
  norm: Norm,
  head: DeviceMatrix,
): void {
  for (const group of forward.shape.groups) {
    forward.recorder.region(group.offset);
    const local = recordLogits(forward, group, input, norm, head);
    const { collective } = forward.context;
    if (collective !== null && !forward.needs.wholeRows) {
      recordGreedy(forward, group, collective, local);
      continue;
    }
    const { logits, shape } = collective === null ? local : gatherLogits(forward, group, collective, local);
    copyLogits(forward, group, logits, shape);
    recordSampler(forward, group, logits, shape);
  }
}

/** Logits [rows of a group, stride]; the stride is a multiple of four, so that rows can be read in fours. */
interface Logits {
  readonly logits: DeviceBuffer;
  readonly shape: LogitsShape;
}

/** The logits of this rank's part of the vocabulary. */
function recordLogits(
  forward: Forward,
  { count }: SampleGroup,
  input: DeviceActivation,
  norm: Norm,
  head: DeviceMatrix,
): Logits {
  const { context: { gpu, collective } } = forward;
  const { rows, columns } = head.spec;
  const stride = 4 * divideUp(rows, 4);
  const logits = sharedBuffer(forward, collective === null ? "logits" : "localLogits", 4 * count * stride);
  const output = new DeviceActivation(stride, "f32", logits);
  const element = normedType(head, count, gpu.caps);
  const sampled = new DeviceActivation(
    columns,
    element,
    sharedBuffer(forward, "sampled", 4 * count * columns),
  );
  recordOperation(forward, `gather ${input.buffer.id} ${sampled.buffer.id} ${element} ${count}`, () => [
    look(
      forward,
      gatherNorm(
        { rows: "sampled", columns, epsilon: norm.epsilon, input: input.element, output: sampled.element },
        count,
        gpu.caps,
      ),
      { input: input.buffer, weight: (norm.weight as DeviceVector).buffer, output: sampled.buffer },
    ),
  ]);
  recordLinear(forward, {
    input: sampled,
    norm: null,
    weight: head,
    bias: null,
    output,
    epilogue: "store",
    next: null,
    rows: count,
    countWord: PlanWord.Samples,
  });
  return { logits, shape: { vocabSize: rows, stride } };
}

/** The logits of the whole vocabulary. */
function gatherLogits(
  forward: Forward,
  { count }: SampleGroup,
  collective: Collective,
  local: Logits,
): Logits {
  const { vocabSize } = forward.context.state.spec;
  const stride = 4 * divideUp(vocabSize, 4);
  const whole = { logits: sharedBuffer(forward, "logits", 4 * count * stride), shape: { vocabSize, stride } };
  recordGather(forward, collective, count, local, whole);
  return whole;
}

/** The greedy draw: each rank's best token of each row, then the best of those. */
function recordGreedy(
  forward: Forward,
  { count }: SampleGroup,
  collective: Collective,
  { logits, shape }: Logits,
): void {
  const { gpu: { caps }, state: { spec: { contextLength }, tokenPool } } = forward.context;
  const chunks = chunkCount(shape, caps);
  const candidates = sharedBuffer(forward, "candidates", 8 * count * chunks);
  const limits = sharedBuffer(forward, "limits", 4 * count);
  const key = `${logits.id} ${candidates.id} ${shape.vocabSize} ${count}`;
  recordOperation(forward, `greedy ${key}`, () => [
    look(forward, drawChunks(shape, false, count, caps), { logits, limits, candidates }),
  ]);
  recordGatherBest(forward, collective, count, chunks, candidates);
  recordOperation(forward, `settle ${key}`, () => [
    look(forward, drawFinish(1, contextLength, count, caps), {
      candidates,
      tokenPool,
      results: forward.results,
    }),
  ]);
}

/** For a plan that returns logits: copies the group's rows to where they are read from. */
function copyLogits(
  { recorder, logits: target }: Forward,
  { first, count }: SampleGroup,
  logits: DeviceBuffer,
  { vocabSize, stride }: LogitsShape,
): void {
  if (!target) return;
  for (let i = 0; i < count; i++) {
    const offset = target.offset + 4 * (first + i) * vocabSize;
    recorder.copy(logits.gpu, 4 * i * stride, target.staging, offset, 4 * vocabSize);
  }
}

/** Penalties, limits, draw and log-probabilities, as far as some row needs them. */
function recordSampler(
  forward: Forward,
  { count }: SampleGroup,
  logits: DeviceBuffer,
  shape: LogitsShape,
): void {
  const { context: { gpu: { caps }, state: { spec, tokenPool } }, needs, topCount, step } = forward;
  const { contextLength } = spec;
  // Rounded up, so that a growing history does not look like a new operation every step.
  const history = needs.history === 0
    ? 0
    : Math.min(contextLength, 1024 * divideUp(needs.history + step, 1024));
  const changed = history > 0 || needs.biases > 0;
  const key = `sample ${logits.id} ${shape.vocabSize} ${count} ${history} ${needs.biases} ${needs.limits} ` +
    `${needs.logprobs ? topCount : -1}`;
  const original = needs.logprobs && changed
    ? sharedBuffer(forward, "rawLogits", 4 * count * shape.stride)
    : logits;
  // The log-probabilities are those of the model, not of the penalised distribution.
  if (original !== logits) forward.recorder.copy(logits.gpu, 0, original.gpu, 0, 4 * count * shape.stride);
  recordOperation(forward, key, () => {
    const chunks = chunkCount(shape, caps);
    const buffers = {
      logits,
      tokenPool,
      counts: sharedBuffer(forward, "counts", history > 0 ? 4 * count * shape.vocabSize : 16),
      limits: sharedBuffer(forward, "limits", 4 * count),
      candidates: sharedBuffer(forward, "candidates", 8 * count * chunks),
      chunkStats: sharedBuffer(
        forward,
        "chunkStats",
        needs.logprobs ? 4 * count * chunks * chunkWords(topCount) : 16,
      ),
      results: forward.results,
    };
    const prepared = [];
    if (history > 0) {
      prepared.push(look(forward, countHistory(shape, contextLength, history, count), buffers));
      prepared.push(look(forward, applyPenalties(shape, contextLength, history, count), buffers));
    }
    if (needs.biases > 0) prepared.push(look(forward, applyBias(shape, needs.biases, count), buffers));
    if (needs.limits) prepared.push(look(forward, sampleLimits(shape, count, caps), buffers));
    prepared.push(look(forward, drawChunks(shape, needs.limits, count, caps), buffers));
    prepared.push(look(forward, drawFinish(chunks, contextLength, count, caps), buffers));
    if (needs.logprobs) {
      const unpenalized = { ...buffers, logits: original };
      prepared.push(look(forward, logprobChunks(shape, count, caps), unpenalized));
      prepared.push(look(forward, logprobFinish(shape, count, caps), unpenalized));
    }
    return prepared;
  });
}
