// Matrix products: plans each part of a matrix and binds its buffers. A product that finishes its rows in a kernel of
// their own also prepares the input of the one behind it, if it is told which that is.

import type { Norm } from "../../ops.ts";
import {
  type DeviceActivation,
  type Forward,
  look,
  recordOperation,
  sharedBuffer,
} from "../record/context.ts";
import type { DeviceCaps, ElementType } from "../shader/kernel.ts";
import type { LinearShape } from "./linear.ts";
import { nextPreparation, planLinear, preparation } from "./plan.ts";
import type { DeviceMatrix, DeviceVector } from "../state/weights.ts";

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
  /** The product that reads the output next, if it is known. */
  readonly next: { readonly norm: Norm | null; readonly weight: DeviceMatrix } | null;
  /** Activation rows. */
  readonly rows: number;
  /** Plan word with their number. */
  readonly countWord: number;
}

/** output = epilogue(norm(input) · weightᵀ + bias), part after part. */
export function recordLinear(forward: Forward, operation: LinearOperation): void {
  const { input, norm, weight, bias, output, epilogue, next, rows } = operation;
  const { caps } = forward.context.gpu;
  const normWeight = norm === null ? null : vectorBuffer(norm);
  const nextWeight = next?.norm ? vectorBuffer(next.norm) : null;
  const { handover } = forward;
  const handed = handover !== null && handover.activation === input.buffer && handover.norm === normWeight
    ? handover
    : null;
  // One buffer holds this product's prepared input; the other one is free for that of the next.
  const [own, other] = handed?.role === "preparedB"
    ? ["preparedB", "preparedA"] as const
    : ["preparedA", "preparedB"] as const;
  const wanted = next === null || weight.parts.length > 1 ? null : nextPreparation(
    partShape(operation, weight, 0),
    {
      ...partShape(operation, next.weight, 0),
      normEpsilon: next.norm?.epsilon ?? null,
      input: output.element,
    },
    rows,
    caps,
  );
  const key =
    `linear ${weight.parts[0]!.buffer.id} ${input.buffer.id} ${output.buffer.id} ${epilogue} ${rows} ` +
    `${normWeight?.id} ${norm?.epsilon} ${bias?.buffer.id} ${own} ${handed?.preparation.type} ` +
    `${wanted?.type} ${wanted?.normEpsilon} ${nextWeight?.id}`;
  recordOperation(forward, key, () => {
    let held = handed?.preparation ?? null;
    return weight.parts.flatMap((part, i) => {
      const shape = partShape(operation, weight, i);
      const wants = preparation(shape, rows, caps);
      const prepared = wants !== null && held?.type === wants.type;
      held = wants ?? held;
      const { calls, scratch } = planLinear({ ...shape, prepared, next: wanted }, rows, caps);
      const buffers = {
        input: input.buffer,
        normWeight: normWeight ?? input.buffer,
        weight: part.buffer,
        bias: bias?.cut(weight, part) ?? input.buffer,
        output: output.buffer,
        prepared: sharedBuffer(forward, own, scratch.prepared),
        rowScales: sharedBuffer(forward, "rowScales", scratch.rowScales),
        parts: sharedBuffer(forward, "parts", scratch.parts),
        nextNormWeight: nextWeight ?? input.buffer,
        nextPrepared: sharedBuffer(forward, other, scratch.nextPrepared),
      };
      return calls.map((call) => look(forward, call, buffers));
    });
  });
  forward.handover = wanted === null
    ? null
    : { activation: output.buffer, norm: nextWeight, preparation: wanted, role: other };
}

/** The type in which a product with `weight` takes normalised rows, `rows` of them. */
export function normedType(weight: DeviceMatrix, rows: number, caps: DeviceCaps): ElementType {
  const { rows: stride, columns, dtype } = weight.spec;
  const shape: LinearShape = {
    rows: weight.parts[0]!.rows,
    columns,
    dtype,
    epilogue: "store",
    normEpsilon: 0,
    bias: false,
    input: "f32",
    output: "f32",
    outputStride: stride,
    outputOffset: 0,
    countWord: 0,
  };
  return preparation(shape, rows, caps)?.type ?? "f32";
}

const vectorBuffer = ({ weight }: Norm) => (weight as DeviceVector).buffer;

/** Part `index` of a product with a weight. */
function partShape(operation: LinearOperation, weight: DeviceMatrix, index: number): LinearShape {
  const { input, norm, bias, output, epilogue, countWord } = operation;
  const part = weight.parts[index]!;
  return {
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
    countWord,
  };
}
