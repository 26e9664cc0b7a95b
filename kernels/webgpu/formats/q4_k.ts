// q4_k: bytes (scale, minimum) for each group of 32 columns, times the float16 pair (d, dmin) of 256.

import { kScales, planeFormat } from "./planes.ts";

/** q4_k in WGSL. */
export const q4_k = planeFormat({ name: "q4_k", bits: 4, zero: 0, minimum: true, scales: kScales });
