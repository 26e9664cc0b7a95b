// q4_0: a float16 scale for each block of 32 columns.

import { planeFormat } from "./planes.ts";

/** q4_0 in WGSL. */
export const q4_0 = planeFormat({
  name: "q4_0",
  bits: 4,
  zero: 8,
  minimum: false,
  scales: (word) =>
    `let pair = unpack2x16float(${word(`at + (vec >> 3u)`)});
  return vec2<f32>(select(pair.x, pair.y, (vec & 4u) != 0u), 0.0);`,
});
