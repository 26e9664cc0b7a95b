// Rows of the embedding table, out of the panels in which `linear.ts` keeps matrices.

import { claim, word } from "./program";
import { panelBytesQ8, q8, unpackRowQ8 } from "./tile_q8";
import { clear } from "./vector";
import { lineIndex, toFloat } from "./weights";

/**
 * Words: 2 row numbers (0xffffffff: not ours, zeros), 3 tokens, 4 weights, 5 dtype, 6 columns, 7 output,
 * 8 output stride.
 */
export function embed(op: usize): void {
  const tokens = word(op, 3), columns = word(op, 6), dtype = word(op, 5);
  for (let t = claim(op, 1); t < tokens; t = claim(op, 1)) {
    const row = load<usize>(word(op, 2) + t * 4);
    const y: usize = word(op, 7) + word(op, 8) * t;
    if (row == 0xffffffff) {
      clear(y, columns * 4);
      continue;
    }
    if (dtype == q8) {
      unpackRowQ8(word(op, 4) + (row >> 5) * panelBytesQ8(columns), row & 31, y, columns);
      continue;
    }
    const size: usize = dtype < 2 ? 2 : 4, line = 32 * size;
    let from: usize = word(op, 4) + (row >> 5) * columns * line + lineIndex(row & 31, size) * size;
    for (let i: usize = 0; i < columns * 4; i += 4, from += line) store<f32>(y + i, toFloat(from, dtype));
  }
}
