// Matrix products of the decoder: which kernels compute output = epilogue(norm(input) · weightᵀ + bias) for a given
// number of activation rows.

import type { DType } from "../../ops.ts";
import type { DeviceCaps, ElementType, KernelCall } from "../kernel.ts";

/** A product's fixed properties. */
export interface LinearShape {
  /** Output features N. */
  readonly rows: number;
  /** Input features K, a multiple of 8. */
  readonly columns: number;
  /** Type of the weight. */
  readonly dtype: DType;
  /** As in `LinearArgs`. */
  readonly epilogue: "store" | "add" | "silu-mul";
  /** Epsilon of the RMS norm in front, or null. */
  readonly normEpsilon: number | null;
  /** Whether there is one. */
  readonly bias: boolean;
  /** Type of the activations. */
  readonly input: ElementType;
  /** Type of the result. */
  readonly output: ElementType;
  /** Row stride of the output, and its first column: a matrix split by rows writes parts of one output. */
  readonly outputStride: number;
  /** First column of the output. */
  readonly outputOffset: number;
  /** Index of the plan word that holds the number of activation rows. */
  readonly countWord: number;
}

/** Buffers a product's kernels bind. Scratch is shared by all products of a step. */
export type LinearRole = "input" | "normWeight" | "weight" | "bias" | "output" | "scratchA" | "scratchB";

/** The kernels for `tokens` activation rows, in order, and the scratch bytes they need. */
export interface LinearPlan {
  /** In order. */
  readonly calls: readonly KernelCall<LinearRole>[];
  /** Bytes. */
  readonly scratchA: number;
  /** Bytes. */
  readonly scratchB: number;
}

/** Chooses the kernels of a product. */
export type PlanLinear = (shape: LinearShape, tokens: number, caps: DeviceCaps) => LinearPlan;
