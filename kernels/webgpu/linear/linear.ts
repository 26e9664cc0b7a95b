// Matrix products of the decoder: which kernels compute output = epilogue(norm(input) · weightᵀ + bias) for a given
// number of activation rows.
//
// A tiled product takes its activations *prepared*: normalised, and in the type of its arithmetic. Whoever wrote them
// last may have prepared them on the way (`reduce.ts`), else a kernel of its own does (`prepare.ts`); never the product,
// in which every tile along the weight's rows would do it again.

import type { DType } from "../../formats/mod.ts";
import type { DeviceCaps, ElementType, KernelCall } from "../shader/kernel.ts";

/** What is done to the input of a tiled product beforehand. */
export interface Preparation {
  /** Epsilon of the RMS norm, or null. */
  readonly normEpsilon: number | null;
  /**
   * Type of the result. Without a norm, which bounds them, f16 numbers are scaled by a power of two per row, so that
   * neither they nor sums of products leave its range, whatever their size.
   */
  readonly type: ElementType;
}

/** Whether prepared rows carry a scale each. */
export const isScaled = ({ normEpsilon, type }: Preparation): boolean =>
  type === "f16" && normEpsilon === null;

/** Part of pipeline keys. */
export const preparationKey = ({ normEpsilon, type }: Preparation): string =>
  `${normEpsilon === null ? "scale" : `norm${normEpsilon}`}-${type}`;

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
  /** The input has been prepared already, and stands in the buffer "prepared". */
  readonly prepared?: boolean;
  /** How to leave the input of the next product prepared; null if not at all. Only where the sum is divided. */
  readonly next?: Preparation | null;
}

/** Buffers a product's kernels bind. Scratch is shared by all products of a step. */
export type LinearRole =
  | "input"
  | "normWeight"
  | "weight"
  | "bias"
  | "output"
  /** Prepared input, and the scales of its rows. */
  | "prepared"
  | "rowScales"
  /** Partial sums, [part][token][row]. */
  | "parts"
  /** For the next product: the weight of its norm, and its prepared input. */
  | "nextNormWeight"
  | "nextPrepared";

/** The kernels for `tokens` activation rows, in order, and the scratch they need. */
export interface LinearPlan {
  /** In order. */
  readonly calls: readonly KernelCall<LinearRole>[];
  /** Bytes of scratch, by role. */
  readonly scratch: Readonly<Record<ScratchRole, number>>;
}

/** Roles that are scratch. */
export type ScratchRole = "prepared" | "rowScales" | "parts" | "nextPrepared";

/** No scratch. */
export const noScratch: LinearPlan["scratch"] = { prepared: 0, rowScales: 0, parts: 0, nextPrepared: 0 };

/** Chooses the kernels of a product. */
export type PlanLinear = (shape: LinearShape, tokens: number, caps: DeviceCaps) => LinearPlan;
