// Micro-kernels of products with the weights of `planes.ts`: C[4, 8], C[2, 16] or C[1, 32] += A · B for four, two or
// one tokens, as in `int8_tile.ts`, whose inputs they take.
//
// Half bytes are unpacked by a mask and a shift. After each group its sums are scaled and added to C; a group's minimum
// is multiplied by the sum of the inputs, which is packed with them. T says how inputs are packed, F the format.

import { madd } from "../vector";
import { dot } from "./int8";
import { groupColumns, halfScales, hasMinimum, outerBytes, scaleBytes, wholeBytes } from "./planes";

/** Masks of numbers, the mask and the factor that make float32 of float16; in memory so that they stay in registers. */
const constants = memory.data<u32>(
  [
    0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f, 0x0f0f0f0f,
    0x000f000f, 0x000f000f, 0x000f000f, 0x000f000f,
    0x00ff00ff, 0x00ff00ff, 0x00ff00ff, 0x00ff00ff,
    0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000,
    0x77800000, 0x77800000, 0x77800000, 0x77800000,
  ],
  16,
);

@inline
function numberMask<T, F>(): v128 {
  return v128.load(constants + (sizeof<T>() == 1 ? 0 : wholeBytes<F>() ? 32 : 16));
}

/** Bytes of the numbers that one step takes: four columns (T = i8) or two of 32 rows. */
@inline
function stepBytes<T, F>(): usize {
  return (wholeBytes<F>() ? 128 : 64) / sizeof<T>();
}

/** The vector with eight rows' numbers, or the first of two. */
@inline
function eight<T, F>(b: usize, row: usize): v128 {
  if (wholeBytes<F>()) return v128.load(b + row * 4 / sizeof<T>());
  if (sizeof<T>() == 1) return v128.load(b + row * 2);
  return i16x8.shr_u(v128.load(b + (row >> 4) * 16), <i32> row & 8);
}

/** Rows 0–3 of the eight. */
@inline
function low<T, F>(v: v128, mask: v128): v128 {
  return wholeBytes<F>() && sizeof<T>() == 1 ? v : v128.and(v, mask);
}

/** Rows 4–7. */
@inline
function high<T, F>(v: v128, b: usize, row: usize, mask: v128): v128 {
  if (!wholeBytes<F>()) return v128.and(i16x8.shr_u(v, 4), mask);
  return sizeof<T>() == 1 ? v128.load(b + row * 4 + 16) : i16x8.shr_u(v, 8);
}

/** Four bytes as float32. */
@inline
function bytes4<F>(at: usize): v128 {
  const v = v128.load32_zero(at);
  return f32x4.convert_i32x4_s(
    isSigned<F>()
      ? i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v))
      : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v)),
  );
}

/** Four float16 numbers as float32. */
@inline
function halves4(at: usize): v128 {
  const v = i32x4.shl(v128.load16x4_u(at), 16);
  return f32x4.mul(v128.and(i32x4.shr_s(v, 3), v128.load(constants + 48)), v128.load(constants + 64));
}

/** Scales of four rows. */
@inline
function scales4<F>(w: usize, outer: usize, row: usize): v128 {
  if (halfScales<F>()) return halves4(w + row * 2);
  return f32x4.mul(bytes4<F>(w + row), v128.load(outer + row * 4));
}

/** Minima of four rows. */
@inline
function minima4<F>(w: usize, outer: usize, row: usize): v128 {
  if (halfScales<F>()) return halves4(w + 64 + row * 2);
  return f32x4.mul(bytes4<F>(w + 32 + row), v128.load(outer + 128 + row * 4));
}

/** Adds a group's sums of four rows and one token to C: `scale` is the token's, `total` the sum of its inputs. */
@inline
function add4<F>(c: usize, sum: v128, scale: v128, total: v128, w: usize, outer: usize, row: usize): void {
  let y = v128.load(c);
  if (hasMinimum<F>()) y = madd(total, minima4<F>(w, outer, row), y);
  v128.store(c, madd(f32x4.convert_i32x4_s(sum), f32x4.mul(scale, scales4<F>(w, outer, row)), y));
}

