// The formats of floating-point weights: bfloat16 (T = u16), float16 (i16) and float32 (f32).
//
// A panel is [columns][32 rows]. Sixteen-bit numbers are unpacked by a shift (even lanes) and a mask (odd lanes), so
// rows 0 … 7 of each eighth stand as 0 4 1 5 2 6 3 7: unpacking then yields rows 0–3 and rows 4–7. They stay as
// stored: no wider form in memory would beat unpacking in registers. Packed inputs are float32, [columns][tokens].

import { Product } from "../../operations";
import { inputRow, normScale, scaled } from "../norm";
import { lanePosition, storeTransposed } from "../vector";
import { tile1x32, tile2x16, tile4 } from "./float_tile";

/** Bytes of the 32 numbers of a column. */
@inline
function line<T>(): usize {
  return 32 * sizeof<T>();
}

/** Place of the panel's row `row` in a line. */
@inline
function rowPlace<T>(row: usize): usize {
  return sizeof<T>() == 4 ? row * 4 : ((row & ~7) + lanePosition(row & 7)) * 2;
}

export function panelBytes<T>(columns: usize): usize {
  return columns * line<T>();
}

export function writeRows<T>(
  panel: usize, row: usize, count: usize, from: usize, stride: usize, columns: usize,
): void {
  for (const end = row + count; row < end; row++, from += stride) {
    if (sizeof<T>() == 2 && (row & 7) == 0 && row + 8 <= end) {
      writeRows8(panel + row * 2, from, columns);
      row += 7, from += 7 * stride;
      continue;
    }
    let to = panel + rowPlace<T>(row);
    for (let i: usize = 0; i < columns; i++, to += line<T>()) {
      if (sizeof<T>() == 4) store<u32>(to, load<u32>(from + i * 4));
      else store<u16>(to, load<u16>(from + i * 2));
    }
  }
}

/** Eight 16-bit rows that fill an eighth of the panel: 8 × 8 transposes. */
function writeRows8(to: usize, from: usize, columns: usize): void {
  const bytes = columns * 2;
  for (const end = from + bytes; from < end; from += 16, to += 512) {
    const p4 = from + 4 * bytes;
    // Pairs (r, r + 4) first: their numbers end up side by side.
    const a = v128.load(from), b = v128.load(from + bytes);
    const c = v128.load(from + 2 * bytes), d = v128.load(from + 3 * bytes);
    const e = v128.load(p4), f = v128.load(p4 + bytes), g = v128.load(p4 + 2 * bytes), h = v128.load(p4 + 3 * bytes);
    transposeHalf(
      to, v128.shuffle<i16>(a, e, 0, 8, 1, 9, 2, 10, 3, 11), v128.shuffle<i16>(b, f, 0, 8, 1, 9, 2, 10, 3, 11),
      v128.shuffle<i16>(c, g, 0, 8, 1, 9, 2, 10, 3, 11), v128.shuffle<i16>(d, h, 0, 8, 1, 9, 2, 10, 3, 11),
    );
    transposeHalf(
      to + 256, v128.shuffle<i16>(a, e, 4, 12, 5, 13, 6, 14, 7, 15), v128.shuffle<i16>(b, f, 4, 12, 5, 13, 6, 14, 7,
      15), v128.shuffle<i16>(c, g, 4, 12, 5, 13, 6, 14, 7, 15), v128.shuffle<i16>(d, h, 4, 12, 5, 13, 6, 14, 7, 15),
    );
  }
}

/** Transposes four vectors of four pairs into four lines of a panel. */
@inline
function transposeHalf(to: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(ab0, cd0, 0, 2));
  v128.store(to, v128.shuffle<i64>(ab0, cd0, 1, 3), 64);
  v128.store(to, v128.shuffle<i64>(ab1, cd1, 0, 2), 128);
  v128.store(to, v128.shuffle<i64>(ab1, cd1, 1, 3), 192);
}

export function readRow<T>(panel: usize, row: usize, to: usize, columns: usize): void {
  let from = panel + rowPlace<T>(row);
  for (const end = to + columns * 4; to < end; to += 4, from += line<T>()) store<f32>(to, toFloat<T>(from));
}

/** One stored number. */
@inline
function toFloat<T>(at: usize): f32 {
  if (sizeof<T>() == 4) return load<f32>(at);
  const bits: u32 = load<u16>(at);
  if (!isSigned<T>()) return reinterpret<f32>(bits << 16);
  return reinterpret<f32>(((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13)) * <f32> 5.192296858534828e33;
}

export function packInput<T>(to: usize, op: Product, first: usize, count: usize): void {
  const k = op.columns, norm = op.norm;
  const p0 = inputRow(op, first), s0 = normScale(op, p0);
  if (count == 1) {
    for (let i: usize = 0; i < k * 4; i += 16) v128.store(to + i, scaled(p0 + i, norm, i, s0));
    return;
  }
  const p1 = inputRow(op, first + 1), s1 = normScale(op, p1);
  if (count == 2) {
    for (let i: usize = 0; i < k * 4; i += 16) {
      const a = scaled(p0 + i, norm, i, s0), b = scaled(p1 + i, norm, i, s1);
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
    }
    return;
  }
  const p2 = inputRow(op, first + 2), s2 = normScale(op, p2);
  const p3 = inputRow(op, first + (count == 4 ? 3 : 2)), s3 = normScale(op, p3);
  for (let i: usize = 0; i < k * 4; i += 16) {
    storeTransposed(
      to + 4 * i, scaled(p0 + i, norm, i, s0), scaled(p1 + i, norm, i, s1), scaled(p2 + i, norm, i, s2),
      count < 4 ? f32x4.splat(0) : scaled(p3 + i, norm, i, s3),
    );
  }
}

/** A strip of a panel stays in the second-level cache while the tokens pass over it, a block of it in the first. */
const stripBytes: usize = 262144;
const blockBytes: usize = 4096;

export function product<T>(packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, _room: usize): void {
  for (let k: usize = 0; k < columns; k += stripBytes / line<T>()) {
    const n = min(stripBytes / line<T>(), columns - k), b = weights + k * line<T>();
    for (let t: usize = 0; t < tokens; t += 4) {
      const width = min(4, tokens - t), a = packed + (t * columns + k * width) * 4, c = sums + t * 128;
      if (width == 1) tile1x32<T>(a, b, c, n);
      else blockProduct<T>(a, width, b, c, n);
    }
  }
}

/** Two or four tokens times a strip: two or four passes over each block, so that reading ahead keeps up. */
function blockProduct<T>(a: usize, width: usize, b: usize, c: usize, k: usize): void {
  for (const end = b + k * line<T>(); b < end; b += blockBytes, a += blockBytes / line<T>() * width * 4) {
    const n = min(blockBytes, end - b) / line<T>();
    for (let row: usize = 0; row < 32; row += 32 / width) {
      if (width == 4) tile4<T>(a, b + row * sizeof<T>(), c + row * 4, n);
      else tile2x16<T>(a, b + row * sizeof<T>(), c + row * 4, n);
    }
  }
}
