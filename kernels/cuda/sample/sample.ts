// The end of a forward: norm, head and sampling of the rows whose logits are wanted. Ranks that share a vocabulary
// exchange their best candidates where that settles every row, whole rows otherwise: on the device, or on the host where
// GPUs do not see each other's memory.

import type { Collective, SampleArgs } from "../../ops.ts";
import { gatherBest, gatherRows } from "../../vocabulary.ts";
import type { SampleGroup } from "../../webgpu/plan/pack_sampling.ts";
import { Float } from "../arguments.ts";
import type { DeviceBuffer } from "../device.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import { launchLinear, prepare } from "../linear/linear.ts";
import { inputType, usesMatrixUnits } from "../linear/product.ts";
import type { CudaActivation, CudaMatrix } from "../memory.ts";
import type { Peers } from "../peers/peers.ts";

/** Tokens of the vocabulary that a block of the draw goes through; `CHUNK` of sample.cu. */
const chunkTokens = 4096;
/** `NO_TOKEN` of sample.cu. */
const noToken = 0xffffffff;

/** Histories that differ by less have the same grid. */
export const historyStep = 1024;

/** Logits [rows, stride]; the stride is a multiple of four, so that rows can be read in fours. */
interface Logits {
  readonly buffer: DeviceBuffer;
  readonly vocabSize: number;
  readonly stride: number;
}

/** Norm, head and draw, group after group of sampled rows. */
export function launchSample(forward: Forward, args: SampleArgs): void {
  const { context: { collective, peers }, shape } = forward;
  for (const group of shape.groups) {
    const plan = forward.plan + BigInt(group.offset - shape.offset);
    launchHidden(forward, group, plan, args);
    if (forward.returned?.only) continue;
    const local = logitsBuffer(forward, group, args);
    if (forward.needs.kept !== "restore") launchHead(forward, group, plan, args, local);
    moveKept(forward, group, plan, local);
    if (collective !== null && !forward.needs.wholeRows) {
      if (peers !== null) drawGreedyOnDevice(forward, group, plan, collective.size, peers, local);
      else drawGreedy(forward, group, plan, collective, local);
      continue;
    }
    const logits = collective === null ? local : gatherLogits(forward, group, collective, local);
    copyLogits(forward, group, logits);
    launchSampler(forward, group, plan, logits);
  }
}

/** For a plan that returns what the rows are after the last norm: computes them and copies them out. */
function launchHidden(
  forward: Forward,
  { first, count }: SampleGroup,
  plan: bigint,
  { input, norm }: SampleArgs,
): void {
  const { context: { device }, returned } = forward;
  if (returned?.name !== "hidden") return;
  const { width, to, offset } = returned;
  const rows = prepare(forward, input as CudaActivation, norm, "f32", count, width, "hidden", plan);
  device.copyOut(to, offset + 4 * first * width, rows, 4 * count * width);
}

/** Where the logits of this rank's part of the vocabulary are. */
function logitsBuffer({ context }: Forward, { count }: SampleGroup, { head }: SampleArgs): Logits {
  const vocabSize = (head as CudaMatrix).spec.rows, stride = 4 * divideUp(vocabSize, 4);
  const role = context.collective === null ? "logits" : "localLogits";
  return { buffer: context.scratch.get(role, 4 * count * stride), vocabSize, stride };
}

/** Keeps the logits of rows that are drawn later, or brings back those that this plan draws from. */
function moveKept(
  { context: { device, state, scratch: buffers }, needs: { kept: direction } }: Forward,
  { count }: SampleGroup,
  plan: bigint,
  { buffer, stride }: Logits,
): void {
  if (direction === null) return;
  const kept = buffers.get("kept", 4 * (state.spec.maxRows + 1) * stride).address;
  const grid = [divideUp(stride, 1024), count] as const;
  const args = [plan, buffer.address, kept, stride, direction === "keep" ? 1 : 0];
  device.launch(device.kernel("sample", "move_kept"), grid, 256, 0, args);
}

