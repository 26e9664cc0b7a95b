// The two levels of scales of GGML's Q4_K and Q5_K: a block of 256 columns has a float16 d and dmin, each of its eight
// groups of 32 a six-bit scale s and minimum m; an element is d · s · number − dmin · m.
//
// In a row, the pairs (s, m) come first, a byte each (GGML packs them into twelve bytes for eight pairs), sixteen bytes
// a block; then the pairs (d, dmin), a word a block.

import type { Planes } from "./planes.ts";

/** Columns of a block. */
export const kBlock = 256;
/** Groups of a block. */
const groups = 8;
/** Largest six-bit number. */
const most = 63;

/** What Q4_K and Q5_K have in common. */
export const kScales: Omit<Planes, "bits"> = {
  zero: 0,
  minimum: "negative",
  group: 32,
  blockColumns: kBlock,
  scaleBytes: (columns) => 20 * columns / kBlock,
  readScales(row, at, scales, minima) {
    const outer = at + 2 * scales.length;
    for (let g = 0; g < scales.length; g++) {
      const pair = outer + 4 * Math.floor(g / groups);
      scales[g] = row.getFloat16(pair, true) * row.getUint8(at + 2 * g);
      minima[g] = -Math.fround(row.getFloat16(pair + 2, true) * row.getUint8(at + 2 * g + 1));
    }
  },
  writeScales(row, at, scales, minima) {
    const outer = at + 2 * scales.length;
    for (let first = 0; first < scales.length; first += groups) {
      const pair = outer + 4 * first / groups;
      row.setFloat16(pair, Math.max(...scales.subarray(first, first + groups)) / most, true);
      row.setFloat16(pair + 2, -Math.min(...minima.subarray(first, first + groups)) / most, true);
      const d = row.getFloat16(pair, true), dmin = row.getFloat16(pair + 2, true);
      for (let g = first; g < first + groups; g++) {
        row.setUint8(at + 2 * g, d === 0 ? 0 : Math.min(most, Math.round(scales[g]! / d)));
        row.setUint8(at + 2 * g + 1, dmin === 0 ? 0 : Math.min(most, Math.round(-minima[g]! / dmin)));
      }
    }
  },
};
