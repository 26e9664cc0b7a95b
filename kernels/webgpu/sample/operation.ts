// The end of a forward: norm, head and sampling of the rows whose logits are wanted.

import type { Collective, SampleArgs } from "../../ops.ts";
import { recordGather, recordGatherBest } from "../collective/operation.ts";
import { DeviceActivation, dispatch, type Forward, sharedBuffer } from "../record/context.ts";
import { normedType, recordLinear, recordNorm } from "../linear/operation.ts";
import { Word } from "../plan/words.ts";
import type { SampleGroup, SamplingNeeds } from "../plan/pack_sampling.ts";
import { chunkCount, drawChunks, drawFinish, type Logits, type LogitsShape } from "./draw.ts";
import { chunkWords, logprobChunks, logprobFinish } from "./logprobs.ts";
import { moveKept } from "./keep.ts";
import { applyBias, applyMasks, applyPenalties, countHistory } from "./penalties.ts";
import { sampleLimits } from "./threshold.ts";
import type { DeviceBuffer } from "../device/buffers.ts";
import type { DeviceMatrix } from "../state/weights.ts";
import { divideUp } from "../shader/wgsl.ts";

/** Norm, head and draw, group after group of sampled rows. */
export function recordSample(forward: Forward, args: SampleArgs): void {
  for (const group of forward.shape.groups) {
    forward.recorder.region(group.offset);
    recordHidden(forward, group, args);
    if (forward.returned?.only) continue;
    const local = forward.needs.kept === "restore"
      ? logitsBuffer(forward, group, args)
      : recordLogits(forward, group, args);
    recordKept(forward, group, local);
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

/** For a plan that returns what the rows are after the last norm: computes them and copies them out. */
function recordHidden(forward: Forward, { first, count }: SampleGroup, { input, norm }: SampleArgs): void {
  const { recorder, returned } = forward;
  if (returned?.name !== "hidden") return;
  const { width } = returned, bytes = 4 * count * width;
  const rows = new DeviceActivation(width, "f32", sharedBuffer(forward, "hidden", bytes));
  const rowsOf = { rows: count, countWord: Word.Samples, gather: true };
  recordNorm(forward, input as DeviceActivation, norm, rows, rowsOf);
  recorder.copy(rows.buffer.gpu, 0, returned.staging, returned.offset + 4 * first * width, bytes);
}

/** Where the logits of this rank's part of the vocabulary are. */
function logitsBuffer(forward: Forward, { count }: SampleGroup, { head }: SampleArgs): Logits {
  const { rows } = (head as DeviceMatrix).spec, stride = 4 * divideUp(rows, 4);
  const role = forward.context.collective === null ? "logits" : "localLogits";
  return { logits: sharedBuffer(forward, role, 4 * count * stride), shape: { vocabSize: rows, stride } };
}

/** Keeps the logits of rows that are drawn later, or brings back those that this plan draws from. */
function recordKept(forward: Forward, { count }: SampleGroup, { logits, shape }: Logits): void {
  const { needs: { kept: direction }, context: { state: { spec } } } = forward;
  if (direction === null) return;
  const kept = sharedBuffer(forward, "kept", 4 * (spec.maxRows + 1) * shape.stride);
  dispatch(forward, moveKept(shape, direction, count), { logits, kept });
}

/** Computes them. */
function recordLogits(forward: Forward, group: SampleGroup, args: SampleArgs): Logits {
  const { input, norm, softCap } = args, { count } = group;
  const head = args.head as DeviceMatrix, { columns } = head.spec;
  const { context: { gpu } } = forward;
  const local = logitsBuffer(forward, group, args);
  const output = new DeviceActivation(local.shape.stride, "f32", local.logits);
  const buffer = sharedBuffer(forward, "sampled", 4 * count * columns);
  const sampled = new DeviceActivation(columns, normedType(head, count, gpu.caps), buffer);
  const rowsOf = { rows: count, countWord: Word.Samples };
  recordNorm(forward, input as DeviceActivation, norm, sampled, { ...rowsOf, gather: true });
  const end = softCap == null ? { epilogue: "store" } as const : { epilogue: "cap", cap: softCap } as const;
  recordLinear(forward, { input: sampled, weight: head, output, ...end, ...rowsOf });
  return local;
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
  const buffers = { logits, limits, candidates, tokenPool, results: forward.results };
  dispatch(forward, drawChunks(shape, false, count, caps), buffers);
  recordGatherBest(forward, collective, count, chunks, candidates);
  dispatch(forward, drawFinish(1, contextLength, count, caps), buffers);
}

/** For a plan that returns logits: copies the group's rows to where they are read from. */
function copyLogits(
  { recorder, returned }: Forward,
  { first, count }: SampleGroup,
  logits: DeviceBuffer,
  { vocabSize, stride }: LogitsShape,
): void {
  if (returned?.name !== "logits") return;
  for (let i = 0; i < count; i++) {
    const offset = returned.offset + 4 * (first + i) * vocabSize;
    recorder.copy(logits.gpu, 4 * i * stride, returned.staging, offset, 4 * vocabSize);
  }
}

/**
 * Positions of the longest history that the penalties count; 0 where no row has any. Rounded up, so that a growing
 * history does not look like a new shape every step.
 */
export const historyLength = ({ history }: SamplingNeeds, step: number, contextLength: number): number =>
  history === 0 ? 0 : Math.min(contextLength, 1024 * divideUp(history + step, 1024));

/** Penalties, limits, draw and log-probabilities, as far as some row needs them. */
function recordSampler(
  forward: Forward,
  { count }: SampleGroup,
  logits: DeviceBuffer,
  shape: LogitsShape,
): void {
  const { context: { gpu: { caps }, state: { spec: { contextLength }, tokenPool } }, needs, topCount } =
    forward;
  const history = historyLength(needs, forward.step, contextLength);
  const chunks = chunkCount(shape, caps);
  const logitBytes = 4 * count * shape.stride;
  const changed = history > 0 || needs.biases > 0 || needs.masks;
  // The log-probabilities are those of the model, not of the penalised distribution.
  const original = needs.logprobs && changed ? sharedBuffer(forward, "rawLogits", logitBytes) : logits;
  if (original !== logits) forward.recorder.copy(logits.gpu, 0, original.gpu, 0, logitBytes);
  const statsBytes = needs.logprobs ? 4 * count * chunks * chunkWords(topCount) : 16;
  const buffers = {
    logits,
    tokenPool,
    counts: sharedBuffer(forward, "counts", history > 0 ? 4 * count * shape.vocabSize : 16),
    limits: sharedBuffer(forward, "limits", 4 * count),
    candidates: sharedBuffer(forward, "candidates", 8 * count * chunks),
    chunkStats: sharedBuffer(forward, "chunkStats", statsBytes),
    results: forward.results,
  };
  if (history > 0) {
    dispatch(forward, countHistory(shape, contextLength, history, count), buffers);
    dispatch(forward, applyPenalties(shape, contextLength, history, count), buffers);
  }
  if (needs.biases > 0) dispatch(forward, applyBias(shape, needs.biases, count), buffers);
  if (needs.masks) dispatch(forward, applyMasks(shape, count), buffers);
  if (needs.limits) dispatch(forward, sampleLimits(shape, count, caps), buffers);
  dispatch(forward, drawChunks(shape, needs.limits, count, caps), buffers);
  dispatch(forward, drawFinish(chunks, contextLength, count, caps), buffers);
  if (needs.logprobs) {
    const unpenalized = { ...buffers, logits: original };
    dispatch(forward, logprobChunks(shape, count, caps), unpenalized);
    dispatch(forward, logprobFinish(shape, count, caps), unpenalized);
  }
}
