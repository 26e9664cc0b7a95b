// Inputs rounded to eight bits, and the exact dot product of eight-bit numbers that the machine has.
//
// Activations are quantised like the weights, to ±127 times a scale per token and block of 32 columns (as llama.cpp
// does for its Q8_0): the error is of the weights' own size. Sums within a block are exact in int32; they are scaled
// by both scales and added to float32 sums block after block, in one rounding with relaxed SIMD: the same operations in
// the same order for any number of tokens.
//
// Relaxed SIMD's dot product adds four products per lane, but the machine chooses how it reads the second operand: as
// signed numbers (ARM), as unsigned ones (x86 with AVX-VNNI), or with sums that saturate at 16 bits (older x86). Which
// one it is, is tried once. Weights are stored as number + `weightOffset`; that adds weightOffset · Σ activations to a
// sum, so each block's sums begin with its negative. Where the relaxed product is not exact, and in the plain build,
// `i32x4.dot_i16x8_s` multiplies pairs of columns; activations are then stored as 16-bit numbers (T = i16, not i8),
// and sixteen weights are widened by a mask and a shift.
//
// Packed: [token panel][block]: scales (float32) of one, two or four tokens and their first sums (int32), then
// [column / n][tokens][n columns]: n is 4 for i8, 2 for i16.

import { Product } from "../../operations";
import { inputRow, normScale, scaled } from "../norm";

/** Columns that share a scale. */
export const blockColumns: usize = 32;

/** Two vectors, multiplied by the relaxed product: −128 and 127, times 255 and 128. */
const trial = memory.data<u8>([
  0x80, 0x80, 0x80, 0x80, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x80, 0x80, 0x80, 0x80,
  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
], 16);

/** Whether the relaxed product reads its second operand as unsigned numbers, or as signed ones, and is exact. */
function relaxedProduct(signed: bool): bool {
  if (!ASC_FEATURE_RELAXED_SIMD) return false;
  const found = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(trial), v128.load(trial, 16), i32x4.splat(0));
  return i32x4.all_true(i32x4.eq(
    found,
    signed ? i32x4(512, -508, -65024, 65536) : i32x4(-130560, 129540, 65024, -65536),
  ));
}

const signed: bool = relaxedProduct(true);
/** Whether products take activations as i8. */
export const relaxed: bool = signed || relaxedProduct(false);
/** Stored weights are larger by this. */
export const weightOffset: i32 = signed ? 0 : 128;

/** sum + four (i8) or two (i16) columns of a token, in all lanes, times those of four rows. */
@inline
export function dot<T>(s: v128, w: v128, sum: v128): v128 {
  if (sizeof<T>() == 1) return i32x4.relaxed_dot_i8x16_i7x16_add_s(s, w, sum);
  return i32x4.add(i32x4.dot_i16x8_s(s, w), sum);
}

/** `packInput` of a format whose stored weights are larger by `offset` and have a scale for `block` columns. */
export function packTokens<T>(
  to: usize,
  op: Product,
  first: usize,
  count: usize,
  offset: i32,
  block: usize = blockColumns,
): void {
  const width: usize = count == 3 ? 4 : count;
  for (let t: usize = 0; t < width; t++) {
    packToken<T>(to, t, width, t < count ? inputRow(op, first + t) : 0, op, offset, block);
  }
}

