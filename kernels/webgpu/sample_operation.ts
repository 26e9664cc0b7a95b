// The end of a forward: norm, head and sampling of the rows whose logits are wanted.

import type { Norm } from "../ops.ts";
import { DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "./context.ts";
import { PlanWord } from "./kernel.ts";
import { recordLinear } from "./linear_operation.ts";
import { gatherNorm } from "./norm/gather_norm.ts";
import { resultWords, type SampleGroup } from "./plan_buffer.ts";
import { chunkCount, drawChunks, drawFinish } from "./sample/draw.ts";
import type { DeviceMatrix, DeviceVector } from "./weights.ts";

/** Norm, head and draw, group after group of sampled rows. */
export function recordSample(
  forward: Forward,
  input: DeviceActivation,
  norm: Norm,
  head: DeviceMatrix,
): void {
  for (const group of forward.shape.groups) {
    forward.recorder.region(group.offset);
    const logits = recordLogits(forward, group, input, norm, head);
    if (forward.logits) {
      const { staging, offset } = forward.logits;
      const rowBytes = 4 * logits.width;
      forward.recorder.copy(
        logits.buffer.gpu,
        0,
        staging,
        offset + group.first * rowBytes,
        group.count * rowBytes,
      );
    }
    recordDraw(forward, group, logits, head);
  }
}

/** Logits [rows of the group, vocabulary]. */
function recordLogits(
  forward: Forward,
  { count }: SampleGroup,
  input: DeviceActivation,
  norm: Norm,
  head: DeviceMatrix,
): DeviceActivation {
  const { context: { gpu } } = forward;
  const { rows, columns } = head.spec;
  const sampled = new DeviceActivation(columns, "f32", sharedBuffer(forward, "sampled", 4 * count * columns));
  const logits = new DeviceActivation(rows, "f32", sharedBuffer(forward, "logits", 4 * count * rows));
  recordOperation(forward, `gather ${input.buffer.id} ${sampled.buffer.id} ${count}`, () => [
    look(
      forward,
      gatherNorm(
        { columns, epsilon: norm.epsilon, input: input.element, output: sampled.element },
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
    output: logits,
    epilogue: "store",
    rows: count,
    countWord: PlanWord.Samples,
  });
  return logits;
}

function recordDraw(
  forward: Forward,
  { count }: SampleGroup,
  logits: DeviceActivation,
  head: DeviceMatrix,
): void {
  const { context: { gpu, state } } = forward;
  const shape = { vocabSize: head.spec.rows, stride: logits.width };
  recordOperation(forward, `draw ${logits.buffer.id} ${head.parts[0]!.buffer.id} ${count}`, () => {
    const chunks = chunkCount(shape, gpu.caps);
    const candidates = sharedBuffer(forward, "candidates", 8 * count * chunks);
    return [
      look(forward, drawChunks(shape, false, count, gpu.caps), {
        logits: logits.buffer,
        limits: logits.buffer,
        candidates,
      }),
      look(forward, drawFinish(shape, state.spec.contextLength, count, gpu.caps), {
        candidates,
        tokenPool: state.tokenPool,
        results: forward.results,
      }),
    ];
  });
}

/** Bytes of all results of a step. */
export const resultBytes = (samples: number, steps: number, topCount: number) =>
  4 * samples * steps * resultWords(topCount);
