// q4_1: a float16 scale and minimum for each block of 32 columns.

import { planeFormat } from "./planes.ts";

/** q4_1 in WGSL. */
export const q4_1 = planeFormat({
  name: "q4_1",
  bits: 4,
  zero: 0,
  minimum: true,
  scales: (word) => `return unpack2x16float(${word(`at + (vec >> 2u)`)});`,
});