/** The same for two tokens, whose sums are 128 bytes apart. */
@inline
function add4x2<F>(
  c: usize,
  sum0: v128,
  sum1: v128,
  scale0: v128,
  scale1: v128,
  total0: v128,
  total1: v128,
  w: usize,
  outer: usize,
  row: usize,
): void {
  const scales = scales4<F>(w, outer, row);
  let y0 = v128.load(c), y1 = v128.load(c, 128);
  if (hasMinimum<F>()) {
    const minima = minima4<F>(w, outer, row);
    y0 = madd(total0, minima, y0), y1 = madd(total1, minima, y1);
  }
  v128.store(c, madd(f32x4.convert_i32x4_s(sum0), f32x4.mul(scale0, scales), y0));
  v128.store(c, madd(f32x4.convert_i32x4_s(sum1), f32x4.mul(scale1, scales), y1), 128);
}

/** Bytes of a group's scales and minima as float32. */
@inline
export function expandedBytes<F>(): usize {
  return hasMinimum<F>() ? 256 : 128;
}

/** Writes scales (and minima) of 32 rows and a group as float32; `outer` are its block's. */
export function expandScales<F>(to: usize, w: usize, outer: usize): void {
  for (let row: usize = 0; row < 32; row += 4, to += 16) {
    v128.store(to, scales4<F>(w, outer, row));
    if (hasMinimum<F>()) v128.store(to, minima4<F>(w, outer, row), 128);
  }
}

/** Adds a group's sums of eight rows and one token to C; w are the rows' expanded scales. */
@inline
function add8<F>(c: usize, sum0: v128, sum1: v128, scale: v128, total: v128, w: usize): void {
  let y0 = v128.load(c), y1 = v128.load(c, 16);
  if (hasMinimum<F>()) y0 = madd(total, v128.load(w, 128), y0), y1 = madd(total, v128.load(w, 144), y1);
  v128.store(c, madd(f32x4.convert_i32x4_s(sum0), f32x4.mul(scale, v128.load(w)), y0));
  v128.store(c, madd(f32x4.convert_i32x4_s(sum1), f32x4.mul(scale, v128.load(w, 16)), y1), 16);
}

/** What a group's sums of one token begin with; with a minimum the number at `at` is the sum of its inputs instead. */
@inline
function firstSum<F>(at: usize): v128 {
  return hasMinimum<F>() ? i32x4.splat(0) : v128.load32_splat(at);
}

/** The sum of a token's inputs, with its scale. */
@inline
function totalInput<F>(at: usize, scale: v128): v128 {
  return hasMinimum<F>() ? f32x4.mul(scale, f32x4.convert_i32x4_s(v128.load32_splat(at))) : scale;
}

/** One token times all 32 rows of a panel. */
export function tile1x32<T, F>(a: usize, b: usize, c: usize, k: usize): void {
  const mask = numberMask<T, F>();
  let outer: usize = 0;
  for (let left = k; left != 0;) {
    if (outerBytes<F>() != 0 && (left & 255) == 0) outer = b, b += outerBytes<F>();
    const header = a, first = firstSum<F>(a + 4), w = b, n = min(groupColumns<F>(), left);
    let r0 = first, r1 = first, r2 = first, r3 = first, r4 = first, r5 = first, r6 = first, r7 = first;
    a += 8, b += scaleBytes<F>();
    for (const end = a + n * sizeof<T>(); a < end; a += 4, b += stepBytes<T, F>()) {
      const s = v128.load32_splat(a);
      let v = eight<T, F>(b, 0);
      r0 = dot<T>(s, low<T, F>(v, mask), r0), r1 = dot<T>(s, high<T, F>(v, b, 0, mask), r1);
      v = eight<T, F>(b, 8);
      r2 = dot<T>(s, low<T, F>(v, mask), r2), r3 = dot<T>(s, high<T, F>(v, b, 8, mask), r3);
      v = eight<T, F>(b, 16);
      r4 = dot<T>(s, low<T, F>(v, mask), r4), r5 = dot<T>(s, high<T, F>(v, b, 16, mask), r5);
      v = eight<T, F>(b, 24);
      r6 = dot<T>(s, low<T, F>(v, mask), r6), r7 = dot<T>(s, high<T, F>(v, b, 24, mask), r7);
    }
    const scale = v128.load32_splat(header), total = totalInput<F>(header + 4, scale);
    add4<F>(c, r0, scale, total, w, outer, 0);
    add4<F>(c + 16, r1, scale, total, w, outer, 4);
    add4<F>(c + 32, r2, scale, total, w, outer, 8);
    add4<F>(c + 48, r3, scale, total, w, outer, 12);
    add4<F>(c + 64, r4, scale, total, w, outer, 16);
    add4<F>(c + 80, r5, scale, total, w, outer, 20);
    add4<F>(c + 96, r6, scale, total, w, outer, 24);
    add4<F>(c + 112, r7, scale, total, w, outer, 28);
    left -= n;
  }
}

