// Four-bit weights as GGML's Q4_1 has them, and `--dtype q4` makes them: blocks of 32 columns (the last of a row may
// be shorter) with a float16 scale and minimum each, d · number + m; 5 bits a weight.

import { planeFormat } from "./planes.ts";

/** Its scales are pairs (d, m), a word for each block. */
export const q4_1 = planeFormat("q4", {
  bits: 4,
  zero: 0,
  minimum: "any",
  group: 32,
  blockColumns: 8,
  scaleBytes: (columns) => 4 * Math.ceil(columns / 32),
  readScales(row, at, scales, minima) {
    for (let g = 0; g < scales.length; g++) {
      scales[g] = row.getFloat16(at + 4 * g, true);
      minima[g] = row.getFloat16(at + 4 * g + 2, true);
    }
  },
  writeScales(row, at, scales, minima) {
    scales.forEach((scale, g) => {
      row.setFloat16(at + 4 * g, scale, true);
      row.setFloat16(at + 4 * g + 2, minima[g]!, true);
    });
  },
});
