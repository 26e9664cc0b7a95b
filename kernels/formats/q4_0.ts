// Four-bit weights as GGML's Q4_0 has them: blocks of 32 columns (the last of a row may be shorter) with a float16
// scale each, d · (number − 8); 4.5 bits a weight.

import { planeFormat } from "./planes.ts";

/** Its scales are one float16 for each block. */
export const q4_0 = planeFormat(null, {
  bits: 4,
  zero: 8,
  minimum: "none",
  group: 32,
  blockColumns: 8,
  scaleBytes: (columns) => 2 * Math.ceil(columns / 32),
  readScales(row, at, scales) {
    for (let g = 0; g < scales.length; g++) scales[g] = row.getFloat16(at + 2 * g, true);
  },
  writeScales(row, at, scales) {
    scales.forEach((scale, g) => row.setFloat16(at + 2 * g, scale, true));
  },
});
