// Four-bit weights as GGML's Q4_K has them; 4.6 bits a weight. The scales are in `k_scales.ts`.

import { kScales } from "./k_scales.ts";
import { planeFormat } from "./planes.ts";

/** Blocks of 256 columns. */
export const q4_k = planeFormat(null, { bits: 4, ...kScales });
