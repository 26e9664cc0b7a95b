// The formats of four to six bits, whose rows arrive in planes (`kernels/formats/planes.ts`).
//
// F says which one it is, by its properties: unsigned formats have minima; those of 16 bits have float16 scales, others
// bytes for scale and minimum times float16 numbers of 256 columns; those of 32 bits have more than four bits a number.
// So i16 is q4_0, u16 q4_1, u8 q4_k, u32 q5_k and i32 q6_k, whose groups have 16 columns.
//
// A panel is [block]. Formats with blocks of 256 have those numbers first, float32 [d][32 rows] and [−dmin][32 rows].
// Then come [group]: scales of 32 rows, minima of 32 rows, and the numbers, never negative and below 64: half bytes
// (or bytes) as [column / n][8 rows][row & 3][n columns] whose lower and upper halves are rows 0–3 and 4–7 of eight;
// n is 4 for relaxed SIMD. In the plain build n is 2, a number has 16 bits to itself when it is multiplied, and four
// rows share 16 bits instead. As these numbers have seven bits, every machine's relaxed product of them is exact.

import { Product } from "../../operations";
import { packTokens } from "./int8";
import { expandedBytes, expandScales, tile1x32, tile2x16, tile4 } from "./planes_tile";

/** Columns that share a scale. */
@inline
export function groupColumns<F>(): usize {
  return sizeof<F>() == 4 && isSigned<F>() ? 16 : 32;
}

/** Whether groups have a minimum. */
@inline
export function hasMinimum<F>(): bool {
  return !isSigned<F>();
}

/** Whether a number takes a byte of the panel. */
@inline
export function wholeBytes<F>(): bool {
  return sizeof<F>() == 4;
}

/** Whether scales are float16 numbers. */
@inline
export function halfScales<F>(): bool {
  return sizeof<F>() == 2;
}

/** Bytes in front of 256 columns. */
@inline
export function outerBytes<F>(): usize {
  return halfScales<F>() ? 0 : hasMinimum<F>() ? 256 : 128;
}

/** Bytes of a group's scales and minima. */
@inline
export function scaleBytes<F>(): usize {
  return (halfScales<F>() ? 64 : 32) * (hasMinimum<F>() ? 2 : 1);
}

/** Bytes of a column's numbers. */
@inline
function numberBytes<F>(): usize {
  return wholeBytes<F>() ? 32 : 16;
}

/** Bytes of a group when `left` columns are left. */
@inline
function groupBytes<F>(left: usize): usize {
  return scaleBytes<F>() + min(groupColumns<F>(), left) * numberBytes<F>();
}

/** What the number that means zero is. */
@inline
function zero<F>(): i32 {
  return hasMinimum<F>() ? 0 : wholeBytes<F>() ? 32 : 8;
}

/** The tiles call it for a part of a panel too. */
@inline
export function panelBytes<F>(columns: usize): usize {
  const groups = (columns + groupColumns<F>() - 1) / groupColumns<F>();
  return columns / 256 * outerBytes<F>() + groups * scaleBytes<F>() + columns * numberBytes<F>();
}

const relaxed: bool = ASC_FEATURE_RELAXED_SIMD;

export function writeRows<F>(
  panel: usize,
  row: usize,
  count: usize,
  from: usize,
  stride: usize,
  columns: usize,
): void {
  for (const end = row + count; row < end; row++, from += stride) writeRow<F>(panel, row, from, columns);
}

/** float16 to float32. */
@inline
function half(at: usize): f32 {
  const bits: u32 = load<u16>(at);
  return reinterpret<f32>((bits & 0x8000) << 16 | (bits & 0x7fff) << 13) * <f32> 5.192296858534828e33;
}

