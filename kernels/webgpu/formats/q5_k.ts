// q5_k: bytes (scale, minimum) for each group of 32 columns, times the float16 pair (d, dmin) of 256.

import { kScales, planeFormat } from "./planes.ts";

/** q5_k in WGSL. */
export const q5_k = planeFormat({ name: "q5_k", bits: 5, zero: 0, minimum: true, scales: kScales });
