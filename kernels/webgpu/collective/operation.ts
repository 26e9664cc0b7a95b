// The operations in which the host takes part: sums over the ranks of a tensor-parallel group, and gathering the
// ranks' logits or candidates. Devices cannot see each other's memory, so data is read back, exchanged through the
// group's shared memory, and written again.

import type { Collective } from "../../ops.ts";
import { gatherBest, gatherRows } from "../../vocabulary.ts";
import { addRows } from "./add.ts";
import type { DeviceBuffer } from "../device/buffers.ts";
import { type DeviceActivation, dispatch, type Forward } from "../record/context.ts";
import { type Logits, noTokenId } from "../sample/draw.ts";

/** output = or += Σ over ranks of partial; `partial` is float32 and holds no meaning afterwards. */
export function recordAllReduce(
  forward: Forward,
  collective: Collective,
  partial: DeviceActivation,
  output: DeviceActivation,
  epilogue: "store" | "add",
): void {
  const { context: { gpu: { queue } }, recorder, shape: { tokens } } = forward;
  const { width } = partial;
  const stored = epilogue === "store" && output.element === "f32";
  const target = stored ? output.buffer : partial.buffer;
  recorder.host(partial.buffer.gpu, 4 * tokens * width, (data) => {
    const values = new Float32Array(data);
    collective.allReduce(values);
    queue.writeBuffer(target.gpu, 0, values);
  });
  if (epilogue === "add") {
    const buffers = { input: partial.buffer, output: output.buffer };
    dispatch(forward, addRows(width, output.element, tokens), buffers);
  }
}

/** logits[row] = the ranks' shares of the row one after the other. */
export function recordGather(
  { context: { gpu: { queue }, state }, recorder }: Forward,
  collective: Collective,
  rows: number,
  local: Logits,
  whole: Logits,
): void {
  const [localStride, stride] = [local.shape.stride, whole.shape.stride];
  recorder.host(local.logits.gpu, 4 * rows * localStride, (data) => {
    const gathered = new Float32Array(rows * stride);
    gatherRows(
      collective,
      state.spec.vocabSize,
      Array.from({ length: rows }, (_, row) => row),
      { data: new Float32Array(data), offset: 0, stride: localStride },
      { data: gathered, offset: 0, stride },
    );
    queue.writeBuffer(whole.logits.gpu, 0, gathered);
  });
}

/**
 * Replaces the candidates of this rank's chunks, [rows, chunks], by one for each row: the best of all ranks. A
 * candidate is (logit, token). Before, tokens are counted from this rank's first one; after, from the vocabulary's.
 */
export function recordGatherBest(
  { context: { gpu: { queue }, state }, recorder }: Forward,
  collective: Collective,
  rows: number,
  chunks: number,
  candidates: DeviceBuffer,
): void {
  recorder.host(candidates.gpu, 8 * rows * chunks, (data) => {
    const values = new Float32Array(data), tokens = new Uint32Array(data);
    const own = Array.from({ length: rows }, (_, row) => {
      let best = { value: -Infinity, token: 0 };
      for (let at = 2 * row * chunks; at < 2 * (row + 1) * chunks; at += 2) {
        // A chunk without a number above the lowest has no token.
        if (values[at]! > best.value && tokens[at + 1] !== noTokenId) {
          best = { value: values[at]!, token: state.spec.vocabStart + tokens[at + 1]! };
        }
      }
      return best;
    });
    gatherBest(collective, own).forEach(({ value, token }, row) => {
      values[2 * row] = value;
      tokens[2 * row + 1] = token;
    });
    queue.writeBuffer(candidates.gpu, 0, data, 0, 8 * rows);
  });
}
