// The launches of stream.cu: one token, quantized weights, blocks that stay.

import { rowBytes } from "../../formats/mod.ts";
import { divideUp } from "../forward.ts";
import { blocksThatFit, type StayingPlan } from "./product.ts";
import type { QuantizedShape, QuantizedType } from "./quantized.ts";

/** Columns of a step, most warps of a block, and most columns with a norm: thirty-two sums of squares. */
const step = 256, mostWarps = 8, mostNormColumns = 32 * step;

/**
 * Most blocks of a multiprocessor, and slots of a warp where there are so many, or fewer; measured on an H100 (see
 * bench/NOTES.md).
 */
const mostBlocks = 3, slotsOfMost = 2, slotsOfFewer = 3;

/** Bytes in front of the input: zeros, sums of squares, sums of warps. */
const fixedBytes = 64 + 4 * 32 + 4 * 2 * mostWarps * 16;

/** Bytes of a slot: numbers, upper bits and scales of sixteen rows. */
const slotBytes: Record<QuantizedType, number> = { q8: 4352, q4_0: 2304, q4_1: 2560, q4_k: 2368, q6_k: 3392 };

/** The launch of a product for one token; null where it suits no kernel, or a block would not fit `mostBytes`. */
export function planStream(
  { dtype, features, columns, paired, norm }: Omit<QuantizedShape, "tokens">,
  multiprocessors: number,
  mostBytes: number,
): StayingPlan | null {
  if (columns % step !== 0 || rowBytes(dtype, columns) % 16 !== 0) return null;
  const each = paired ? 8 : 16;
  if (features % each !== 0 || (paired && !norm) || (norm && columns > mostNormColumns)) return null;
  const rounds = divideUp(columns / step, mostWarps), warps = divideUp(columns / step, rounds);
  const bytes = (slots: number) =>
    fixedBytes + 2 * columns + 4 * columns / (dtype === "q6_k" ? 16 : 32) + warps * slots * slotBytes[dtype];
  const fit = (slots: number) => blocksThatFit(bytes(slots), mostBytes);
  const blocks = Math.min(mostBlocks, divideUp(features / each, multiprocessors));
  let slots = blocks === mostBlocks ? slotsOfMost : slotsOfFewer;
  if (fit(slots) < blocks) slots = slotsOfMost;
  if (fit(slots) === 0) return null;
  return {
    module: `stream_${dtype}`,
    kernel: norm ? paired ? "stream_norm_pair" : "stream_norm" : "stream_plain",
    blocks: Math.min(features / each, Math.min(blocks, fit(slots)) * multiprocessors),
    threads: 32 * warps,
    sharedBytes: bytes(slots),
    slots,
  };
}
