// Matrix products: plans each part of a matrix and binds its buffers.

import type { Norm } from "../ops.ts";
import { type DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "./context.ts";
import { planLinear } from "./linear/plan.ts";
import type { DeviceMatrix, DeviceVector } from "./weights.ts";

/** A product over `rows` activation rows, whose number the kernels find in plan word `countWord`. */
export interface LinearOperation {
  /** [tokens, columns] */
  readonly input: DeviceActivation;
  /** Applied to the input first. */
  readonly norm: Norm | null;
  /** [rows, columns] */
  readonly weight: DeviceMatrix;
  /** [rows] */
  readonly bias: DeviceVector | null;
  /** [tokens, rows], or half as wide for "silu-mul". */
  readonly output: DeviceActivation;
  /** As in `LinearArgs`. */
  readonly epilogue: "store" | "add" | "silu-mul";
  /** Activation rows. */
  readonly rows: number;
  /** Plan word with their number. */
  readonly countWord: number;
}

/** output = epilogue(norm(input) · weightᵀ + bias), part after part. */
export function recordLinear(forward: Forward, operation: LinearOperation): void {
  const { input, norm, weight, bias, output, epilogue, rows } = operation;
  const normWeight = norm === null ? null : (norm.weight as DeviceVector).buffer;
  const key =
    `linear ${weight.parts[0]!.buffer.id} ${input.buffer.id} ${output.buffer.id} ${epilogue} ${rows} ` +
    `${normWeight?.id} ${norm?.epsilon} ${bias?.buffer.id}`;
  recordOperation(forward, key, () =>
    weight.parts.flatMap((part) => {
      const { calls, scratchA, scratchB } = planLinear(
        {
          rows: part.rows,
          columns: weight.spec.columns,
          dtype: weight.spec.dtype,
          epilogue,
          normEpsilon: norm?.epsilon ?? null,
          bias: bias !== null,
          input: input.element,
          output: output.element,
          outputStride: output.width,
          outputOffset: part.first,
          countWord: operation.countWord,
        },
        rows,
        forward.context.gpu.caps,
      );
      const buffers = {
        input: input.buffer,
        normWeight: normWeight ?? input.buffer,
        weight: part.buffer,
        bias: bias?.cut(weight, part) ?? input.buffer,
        output: output.buffer,
        scratchA: sharedBuffer(forward, "scratchA", scratchA),
        scratchB: sharedBuffer(forward, "scratchB", scratchB),
      };
      return calls.map((call) => look(forward, call, buffers));
    }));
}
