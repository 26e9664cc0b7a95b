// Weight formats of the CPU kernels. A new one is a file in `assembly/formats/` and a line here.
//
// Such a file exports the functions of `formatFunctions`. `build.ts` makes of both lists what the other kernels
// import as "../formats": each function with the format's number in front, which calls that of the format's file.

import type { DType } from "../formats/mod.ts";

/** The file of each format in `assembly/formats/`, with the type for which its functions are generic, if any. */
export const formats = {
  bf16: "float<u16>",
  f16: "float<i16>",
  f32: "float<f32>",
  q8: "q8",
  q4_0: "planes<i16>",
  q4_1: "planes<u16>",
  q4_k: "planes<u8>",
  q5_k: "planes<u32>",
  q6_k: "planes<i32>",
} as const satisfies Partial<Record<DType, string>>;

/**
 * What a format's file exports. A panel is 32 rows of a matrix. Rows arrive as the format's object in
 * `../formats/` writes them, `stride` bytes from one to the next.
 */
export const formatFunctions = {
  /** Bytes of a panel. */
  panelBytes: "columns: usize",
  /** Brings `count` rows to place `row` (0 … 31) and the following ones of a panel. */
  writeRows: "panel: usize, row: usize, count: usize, from: usize, stride: usize, columns: usize",
  /** Writes row `row` of a panel as float32. */
  readRow: "panel: usize, row: usize, to: usize, columns: usize",
  /** Packs `count` (1 to 4) tokens of a product's input from `first` on; three are filled up to four. */
  packInput: "to: usize, op: Product, first: usize, count: usize",
  /** sums[t, 0 … 31] += the panel at `weights` times packed tokens; `room` is `productRoom` bytes of scratch. */
  product: "packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, room: usize",
} as const;

/** Bytes at the end of a thread's scratch for the use of a format's product. */
export const productRoom = 2048;

/** A format's number in the kernels. */
export const formatNumber = (dtype: DType): number => Object.keys(formats).indexOf(dtype);
