// The format of eight-bit weights with a scale per 32 columns.
//
// A panel is [block of 32 columns]: scales (float16) of the 32 rows, then bytes, each number + `weightOffset`: as
// [column / 4][32 rows][4 columns] for the relaxed product, else [column / 2][8 rows][row & 3][column & 1][row & 4], so
// that a mask widens rows 0–3 of eight and a shift rows 4–7. Inputs and products are those of `int8.ts`.

import { Product } from "../../operations";
import { blockColumns, packTokens, relaxed, weightOffset } from "./int8";
import { expandedBytes, expandScales, scaleBytes, tile1x32, tile2x16, tile4 } from "./int8_tile";

/** The tiles call it for a part of a panel too. */
@inline
export function panelBytes(columns: usize): usize {
  return ((columns + blockColumns - 1) / blockColumns) * scaleBytes + columns * 32;
}

export function writeRows(panel: usize, row: usize, count: usize, from: usize, stride: usize, columns: usize): void {
  for (const end = row + count; row < end; row++, from += stride) writeRow(panel, row, from, columns);
}

/** Place of number `column` of a row behind a block's scales. */
@inline
function place(row: usize, column: usize): usize {
  if (relaxed) return ((column >> 2) << 7) + (row << 2) + (column & 3);
  return ((column >> 1) << 6) + ((row >> 3) << 4) + ((row & 3) << 2) + ((column & 1) << 1) + ((row >> 2) & 1);
}

function writeRow(to: usize, row: usize, from: usize, columns: usize): void {
  let scale = from + columns;
  for (const end = from + columns; from < end; scale += 2) {
    store<u16>(to + row * 2, load<u16>(scale));
    to += scaleBytes;
    const n = min(blockColumns, end - from);
    if (relaxed) {
      // Four columns lie together; adding 128 to a byte turns its highest bit.
      const flip: u32 = weightOffset ? 0x80808080 : 0;
      for (let i: usize = 0; i < n; i += 4) store<u32>(to + (i << 5) + (row << 2), load<u32>(from + i) ^ flip);
    } else {
      for (let i: usize = 0; i < n; i++) store<u8>(to + place(row, i), <i32> load<i8>(from + i) + weightOffset);
    }
    from += n, to += n * 32;
  }
}

export function readRow(panel: usize, row: usize, to: usize, columns: usize): void {
  for (const end = to + columns * 4; to < end;) {
    const scale = reinterpret<f32>(<u32> load<u16>(panel + row * 2) << 13) * <f32> 5.192296858534828e33;
    panel += scaleBytes;
    const n = min(blockColumns, (end - to) / 4);
    for (let i: usize = 0; i < n; i++, to += 4) {
      store<f32>(to, <f32> <i32> <i8> (load<u8>(panel + place(row, i)) - weightOffset) * scale);
    }
    panel += n * 32;
  }
}

export function packInput(to: usize, op: Product, first: usize, count: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (relaxed) return packTokens<i8>(to, op, first, count, weightOffset);
  }
  packTokens<i16>(to, op, first, count, weightOffset);
}

export function product(packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, room: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (relaxed) return multiply<i8>(packed, tokens, columns, weights, sums, room);
  }
  multiply<i16>(packed, tokens, columns, weights, sums, room);
}

/** Columns that all tokens pass over before the next. */
const stripColumns: usize = 256;

/** The first four tokens leave the scales of a strip in `room`, for the others. */
function multiply<T>(packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, room: usize): void {
  if (tokens == 1) return tile1x32<T>(packed, weights, sums, columns);
  for (let k: usize = 0; k < columns; k += stripColumns) {
    const n = min(stripColumns, columns - k), strip = weights + panelBytes(k);
    for (let t: usize = 0; t < tokens; t += 4) {
      const width = min(4, tokens - t), c = sums + t * 128;
      const a = packed + t * columns * 4 + (k / blockColumns * 8 + k * sizeof<T>()) * width;
      if (width == 1) tile1x32<T>(a, strip, c, n);
      else stripProduct<T>(a, width, strip, room, t == 0, c, n);
    }
  }
}

/** Two or four tokens times a strip: all rows of a block before the next, so that weights from memory come in order. */
function stripProduct<T>(a: usize, width: usize, b: usize, w: usize, first: bool, c: usize, n: usize): void {
  for (; n != 0; w += expandedBytes) {
    const some = min(blockColumns, n);
    if (width == 2) {
      tile2x16<T>(a, b, c, some);
    } else {
      if (first) expandScales(w, b);
      tile4<T>(a, b + scaleBytes, w, c, some);
    }
    a += (8 + some * sizeof<T>()) * width, b += scaleBytes + some * 32, n -= some;
  }
}
