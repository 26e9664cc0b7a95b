// Five-bit weights as GGML's Q5_K has them; 5.6 bits a weight. The scales are in `k_scales.ts`.

import { kScales } from "./k_scales.ts";
import { planeFormat } from "./planes.ts";

/** Blocks of 256 columns. */
export const q5_k = planeFormat(null, { bits: 5, ...kScales });
