// The operations in which the host takes part: sums over the ranks of a tensor-parallel group, and gathering the
// ranks' shares of the logits. Devices cannot see each other's memory, so data is read back, exchanged through the
// group's shared memory, and written again.

import type { Collective } from "../ops.ts";
import { addRows } from "./add/add.ts";
import type { DeviceBuffer } from "./buffers.ts";
import { type DeviceActivation, type Forward, look, recordOperation } from "./context.ts";

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
    recordOperation(forward, `add ${partial.buffer.id} ${output.buffer.id} ${tokens}`, () => [
      look(forward, addRows(width, output.element, tokens), { input: partial.buffer, output: output.buffer }),
    ]);
  }
}

/** How a rank's share of the logits lies, and how the whole vocabulary does. */
export interface GatherShape {
  readonly rows: number;
  readonly localStride: number;
  readonly vocabSize: number;
  readonly stride: number;
}

/** logits[row] = the ranks' shares of row one after the other, cut to the vocabulary. */
export function recordGather(
  { context: { gpu: { queue } }, recorder }: Forward,
  collective: Collective,
  { rows, localStride, vocabSize, stride }: GatherShape,
  local: DeviceBuffer,
  logits: DeviceBuffer,
): void {
  recorder.host(local.gpu, 4 * rows * localStride, (data) => {
    const own = new Float32Array(data);
    // The last rank's share may be shorter; every rank sends the same length.
    const share = Math.ceil(vocabSize / collective.size);
    const sent = new Float32Array(rows * share);
    for (let r = 0; r < rows; r++) {
      sent.set(own.subarray(r * localStride, r * localStride + Math.min(share, localStride)), r * share);
    }
    const all = new Float32Array(collective.size * sent.length);
    collective.allGather(sent, all);
    const whole = new Float32Array(rows * stride);
    for (let rank = 0; rank < collective.size; rank++) {
      const first = rank * share;
      const count = Math.min(share, vocabSize - first);
      for (let r = 0; r < rows; r++) {
        const from = (rank * rows + r) * share;
        whole.set(all.subarray(from, from + count), r * stride + first);
      }
    }
    queue.writeBuffer(logits.gpu, 0, whole);
  });
}
