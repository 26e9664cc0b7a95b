// Matrix products of the decoder: which kernels compute output = epilogue(norm(input) · weightᵀ + bias) for a given
// number of activation rows.
//
// A tiled product takes its activations *prepared*: normalised, and in the type of its arithmetic. The kernel that wrote
// them may have prepared them on the way (`reduce.ts`); otherwise a kernel of its own does it (`prepare.ts`). The product
// does not, because every tile along the weight's rows would do it again.

import type { DType } from "../../formats/mod.ts";
import { type Gate, silu } from "../../ops.ts";
import type { ElementType, KernelCall } from "../shader/kernel.ts";

/** What is done to the input of a tiled product beforehand. */
export interface Preparation {
  /** Epsilon of the RMS norm, or null. */
  readonly normEpsilon: number | null;
  /**
   * Type of the result. A norm bounds the numbers. Without one, f16 numbers are scaled by a power of two per row, so
   * that neither they nor sums of products leave the range of f16.
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
  /** As in `LinearArgs`; "cap": output = cap · tanh(y / cap). */
  readonly epilogue: "store" | "add" | "gate-mul" | "cap";
  /** For "gate-mul"; SiLU where absent. */
  readonly gate?: Gate | undefined;
  /** For "cap". */
  readonly cap?: number | undefined;
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
  /** The weight is a stack of experts, each with `rows` rows. */
  readonly experts?: ExpertRows;
}

/**
 * How the rows of a product with stacked experts go together. One of a token's chosen experts is a pair, number
 * token · perToken + rank; it has a row of its own in what lies between an expert's two products.
 */
export interface ExpertRows {
  /** What an activation row belongs to: a token (gate/up), or a pair (down). */
  readonly input: "token" | "pair";
  /** Experts that a token goes through. */
  readonly perToken: number;
  /** First of the experts whose weights are bound. */
  readonly first: number;
  /** How many are bound; pairs of others are left out. */
  readonly count: number;
  /** First pair that has a row in the buffers of pairs. */
  readonly firstPair: number;
}

/** Part of pipeline keys: what becomes of a product's results, if a kernel finishes them. */
export function outputKey(
  { epilogue, gate = silu, cap, bias, output, outputStride, outputOffset, countWord }: LinearShape,
): string {
  const own = epilogue === "gate-mul" ? Object.values(gate).join() : cap ?? "";
  return `${epilogue}${own}/${bias ? "bias" : ""}/${output}/s${outputStride}+${outputOffset}/n${countWord}`;
}

/** Part of pipeline keys. */
export function expertKey({ experts: e }: LinearShape): string {
  return e === undefined ? "" : `/${e.input}k${e.perToken}e${e.first}+${e.count}p${e.firstPair}`;
}

/** Buffers a product's kernels bind. Scratch is shared by all products of a step. */
export type LinearRole =
  | ("input" | "normWeight" | "weight" | "bias" | "output")
  /** Prepared input, and the scales of its rows; partial sums, [part][token][row]. */
  | ("prepared" | "rowScales" | "parts")
  /** For the next product: the weight of its norm, and its prepared input. */
  | ("nextNormWeight" | "nextPrepared")
  /** The experts of each token with their weights; pairs by expert, and the tiles of them. */
  | ("routes" | "order" | "tiles");

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