/** Computes them. */
function launchHead(
  forward: Forward,
  group: SampleGroup,
  plan: bigint,
  args: SampleArgs,
  { buffer, stride }: Logits,
): void {
  const { context: { halfFrom, scratch: buffers } } = forward;
  const head = args.head as CudaMatrix, { columns } = head.spec;
  const type = usesMatrixUnits(head, halfFrom) ? inputType(head) : "f32";
  prepare(forward, args.input as CudaActivation, args.norm, type, group.count, columns, "sampled", plan);
  launchLinear(forward, {
    input: { type, buffer: buffers.get("sampled", 0) },
    norm: null,
    weight: head,
    bias: null,
    output: { type: "f32", buffer },
    epilogue: "store",
    rows: group.count,
    stride,
  });
  if (args.softCap != null) {
    const { device } = forward.context, count = group.count * stride;
    const grid = [Math.min(1024, divideUp(count, 256)), 1] as const;
    const words = [buffer.address, count, new Float(args.softCap)];
    device.launch(device.kernel("prepare", "cap_logits"), grid, 256, 0, words);
  }
}

/** The logits of the whole vocabulary. */
function gatherLogits(
  { context: { device, state, peers, scratch: buffers } }: Forward,
  { count }: SampleGroup,
  collective: Collective,
  local: Logits,
): Logits {
  const { vocabSize } = state.spec, stride = 4 * divideUp(vocabSize, 4);
  const buffer = buffers.get("logits", 4 * count * stride);
  if (peers !== null) {
    const own = { address: local.buffer.address, stride: local.stride };
    peers.gatherRows(own, { address: buffer.address, stride }, count, vocabSize);
    return { buffer, vocabSize, stride };
  }
  const gathered = new Float32Array(count * stride);
  gatherRows(
    collective,
    vocabSize,
    Array.from({ length: count }, (_, row) => row),
    {
      data: new Float32Array(device.read(local.buffer.address, 4 * count * local.stride)),
      offset: 0,
      stride: local.stride,
    },
    { data: gathered, offset: 0, stride },
  );
  device.write(buffer.address, gathered);
  return { buffer, vocabSize, stride };
}

/** The greedy draw of ranks: each one's best token of each row, then the best of those. */
function drawGreedy(
  forward: Forward,
  { count }: SampleGroup,
  plan: bigint,
  collective: Collective,
  { buffer, vocabSize, stride }: Logits,
): void {
  const { context: { device, state } } = forward;
  const chunks = divideUp(vocabSize, chunkTokens);
  const candidates = scratch(forward, "candidates", 8 * count * chunks);
  drawChunks(forward, count, plan, buffer.address, 0n, candidates, vocabSize, stride);
  const data = device.read(candidates, 8 * count * chunks);
  const values = new Float32Array(data), tokens = new Uint32Array(data);
  const own = Array.from({ length: count }, (_, row) => {
    let best = { value: -Infinity, token: 0 };
    for (let at = 2 * row * chunks; at < 2 * (row + 1) * chunks; at += 2) {
      // A chunk without a number above the lowest has no token.
      if (values[at]! > best.value && tokens[at + 1] !== noToken) {
        best = { value: values[at]!, token: state.spec.vocabStart + tokens[at + 1]! };
      }
    }
    return best;
  });
  gatherBest(collective, own).forEach(({ value, token }, row) => {
    values[2 * row] = value;
    tokens[2 * row + 1] = token;
  });
  device.write(candidates, new Uint32Array(data, 0, 2 * count));
  drawFinish(forward, count, plan, candidates, 1);
}

/** The same without the host. */
function drawGreedyOnDevice(
  forward: Forward,
  { count }: SampleGroup,
  plan: bigint,
  ranks: number,
  peers: Peers,
  { buffer, vocabSize, stride }: Logits,
): void {
  const { state: { spec } } = forward.context;
  // As many as the largest share has; another one's last chunk may be empty.
  const chunks = divideUp(divideUp(spec.vocabSize, ranks), chunkTokens);
  const own = scratch(forward, "ownCandidates", 8 * count * chunks);
  const all = scratch(forward, "candidates", 8 * count * chunks * ranks);
  drawChunks(forward, count, plan, buffer.address, 0n, own, vocabSize, stride, chunks);
  peers.gatherCandidates(own, all, count, chunks, spec.vocabStart);
  drawFinish(forward, count, plan, all, chunks * ranks);
}

