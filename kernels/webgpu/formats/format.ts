// How kernels read a matrix: what a weight format has to say in WGSL.
//
// All kernels read eight neighbouring elements of a row at a time, called a vec here. Of a 16-bit type that is one
// load of 16 bytes, the widest that WGSL has. A kernel loads a vec into variables first and expands it later, so that
// many loads are under way at once. Where a block of a row has a scale, the sum of products is multiplied by it
// instead of each number; a minimum is multiplied by the sum of the other factors.

import type { Blocks } from "./blocks.ts";

/** Where a vec stands. */
export interface VecPlace {
  /** The buffer. */
  readonly buffer: string;
  /** WGSL: the row's beginning and the vec's number in the row, both counted in vecs. */
  readonly row: string;
  /** WGSL: the vec's number in the row. */
  readonly vec: string;
  /** WGSL of row + vec, where the kernel has it already. */
  readonly index?: string;
}

/** A format of weights (or of activations), in WGSL. */
export interface WebGpuFormat {
  /** Type of a buffer's elements. */
  readonly element: string;
  /** Bytes from one vec of a row to the next; a row's bytes are a multiple. */
  readonly vecBytes: number;
  /** Whether products of its numbers may be taken in f16. */
  readonly half: boolean;
  /** Names and types of the variables that hold a loaded vec. */
  variables(name: string): readonly (readonly [name: string, type: string])[];
  /** Statements that load a vec into these variables; `keyword` is "let ", or "" where they are declared. */
  load(name: string, place: VecPlace, keyword: "let " | ""): string;
  /** Elements 0–3 and 4–7 of a loaded vec as vec4<f32>, but for the scale and the minimum. */
  numbers(name: string): readonly [low: string, high: string];
  /** The scale that {@link numbers} lack, as a float32; absent where there is none. */
  readonly scale?: (name: string) => string;
  /** What is added to each number once it is scaled, as a float32; absent where there is none. */
  readonly minimum?: (name: string) => string;
  /** How a kernel of one token reads it; absent where there is none. */
  readonly blocks?: Blocks;
  /** Functions that the expressions above call, for a buffer whose rows have `columns` numbers. */
  functions(buffer: string, columns: number): string;
}
