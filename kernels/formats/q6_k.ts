// Six-bit weights as GGML's Q6_K has them: a block of 256 columns has a float16 d, each of its sixteen groups of 16 an
// int8 scale s; an element is d · s · (number − 32). 6.6 bits a weight.
//
// In a row, the scales s come first, sixteen bytes a block, then d, two bytes a block.

import { kBlock } from "./k_scales.ts";
import { planeFormat } from "./planes.ts";

/** Groups of a block. */
const groups = 16;

/** Blocks of 256 columns. */
export const q6_k = planeFormat(null, {
  bits: 6,
  zero: 32,
  minimum: "none",
  group: 16,
  blockColumns: kBlock,
  scaleBytes: (columns) => 18 * columns / kBlock,
  readScales(row, at, scales) {
    const outer = at + scales.length;
    for (let g = 0; g < scales.length; g++) {
      scales[g] = row.getFloat16(outer + 2 * Math.floor(g / groups), true) * row.getInt8(at + g);
    }
  },
  writeScales(row, at, scales) {
    const outer = at + scales.length;
    for (let first = 0; first < scales.length; first += groups) {
      const block = scales.subarray(first, first + groups), place = outer + 2 * first / groups;
      row.setFloat16(place, Math.max(...block.map(Math.abs)) / 127, true);
      const d = row.getFloat16(place, true);
      for (let g = first; g < first + groups; g++) {
        row.setInt8(at + g, d === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(scales[g]! / d))));
      }
    }
  },
});