/** For a plan that returns logits: copies the group's rows to where they are read from. */
function copyLogits(
  { context: { device }, returned }: Forward,
  { first, count }: SampleGroup,
  { buffer, vocabSize, stride }: Logits,
): void {
  if (returned?.name !== "logits") return;
  for (let i = 0; i < count; i++) {
    const from = buffer.address + BigInt(4 * i * stride);
    device.copyOut(returned.to, returned.offset + 4 * (first + i) * vocabSize, from, 4 * vocabSize);
  }
}

/** Penalties, limits, draw and log-probabilities, as far as some row needs them. */
function launchSampler(
  forward: Forward,
  { count }: SampleGroup,
  plan: bigint,
  { buffer, vocabSize, stride }: Logits,
): void {
  const { context: { device, state }, needs, topCount, step } = forward;
  const { contextLength } = state.spec, pool = state.tokenPool.address, logits = buffer.address;
  const kernel = (name: string) => device.kernel("sample", name);
  const chunks = divideUp(vocabSize, chunkTokens);
  let original = logits;
  if (needs.logprobs && (needs.history > 0 || needs.biases > 0 || needs.masks)) {
    // The log-probabilities are those of the model, not of the penalised distribution.
    original = scratch(forward, "rawLogits", 4 * count * stride);
    device.copy(original, logits, 4 * count * stride);
  }
  if (needs.history > 0) {
    const counts = scratch(forward, "counts", 4 * count * vocabSize);
    // Rounded up, so that a growing history has few shapes.
    const positions = Math.min(contextLength, historyStep * divideUp(needs.history + step, historyStep));
    const grid = [divideUp(positions, 128), count] as const;
    device.launch(kernel("penalty_count"), grid, 128, 0, [plan, pool, counts, vocabSize, contextLength]);
    device.launch(kernel("penalty_apply"), grid, 128, 0, [
      plan,
      pool,
      counts,
      logits,
      vocabSize,
      stride,
      contextLength,
    ]);
  }
  if (needs.biases > 0) {
    device.launch(kernel("add_bias"), [divideUp(needs.biases, 64), count], 64, 0, [plan, logits, stride]);
  }
  if (needs.masks) {
    const grid = [divideUp(vocabSize, 256), count] as const;
    device.launch(kernel("apply_masks"), grid, 256, 0, [plan, logits, vocabSize, stride]);
  }
  let limits = 0n;
  if (needs.limits) {
    limits = scratch(forward, "limits", 4 * count);
    device.launch(kernel("sample_limits"), [count, 1], 1024, 0, [plan, logits, limits, vocabSize, stride]);
  }
  const candidates = scratch(forward, "candidates", 8 * count * chunks);
  drawChunks(forward, count, plan, logits, limits, candidates, vocabSize, stride);
  drawFinish(forward, count, plan, candidates, chunks);
  if (!needs.logprobs) return;
  const stats = scratch(forward, "chunkStats", 4 * count * chunks * (2 + 2 * topCount));
  device.launch(kernel("logprob_chunks"), [chunks, count], 256, 0, [
    plan,
    original,
    stats,
    vocabSize,
    stride,
  ]);
  device.launch(kernel("logprob_finish"), [count, 1], 32, 0, [
    plan,
    original,
    stats,
    forward.results.address,
    chunks,
    stride,
  ]);
}

function drawChunks(
  { context: { device } }: Forward,
  count: number,
  plan: bigint,
  logits: bigint,
  limits: bigint,
  candidates: bigint,
  vocabSize: number,
  stride: number,
  chunks = divideUp(vocabSize, chunkTokens),
): void {
  const grid = [chunks, count] as const;
  const args = [plan, logits, limits, candidates, vocabSize, stride];
  device.launch(device.kernel("sample", "draw_chunks"), grid, 256, 0, args);
}

function drawFinish(
  { context: { device, state }, results }: Forward,
  count: number,
  plan: bigint,
  candidates: bigint,
  chunks: number,
): void {
  device.launch(device.kernel("sample", "draw_finish"), [count, 1], 32, 0, [
    plan,
    candidates,
    state.tokenPool.address,
    results.address,
    chunks,
    state.spec.contextLength,
  ]);
}
