// Matrix products: plans each part of a matrix and binds its buffers. A product that finishes its rows in a kernel of
// their own also prepares the input of the one behind it, if it is told which that is.

import type { Gate, Matrix, Norm } from "../../ops.ts";
import { prepareCall } from "./prepare.ts";
import { Word } from "../plan/words.ts";
import { type DeviceActivation, dispatch, type Forward, sharedBuffer } from "../record/context.ts";
import type { DeviceCaps, ElementType } from "../shader/kernel.ts";
import type { LinearShape } from "./linear.ts";
import { nextPreparation, planLinear, preparation } from "./plan.ts";
import type { DeviceMatrix, DeviceVector, MatrixPart } from "../state/weights.ts";

/** A product over `rows` activation rows, whose number the kernels find in plan word `countWord`. */
export interface LinearOperation {
  /** [tokens, columns] */
  readonly input: DeviceActivation;
  /** Applied to the input first. */
  readonly norm?: Norm | undefined;
  /** [rows, columns] */
  readonly weight: DeviceMatrix;
  /** [rows] */
  readonly bias?: DeviceVector | undefined;
  /** [tokens, rows], or half as wide for "gate-mul". */
  readonly output: DeviceActivation;
  /** As in `LinearShape`. */
  readonly epilogue: LinearShape["epilogue"];
  /** For "gate-mul"; SiLU where absent. */
  readonly gate?: Gate | undefined;
  /** For "cap". */
  readonly cap?: number | undefined;
  /** The product that reads the output next, if it is known. */
  readonly next?: { readonly norm?: Norm | undefined; readonly weight: Matrix } | undefined;
  /** Activation rows. */
  readonly rows: number;
  /** Plan word with their number. */
  readonly countWord: number;
}

/** output = epilogue(norm(input) · weightᵀ + bias), part after part. */
export function recordLinear(forward: Forward, operation: LinearOperation): void {
  const { input, norm, weight, bias, output, next, rows } = operation;
  const { caps } = forward.context.gpu;
  const normWeight = norm ? vectorBuffer(norm) : null;
  const nextWeight = next?.norm ? vectorBuffer(next.norm) : null;
  const { handover } = forward;
  const handed = handover !== null && handover.activation === input.buffer && handover.norm === normWeight
    ? handover
    : null;
  // One buffer holds this product's prepared input; the other one is free for that of the next.
  const [own, other] = handed?.role === "preparedB"
    ? ["preparedB", "preparedA"] as const
    : ["preparedA", "preparedB"] as const;
  const wanted = next === undefined || weight.parts.length > 1 ? null : nextPreparation(
    partShape(operation, weight, 0),
    {
      ...partShape(operation, next.weight as DeviceMatrix, 0),
      normEpsilon: next.norm?.epsilon ?? null,
      input: output.element,
    },
    rows,
    caps,
  );
  let held = handed?.preparation ?? null;
  weight.parts.forEach((part, i) => {
    const shape = partShape(operation, weight, i);
    const wants = preparation(shape, rows, caps);
    const prepared = wants !== null && held?.type === wants.type;
    held = wants ?? held;
    const { calls, scratch } = planLinear({ ...shape, prepared, next: wanted }, rows, caps);
    const buffers = {
      input: input.buffer,
      normWeight,
      weight: part.buffer,
      bias: bias?.cut(weight, part) ?? null,
      output: output.buffer,
      prepared: sharedBuffer(forward, own, scratch.prepared),
      rowScales: sharedBuffer(forward, "rowScales", scratch.rowScales),
      parts: sharedBuffer(forward, "parts", scratch.parts),
      nextNormWeight: nextWeight,
      nextPrepared: sharedBuffer(forward, other, scratch.nextPrepared),
    };
    for (const call of calls) dispatch(forward, call, buffers);
  });
  forward.handover = wanted === null
    ? null
    : { activation: output.buffer, norm: nextWeight, preparation: wanted, role: other };
}

/** output = norm(input), of the first `rows` tokens or, with `gather`, of the plan's sampled rows. */
export function recordNorm(
  forward: Forward,
  { element, buffer, width: columns }: DeviceActivation,
  norm: Norm,
  output: DeviceActivation,
  { rows, countWord, gather }: {
    readonly rows: number;
    readonly countWord: number;
    readonly gather: boolean;
  },
): void {
  const preparation = { normEpsilon: norm.epsilon, type: output.element };
  const call = prepareCall({ columns, input: element, countWord }, rows, preparation, gather);
  dispatch(forward, call, { input: buffer, normWeight: vectorBuffer(norm), prepared: output.buffer });
}

/** The type in which a product with `weight` takes normalised rows, `rows` of them. */
export function normedType(weight: DeviceMatrix, rows: number, caps: DeviceCaps): ElementType {
  const shape = { ...plainShape(weight, weight.parts[0]!), normEpsilon: 0 };
  return preparation(shape, rows, caps)?.type ?? "f32";
}

/** A product of float32 activations with a part of a weight, and nothing else. */
export function plainShape({ spec }: DeviceMatrix, { rows, first }: MatrixPart): LinearShape {
  return {
    rows,
    columns: spec.columns,
    dtype: spec.dtype,
    epilogue: "store",
    normEpsilon: null,
    bias: false,
    input: "f32",
    output: "f32",
    outputStride: spec.rows,
    outputOffset: first,
    countWord: Word.Tokens,
  };
}

const vectorBuffer = ({ weight }: Norm) => (weight as DeviceVector).buffer;

/** Part `index` of a product with a weight. */
function partShape(operation: LinearOperation, weight: DeviceMatrix, index: number): LinearShape {
  const { input, norm, bias, output, epilogue, gate, cap, countWord } = operation;
  return {
    ...plainShape(weight, weight.parts[index]!),
    epilogue,
    gate,
    cap,
    normEpsilon: norm?.epsilon ?? null,
    bias: bias !== undefined,
    input: input.element,
    output: output.element,
    outputStride: output.width,
    countWord,
  };
}