/** Quantises one token into place `lane` of a token panel of `width` tokens; x = 0 fills it up with zeros. */
function packToken<T>(
  to: usize,
  lane: usize,
  width: usize,
  x: usize,
  op: Product,
  offset: i32,
  block: usize,
): void {
  const root = x ? normScale(op, x) : f32x4.splat(1), line = width * 4;
  let norm = op.norm;
  for (let k: usize = 0; k < op.columns; k += block) {
    const bytes = min(block, op.columns - k) * 4, header = to + lane * 4;
    let at = header + 2 * line;
    to += 2 * line + bytes / 4 * width * sizeof<T>();
    store<f32>(header, 0);
    store<i32>(header + line, 0);
    if (!x) {
      for (; at < to; at += line) store<u32>(at, 0);
      continue;
    }
    if (sizeof<T>() == 1 && bytes == 128) {
      packBlock(header, at, line, x, norm, root, offset);
    } else {
      const inverse = storeScale(header, largest4(x, bytes, norm, root));
      let sum = i32x4.splat(0);
      for (let i: usize = 0; i < bytes; i += 16, at += line * sizeof<T>()) {
        const q = rounded(scaled(x + i, norm, i, root), inverse), pairs = i16x8.narrow_i32x4_s(q, q);
        sum = i32x4.add(sum, q);
        if (sizeof<T>() == 1) {
          store<i32>(at, i32x4.extract_lane(i8x16.narrow_i16x8_s(pairs, pairs), 0));
        } else {
          store<i32>(at, i32x4.extract_lane(pairs, 0));
          store<i32>(at + line, i32x4.extract_lane(pairs, 1));
        }
      }
      storeSum(header + line, sum, offset);
    }
    x += bytes;
    if (norm) norm += bytes;
  }
}

/** A block of 32 columns as bytes, `line` bytes from one four to the next; its numbers stay in registers. */
function packBlock(header: usize, at: usize, line: usize, x: usize, norm: usize, root: v128, offset: i32): void {
  const a = scaled(x, norm, 0, root), b = scaled(x + 16, norm, 16, root);
  const c = scaled(x + 32, norm, 32, root), d = scaled(x + 48, norm, 48, root);
  const e = scaled(x + 64, norm, 64, root), f = scaled(x + 80, norm, 80, root);
  const g = scaled(x + 96, norm, 96, root), h = scaled(x + 112, norm, 112, root);
  const ab = larger(larger(i32x4.splat(0), a), b), cd = larger(larger(i32x4.splat(0), c), d);
  const ef = larger(larger(ab, e), f), gh = larger(larger(cd, g), h);
  const inverse = storeScale(header, i32x4.max_s(ef, gh));
  const low = i16x8.narrow_i32x4_s(rounded(a, inverse), rounded(b, inverse));
  const low2 = i16x8.narrow_i32x4_s(rounded(c, inverse), rounded(d, inverse));
  const high = i16x8.narrow_i32x4_s(rounded(e, inverse), rounded(f, inverse));
  const high2 = i16x8.narrow_i32x4_s(rounded(g, inverse), rounded(h, inverse));
  const sums = i16x8.add(i16x8.add(low, low2), i16x8.add(high, high2));
  storeSum(header + line, i32x4.extadd_pairwise_i16x8_s(sums), offset);
  storeFours(at, line, i8x16.narrow_i16x8_s(low, low2));
  storeFours(at + 4 * line, line, i8x16.narrow_i16x8_s(high, high2));
}

@inline
function storeFours(at: usize, line: usize, v: v128): void {
  store<i32>(at, i32x4.extract_lane(v, 0));
  store<i32>(at + line, i32x4.extract_lane(v, 1));
  store<i32>(at + 2 * line, i32x4.extract_lane(v, 2));
  store<i32>(at + 3 * line, i32x4.extract_lane(v, 3));
}

/** The larger of most and |v|, as bits: those of a NaN are larger than any number's. */
@inline
function larger(most: v128, v: v128): v128 {
  return i32x4.max_s(most, f32x4.abs(v));
}

@inline
function largest4(x: usize, bytes: usize, norm: usize, root: v128): v128 {
  let most = i32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) most = larger(most, scaled(x + i, norm, i, root));
  return most;
}

/** Writes the scale of a block whose largest numbers are `most`; returns what its numbers are multiplied by. */
@inline
function storeScale(to: usize, most: v128): v128 {
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  const largest = f32x4.extract_lane(i32x4.max_s(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2)), 0);
  store<f32>(to, largest / 127);
  return f32x4.splat(largest > 0 ? <f32> 127 / largest : 0);
}

/** Writes what a block's sums begin with. */
@inline
function storeSum(to: usize, sum: v128, offset: i32): void {
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
  store<i32>(to, -offset * (i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1)));
}

/** The integers nearest to x · factor, by adding 1.5 · 2²³, which leaves them in the low bits. */
@inline
function rounded(x: v128, factor: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(x, factor), f32x4.splat(12582912)), i32x4.splat(0x4b400000));
}
