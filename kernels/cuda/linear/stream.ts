// The launches of stream.cu: one token, quantized weights, blocks that stay. Off unless RADISH_CUDA_STREAM asks for it,
// until it has been measured on a GPU.

import { rowBytes } from "../../formats/mod.ts";
import { divideUp } from "../forward.ts";
import type { ModuleName } from "../modules.ts";
import type { QuantizedShape, QuantizedType } from "./quantized.ts";
import type { StreamTuning } from "./stream_tuning.ts";

/** A launch. */
export interface StreamPlan {
  readonly module: ModuleName;
  readonly kernel: string;
  /** Blocks. */
  readonly blocks: number;
  readonly threads: number;
  readonly sharedBytes: number;
  /** The kernel's last argument. */
  readonly slots: number;
}

/** Columns of a step, most warps of a block, and most columns with a norm: thirty-two sums of squares. */
const step = 256, mostWarps = 8, mostNormColumns = 32 * step;

/** Bytes in front of the input: zeros, sums of squares, sums of warps. */
const fixedBytes = 64 + 4 * 32 + 4 * 2 * mostWarps * 16;

/** Bytes of a slot: numbers, upper bits and scales of sixteen rows. */
const slotBytes: Record<QuantizedType, number> = { q8: 4352, q4_0: 2304, q4_1: 2560, q4_k: 2368, q6_k: 3392 };

/** The launch of a product for one token; null where it suits no kernel, or a block would not fit `mostBytes`. */
export function planStream(
  { dtype, features, columns, paired, norm }: Omit<QuantizedShape, "tokens">,
  multiprocessors: number,
  mostBytes: number,
  tuning: StreamTuning,
): StreamPlan | null {
  if (columns % step !== 0 || rowBytes(dtype, columns) % 16 !== 0) return null;
  const each = paired ? 8 : 16;
  if (features % each !== 0 || (paired && !norm) || (norm && columns > mostNormColumns)) return null;
  const rounds = divideUp(columns / step, mostWarps), warps = divideUp(columns / step, rounds);
  const bytes = (slots: number) =>
    fixedBytes + 2 * columns + 4 * columns / (dtype === "q6_k" ? 16 : 32) + warps * slots * slotBytes[dtype];
  // A multiprocessor has as much as a block may take and a KiB, and keeps a KiB of each block for itself.
  const fit = (slots: number) => Math.floor((mostBytes + 1024) / (bytes(slots) + 1024));
  let { slots } = tuning;
  while (slots > 2 && fit(slots) < tuning.blocks) slots--;
  if (fit(slots) === 0) return null;
  return {
    module: `stream_${dtype}`,
    kernel: norm ? paired ? "stream_norm_pair" : "stream_norm" : "stream_plain",
    blocks: Math.min(features / each, Math.min(tuning.blocks, fit(slots)) * multiprocessors),
    threads: 32 * warps,
    sharedBytes: bytes(slots),
    slots,
  };
}