function writeRow<F>(to: usize, row: usize, from: usize, columns: usize): void {
  const upper = from + columns / 2, bits: usize = !wholeBytes<F>() ? 4 : hasMinimum<F>() ? 5 : 6;
  const scales = upper + columns / 8 * (bits - 4), groups = columns / groupColumns<F>();
  // Of a block: the bytes behind the groups' scales, which are one byte or, with a minimum, two.
  let outer = scales + groups * (hasMinimum<F>() ? 2 : 1);
  let scale = scales;
  for (let k: usize = 0; k < columns; k += groupColumns<F>()) {
    if (outerBytes<F>() != 0 && (k & 255) == 0) {
      store<f32>(to + row * 4, half(outer));
      if (hasMinimum<F>()) store<f32>(to + 128 + row * 4, -half(outer + 2));
      outer += hasMinimum<F>() ? 4 : 2, to += outerBytes<F>();
    }
    if (!halfScales<F>()) {
      store<u8>(to + row, load<u8>(scale++));
      if (hasMinimum<F>()) store<u8>(to + 32 + row, load<u8>(scale++));
    } else {
      store<u16>(to + row * 2, load<u16>(scale)), scale += 2;
      if (hasMinimum<F>()) store<u16>(to + 64 + row * 2, load<u16>(scale)), scale += 2;
    }
    to += scaleBytes<F>();
    const end = min(k + groupColumns<F>(), columns);
    for (let c = k; c < end; c += 8) {
      const word = load<u32>(from + c / 2);
      let high: u32 = 0;
      if (bits == 5) high = load<u8>(upper + c / 8);
      else if (bits == 6) high = load<u16>(upper + c / 4);
      put<F>(to, row, c - k, word & 0x0f0f0f0f | spread<F>(high));
      put<F>(to, row, c - k + 4, word >> 4 & 0x0f0f0f0f | spread<F>(high >> <u32> (bits * 4 - 16)));
    }
    to += (end - k) * numberBytes<F>();
  }
}

/** Four upper bits become bit 4 of four bytes; or four pairs (q6_k), bits 4 and 5. */
@inline
function spread<F>(upper: u32): u32 {
  if (hasMinimum<F>()) return (upper & 1) << 4 | (upper & 2) << 11 | (upper & 4) << 18 | (upper & 8) << 25;
  return (upper & 3) << 4 | (upper & 12) << 10 | (upper & 48) << 16 | (upper & 192) << 22;
}

/** Writes four numbers of a row, a byte each in `four`, from column `column` of a group on. */
@inline
function put<F>(to: usize, row: usize, column: usize, four: u32): void {
  if (relaxed) {
    to += column * numberBytes<F>();
    if (wholeBytes<F>()) return store<u32>(to + row * 4, four);
    const at = to + (row >> 3) * 16 + (row & 3) * 4, shift: u32 = <u32> row & 4;
    return store<u32>(at, load<u32>(at) & ~(<u32> 0x0f0f0f0f << shift) | four << shift);
  }
  for (let i: usize = 0; i < 4; i++, four >>= 8) {
    const c = column + i;
    if (wholeBytes<F>()) {
      store<u8>(to + (c >> 1) * 64 + (row >> 3) * 16 + (row & 3) * 4 + (c & 1) * 2 + (row >> 2 & 1), four & 255);
    } else {
      const at = to + (c >> 1) * 32 + (row >> 4) * 16 + (row & 3) * 4 + (c & 1) * 2, shift = <u32> row & 12;
      store<u16>(at, load<u16>(at) & ~(<u32> 15 << shift) | (four & 15) << shift);
    }
  }
}

/** The number of a row at column `c` of a group. */
@inline
function take<F>(from: usize, row: usize, c: usize): i32 {
  if (relaxed) {
    from += (c >> 2) * (wholeBytes<F>() ? 128 : 64) + (c & 3);
    if (wholeBytes<F>()) return load<u8>(from + row * 4);
    return load<u8>(from + (row >> 3) * 16 + (row & 3) * 4) >> (<u8> row & 4) & 15;
  }
  if (wholeBytes<F>()) {
    return load<u8>(from + (c >> 1) * 64 + (row >> 3) * 16 + (row & 3) * 4 + (c & 1) * 2 + (row >> 2 & 1));
  }
  return load<u16>(from + (c >> 1) * 32 + (row >> 4) * 16 + (row & 3) * 4 + (c & 1) * 2) >> (<u16> row & 12) & 15;
}

