// What a product on the matrix units is, for whoever chooses its kernel.

import type { DType } from "../../formats/mod.ts";

/** What a product does with its sums; numbers as in product.cuh. */
export const productModes = { "store": 0, "store-f32": 1, "add-f32": 2, "silu-mul": 3 } as const;

/** The GPU, as far as it matters here. */
export interface ProductDevice {
  /** Compute capability, for example 90. */
  readonly capability: number;
  /** Multiprocessors. */
  readonly multiprocessors: number;
}

/** What is multiplied. */
export interface ProductShape {
  /** Rows of activations; with experts, (token, expert) pairs. */
  readonly tokens: number;
  /** Rows of the weight (of one expert): both halves for "silu-mul". */
  readonly rows: number;
  /** Numbers of a row, a multiple of 8. */
  readonly columns: number;
  /** How weights are stored: `element`, or "q8". */
  readonly dtype: DType;
  /** Type of the input and, unless the mode says f32, of the output. */
  readonly element: "bf16" | "f16";
  /** "silu-mul" takes a weight of gate rows, then up rows, and stores half as many columns. */
  readonly mode: keyof typeof productModes;
  /** Experts' products: how many experts there are, and whether input rows are gathered by `order`. */
  readonly experts?: { readonly count: number; readonly gather: boolean };
}
