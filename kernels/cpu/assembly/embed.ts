// Rows of the embedding table, out of the panels in which `linear.ts` keeps matrices.

import { panelBytes, readRow } from "../formats";
import { Embed } from "../operations";
import { claim } from "./program";
import { clear } from "./vector";

/** A unit is a token. */
export function embed(op: Embed): void {
  const bytes = panelBytes(op.format, op.columns);
  for (let t = claim(op, 1); t < op.tokens; t = claim(op, 1)) {
    const row = load<usize>(op.ids + t * 4);
    let y = op.output + op.outputStride * t;
    if (row == 0xffffffff) clear(y, op.columns * 4);
    else {
      readRow(op.format, op.weights + (row >> 5) * bytes, row & 31, y, op.columns);
      if (op.scale == 1) continue;
      const s = f32x4.splat(op.scale);
      for (const end = y + op.columns * 4; y < end; y += 16) v128.store(y, f32x4.mul(v128.load(y), s));
    }
  }
}