export function readRow<F>(panel: usize, row: usize, to: usize, columns: usize): void {
  let outer: usize = 0;
  for (let k: usize = 0; k < columns; k += groupColumns<F>()) {
    if (outerBytes<F>() != 0 && (k & 255) == 0) outer = panel, panel += outerBytes<F>();
    let scale: f32, minimum: f32 = 0;
    if (!halfScales<F>()) {
      scale = load<f32>(outer + row * 4) * (hasMinimum<F>() ? <f32> load<u8>(panel + row) : <f32> load<i8>(panel + row));
      if (hasMinimum<F>()) minimum = load<f32>(outer + 128 + row * 4) * <f32> load<u8>(panel + 32 + row);
    } else {
      scale = half(panel + row * 2);
      if (hasMinimum<F>()) minimum = half(panel + 64 + row * 2);
    }
    panel += scaleBytes<F>();
    const n = min(groupColumns<F>(), columns - k);
    for (let c: usize = 0; c < n; c++, to += 4) {
      store<f32>(to, scale * <f32> (take<F>(panel, row, c) - zero<F>()) + minimum);
    }
    panel += n * numberBytes<F>();
  }
}

/** Where there is a minimum, a block's "first sum" is the sum of its inputs, by which the minimum is multiplied. */
export function packInput<F>(to: usize, op: Product, first: usize, count: usize): void {
  const offset = hasMinimum<F>() ? -1 : zero<F>();
  if (relaxed) packTokens<i8>(to, op, first, count, offset, groupColumns<F>());
  else packTokens<i16>(to, op, first, count, offset, groupColumns<F>());
}

export function product<F>(
  packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, room: usize,
): void {
  if (relaxed) multiply<i8, F>(packed, tokens, columns, weights, sums, room);
  else multiply<i16, F>(packed, tokens, columns, weights, sums, room);
}

/** Columns that all tokens pass over before the next: the largest block. */
const stripColumns: usize = 256;

/** The first four tokens leave the scales of a strip in `room`, for the others. */
function multiply<T, F>(packed: usize, tokens: usize, columns: usize, weights: usize, sums: usize, room: usize): void {
  if (tokens == 1) return tile1x32<T, F>(packed, weights, sums, columns);
  for (let k: usize = 0; k < columns; k += stripColumns) {
    const n = min(stripColumns, columns - k), strip = weights + panelBytes<F>(k);
    for (let t: usize = 0; t < tokens; t += 4) {
      const width = min(4, tokens - t), c = sums + t * 128;
      const a = packed + t * columns * 4 + (k / groupColumns<F>() * 8 + k * sizeof<T>()) * width;
      if (width == 1) tile1x32<T, F>(a, strip, c, n);
      else stripProduct<T, F>(a, width, strip, room, t == 0, c, n);
    }
  }
}

/** Two or four tokens times a strip: all rows of a group before the next, so that weights from memory come in order. */
function stripProduct<T, F>(
  a: usize, width: usize, outer: usize, w: usize, first: bool, c: usize, n: usize,
): void {
  for (let b = outer + outerBytes<F>(); n != 0; w += expandedBytes<F>()) {
    const some = min(groupColumns<F>(), n);
    if (width == 2) {
      tile2x16<T, F>(a, b, outer, c, some);
    } else {
      if (first) expandScales<F>(w, b, outer);
      tile4<T, F>(a, b + scaleBytes<F>(), w, c, some);
    }
    a += (8 + some * sizeof<T>()) * width, b += groupBytes<F>(n), n -= some;
  }
}