/** Two tokens times a group of n columns of a panel, 16 rows after the others; `outer` are its block's scales. */
export function tile2x16<T, F>(a: usize, b: usize, outer: usize, c: usize, n: usize): void {
  const mask = numberMask<T, F>();
  for (let row: usize = 0; row < 32; row += 16, c += 64) {
    let r00 = firstSum<F>(a + 8), r10 = firstSum<F>(a + 12);
    let r01 = r00, r02 = r00, r03 = r00, r11 = r10, r12 = r10, r13 = r10;
    let x = a + 16, y = b + scaleBytes<F>();
    for (const end = x + 2 * n * sizeof<T>(); x < end; x += 8, y += stepBytes<T, F>()) {
      const s = v128.load32_splat(x), t = v128.load32_splat(x, 4);
      let v = eight<T, F>(y, row), u = low<T, F>(v, mask);
      r00 = dot<T>(s, u, r00), r10 = dot<T>(t, u, r10);
      u = high<T, F>(v, y, row, mask);
      r01 = dot<T>(s, u, r01), r11 = dot<T>(t, u, r11);
      v = eight<T, F>(y, row + 8), u = low<T, F>(v, mask);
      r02 = dot<T>(s, u, r02), r12 = dot<T>(t, u, r12);
      u = high<T, F>(v, y, row + 8, mask);
      r03 = dot<T>(s, u, r03), r13 = dot<T>(t, u, r13);
    }
    const s0 = v128.load32_splat(a), s1 = v128.load32_splat(a, 4);
    const t0 = totalInput<F>(a + 8, s0), t1 = totalInput<F>(a + 12, s1);
    add4x2<F>(c, r00, r10, s0, s1, t0, t1, b, outer, row);
    add4x2<F>(c + 16, r01, r11, s0, s1, t0, t1, b, outer, row + 4);
    add4x2<F>(c + 32, r02, r12, s0, s1, t0, t1, b, outer, row + 8);
    add4x2<F>(c + 48, r03, r13, s0, s1, t0, t1, b, outer, row + 12);
  }
}

/** Four tokens times a group of n columns of a panel, 8 rows after the others; w are its expanded scales. */
export function tile4<T, F>(a: usize, b: usize, w: usize, c: usize, n: usize): void {
  const mask = numberMask<T, F>();
  for (let row: usize = 0; row < 32; row += 8, c += 32, w += 32) {
    let r00 = firstSum<F>(a + 16), r10 = firstSum<F>(a + 20), r20 = firstSum<F>(a + 24), r30 = firstSum<F>(a + 28);
    let r01 = r00, r11 = r10, r21 = r20, r31 = r30;
    let x = a + 32, y = b;
    for (const end = x + 4 * n * sizeof<T>(); x < end; x += 16, y += stepBytes<T, F>()) {
      let b0 = eight<T, F>(y, row);
      const b1 = high<T, F>(b0, y, row, mask), v = v128.load(x);
      b0 = low<T, F>(b0, mask);
      let s = v128.shuffle<i32>(v, v, 0, 0, 0, 0);
      r00 = dot<T>(s, b0, r00), r01 = dot<T>(s, b1, r01);
      s = v128.shuffle<i32>(v, v, 1, 1, 1, 1);
      r10 = dot<T>(s, b0, r10), r11 = dot<T>(s, b1, r11);
      s = v128.shuffle<i32>(v, v, 2, 2, 2, 2);
      r20 = dot<T>(s, b0, r20), r21 = dot<T>(s, b1, r21);
      s = v128.shuffle<i32>(v, v, 3, 3, 3, 3);
      r30 = dot<T>(s, b0, r30), r31 = dot<T>(s, b1, r31);
    }
    let scale = v128.load32_splat(a);
    add8<F>(c, r00, r01, scale, totalInput<F>(a + 16, scale), w);
    scale = v128.load32_splat(a, 4);
    add8<F>(c + 128, r10, r11, scale, totalInput<F>(a + 20, scale), w);
    scale = v128.load32_splat(a, 8);
    add8<F>(c + 256, r20, r21, scale, totalInput<F>(a + 24, scale), w);
    scale = v128.load32_splat(a, 12);
    add8<F>(c + 384, r30, r31, scale, totalInput<F>(a + 28, scale), w);
  }
}
