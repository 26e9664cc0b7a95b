// The launches of quantized.cu: which of its kernels a product for few tokens takes, and its shared memory.

import { rowBytes } from "../../formats/mod.ts";
import { divideUp } from "../forward.ts";
import type { FewRowsPlan } from "./product.ts";

/** Formats that it has kernels for. */
export const quantizedTypes = ["q8", "q4_0", "q4_1", "q4_k", "q6_k"] as const;

/** One of them. */
export type QuantizedType = typeof quantizedTypes[number];

/** Most rows; of a tile of experts, most that it is given. */
export const quantizedRows = 64, expertRows = 16;

/** A product for few rows. */
export interface QuantizedShape {
  /** How the weight is stored. */
  readonly dtype: QuantizedType;
  /** Rows that the block has room for. */
  readonly tokens: number;
  /** Results. */
  readonly features: number;
  /** Numbers of a row. */
  readonly columns: number;
  /** Gate and up rows. */
  readonly paired: boolean;
  /** The norm is the kernel's. */
  readonly norm: boolean;
}

/** Most warps of a block, columns of a piece; bytes for squares and rows' scales with a norm. */
const mostWarps = 8, piece = 128, normBytes = 4 * 8 * 33;

/** Most rows whose input is in shared memory, and most bytes of them. */
const mostSharedRows = 8, mostInputBytes = 48 * 1024;

/** Rows of a block where there are many, bytes of sums of sixteen features and eight rows. */
const manyRows = 32, sumBytes = 512;

/** Most columns with a norm: thirty-two runs of squares. */
const mostNormColumns = 32 * 256;

/** Bytes of a row of the input there. */
const inputPitch = (columns: number) => 2 * columns + 64;

/** Where a row's scales begin. */
const scalesAt = (dtype: QuantizedType, columns: number) =>
  dtype === "q8" ? columns : dtype === "q6_k" ? columns * 3 / 4 : columns / 2;

/** Whether a matrix's rows suit: copies are of sixteen bytes, or of twice eight. */
export const suits = (dtype: QuantizedType, columns: number): boolean =>
  dtype === "q8" ? columns % 16 === 0 : rowBytes(dtype, columns) % 16 === 0;

/** The kernel for a shape on a GPU with so many multiprocessors; null where a block would not fit `mostBytes`. */
export function planQuantized(
  shape: QuantizedShape,
  multiprocessors: number,
  mostBytes: number,
): FewRowsPlan | null {
  const { dtype, tokens, features, columns, paired, norm } = shape;
  const fits = tokens <= mostSharedRows && tokens * inputPitch(columns) <= mostInputBytes;
  if (norm && (!fits || columns > mostNormColumns)) return null;
  const rows = tokens <= 8 ? 8 : tokens <= 16 ? 16 : manyRows;
  const input = norm ? "norm" : fits && !paired ? "shared" : "global";
  const warps = Math.max(1, Math.min(mostWarps, divideUp(columns, piece)));
  const six = dtype === "q6_k", slotBytes = dtype === "q8" ? 2560 : six ? 2048 : 1280;
  const scales = divideUp(rowBytes(dtype, columns) - scalesAt(dtype, columns), 16) * 16;
  /** Bytes of a block that makes so many times sixteen rows of the weight. */
  const bytes = (tiles: number) => {
    const slots = tiles === 2 ? 2 : dtype === "q8" || six ? 3 : 4;
    return (norm ? normBytes : 0) + (input === "global" ? 0 : tokens * inputPitch(columns)) +
      16 * tiles * scales +
      warps * tiles * (six ? 1024 : 512) + warps * tiles * Math.max(slots * slotBytes, rows / 8 * sumBytes);
  };
  // Thirty-two features share the work of reading the input, where there are blocks enough.
  const many = input === "global"
    ? rows === manyRows
    : features >= 32 * 3 * multiprocessors && bytes(2) <= mostBytes;
  const tiles = paired || many && !norm ? 2 : 1;
  if (bytes(tiles) > mostBytes) return null;
  const where = input === "global" ? `global${rows}` : input;
  return {
    module: `quantized_${dtype}`,
    kernel: `${where}_${paired ? "pair16" : tiles === 2 ? "n32" : "n16"}`,
    blocks: divideUp(features, paired ? 16 : 16 * tiles) *
      (rows === manyRows ? divideUp(tokens, manyRows) : 1),
    threads: 32 * warps,
    sharedBytes: bytes(tiles),
  };
}
