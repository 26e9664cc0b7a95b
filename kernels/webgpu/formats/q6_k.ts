// q6_k: an int8 scale for each group of 16 columns, times the float16 d of 256.

import { sixBitBlocks } from "./blocks.ts";
import type { WebGpuFormat } from "./format.ts";
import { planeFormat } from "./planes.ts";

/** q6_k in WGSL. */
export const q6_k: WebGpuFormat = {
  ...planeFormat({
    name: "q6_k",
    bits: 6,
    zero: 32,
    minimum: false,
    scales: (word, columns) =>
      `let pair = unpack2x16float(${word(`at + ${columns / 64}u + (vec >> 6u)`)});
  let d = select(pair.x, pair.y, (vec & 32u) != 0u);
  let four = bitcast<i32>(${word(`at + (vec >> 3u)`)});
  return vec2<f32>(d * f32((four << (24u - ((vec >> 1u) & 3u) * 8u)) >> 24u), 0.0);`,
  }),
  blocks: sixBitBlocks,
};
