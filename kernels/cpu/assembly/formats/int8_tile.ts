// Micro-kernels of eight-bit products: C[4, 8], C[2, 16] or C[1, 32] += A · B for four, two or one tokens.
//
// A and B begin at a block. Eight chains of int32 sums hide the latency of the dot product; after each block they are
// scaled and added to C. What bounds it: dot products (4 × 8), or memory (1 × 32).

import { madd } from "../vector";
import { blockColumns, dot } from "./int8";

/** Bytes of a block's scales in a weight panel. */
export const scaleBytes: usize = 64;

/** 2¹¹² and the mask of lower bytes, in memory so that they stay in registers. */
const constants = memory.data<u32>(
  [
    0x77800000, 0x77800000, 0x77800000, 0x77800000,
    0x00ff00ff, 0x00ff00ff, 0x00ff00ff, 0x00ff00ff,
  ],
  16,
);

/** Scales of four rows: float16 without sign, exact. */
@inline
function scales4(at: usize): v128 {
  return f32x4.mul(i32x4.shl(v128.load16x4_u(at), 13), v128.load(constants));
}

/** c plus a block's sums of four rows times their scales. */
@inline
function added(c: v128, sum: v128, scale: v128): v128 {
  return madd(f32x4.convert_i32x4_s(sum), scale, c);
}

@inline
function lowerMask(): v128 {
  return v128.load(constants, 16);
}

/** Rows 0–3 of eight whose first vector is v. */
@inline
function low<T>(v: v128, mask: v128): v128 {
  return sizeof<T>() == 1 ? v : v128.and(v, mask);
}

/** Rows 4–7: the next vector, or the upper bytes of the first. */
@inline
function high<T>(v: v128, at: usize): v128 {
  return sizeof<T>() == 1 ? v128.load(at, 16) : i16x8.shr_u(v, 8);
}

/** One token times all 32 rows of a panel. */
export function tile1x32<T>(a: usize, b: usize, c: usize, k: usize): void {
  const mask = lowerMask();
  for (let left = <isize> k; left > 0; left -= blockColumns) {
    const scale = v128.load32_splat(a), first = v128.load32_splat(a, 4), w = b;
    let r0 = first, r1 = first, r2 = first, r3 = first, r4 = first, r5 = first, r6 = first, r7 = first;
    a += 8, b += scaleBytes;
    for (const end = b + (min(<isize> blockColumns, left) << 5); b < end; a += 4) {
      const s = v128.load32_splat(a);
      let v = v128.load(b);
      r0 = dot<T>(s, low<T>(v, mask), r0), r1 = dot<T>(s, high<T>(v, b), r1), b += 32 / sizeof<T>();
      v = v128.load(b);
      r2 = dot<T>(s, low<T>(v, mask), r2), r3 = dot<T>(s, high<T>(v, b), r3), b += 32 / sizeof<T>();
      v = v128.load(b);
      r4 = dot<T>(s, low<T>(v, mask), r4), r5 = dot<T>(s, high<T>(v, b), r5), b += 32 / sizeof<T>();
      v = v128.load(b);
      r6 = dot<T>(s, low<T>(v, mask), r6), r7 = dot<T>(s, high<T>(v, b), r7), b += 32 / sizeof<T>();
    }
    v128.store(c, added(v128.load(c), r0, f32x4.mul(scale, scales4(w))));
    v128.store(c, added(v128.load(c, 16), r1, f32x4.mul(scale, scales4(w + 8))), 16);
    v128.store(c, added(v128.load(c, 32), r2, f32x4.mul(scale, scales4(w + 16))), 32);
    v128.store(c, added(v128.load(c, 48), r3, f32x4.mul(scale, scales4(w + 24))), 48);
    v128.store(c, added(v128.load(c, 64), r4, f32x4.mul(scale, scales4(w + 32))), 64);
    v128.store(c, added(v128.load(c, 80), r5, f32x4.mul(scale, scales4(w + 40))), 80);
    v128.store(c, added(v128.load(c, 96), r6, f32x4.mul(scale, scales4(w + 48))), 96);
    v128.store(c, added(v128.load(c, 112), r7, f32x4.mul(scale, scales4(w + 56))), 112);
  }
}

/** Two tokens times a block of a panel with n columns, 16 rows after the others. */
export function tile2x16<T>(a: usize, b: usize, c: usize, n: usize): void {
  const mask = lowerMask(), scale0 = v128.load32_splat(a), scale1 = v128.load32_splat(a, 4);
  let w = b;
  b += scaleBytes;
  for (const end = c + 128; c < end; c += 64, b += 64 / sizeof<T>(), w += 32) {
    let r00 = v128.load32_splat(a, 8), r10 = v128.load32_splat(a, 12);
    let r01 = r00, r02 = r00, r03 = r00, r11 = r10, r12 = r10, r13 = r10;
    let x = a + 16, y = b;
    for (const stop = x + n * 2 * sizeof<T>(); x < stop; x += 8, y += 128 / sizeof<T>()) {
      const s = v128.load32_splat(x), t = v128.load32_splat(x, 4);
      let v = v128.load(y), u = low<T>(v, mask);
      r00 = dot<T>(s, u, r00), r10 = dot<T>(t, u, r10);
      u = high<T>(v, y);
      r01 = dot<T>(s, u, r01), r11 = dot<T>(t, u, r11);
      const z = y + 32 / sizeof<T>();
      v = v128.load(z), u = low<T>(v, mask);
      r02 = dot<T>(s, u, r02), r12 = dot<T>(t, u, r12);
      u = high<T>(v, z);
      r03 = dot<T>(s, u, r03), r13 = dot<T>(t, u, r13);
    }
    let v = scales4(w);
    v128.store(c, added(v128.load(c), r00, f32x4.mul(scale0, v)));
    v128.store(c, added(v128.load(c, 128), r10, f32x4.mul(scale1, v)), 128);
    v = scales4(w + 8);
    v128.store(c, added(v128.load(c, 16), r01, f32x4.mul(scale0, v)), 16);
    v128.store(c, added(v128.load(c, 144), r11, f32x4.mul(scale1, v)), 144);
    v = scales4(w + 16);
    v128.store(c, added(v128.load(c, 32), r02, f32x4.mul(scale0, v)), 32);
    v128.store(c, added(v128.load(c, 160), r12, f32x4.mul(scale1, v)), 160);
    v = scales4(w + 24);
    v128.store(c, added(v128.load(c, 48), r03, f32x4.mul(scale0, v)), 48);
    v128.store(c, added(v128.load(c, 176), r13, f32x4.mul(scale1, v)), 176);
  }
}

/** Bytes of a block's scales as float32. */
export const expandedBytes: usize = 128;

/** Writes a block's scales as float32. */
export function expandScales(to: usize, w: usize): void {
  for (const end = w + scaleBytes; w < end; w += 8, to += 16) v128.store(to, scales4(w));
}

/** Four tokens times a block of a panel with n columns, 8 rows after the others; w are its expanded scales. */
export function tile4<T>(a: usize, b: usize, w: usize, c: usize, n: usize): void {
  const mask = lowerMask();
  for (const end = c + 128; c < end; c += 32, b += 32 / sizeof<T>(), w += 32) {
    const first = v128.load(a, 16);
    let r00 = v128.shuffle<i32>(first, first, 0, 0, 0, 0), r10 = v128.shuffle<i32>(first, first, 1, 1, 1, 1);
    let r20 = v128.shuffle<i32>(first, first, 2, 2, 2, 2), r30 = v128.shuffle<i32>(first, first, 3, 3, 3, 3);
    let r01 = r00, r11 = r10, r21 = r20, r31 = r30;
    let x = a + 32, y = b;
    for (const stop = x + n * 4 * sizeof<T>(); x < stop; x += 16, y += 128 / sizeof<T>()) {
      let b0 = v128.load(y);
      const b1 = high<T>(b0, y), v = v128.load(x);
      b0 = low<T>(b0, mask);
      let s = v128.shuffle<i32>(v, v, 0, 0, 0, 0);
      r00 = dot<T>(s, b0, r00), r01 = dot<T>(s, b1, r01);
      s = v128.shuffle<i32>(v, v, 1, 1, 1, 1);
      r10 = dot<T>(s, b0, r10), r11 = dot<T>(s, b1, r11);
      s = v128.shuffle<i32>(v, v, 2, 2, 2, 2);
      r20 = dot<T>(s, b0, r20), r21 = dot<T>(s, b1, r21);
      s = v128.shuffle<i32>(v, v, 3, 3, 3, 3);
      r30 = dot<T>(s, b0, r30), r31 = dot<T>(s, b1, r31);
    }
    const w0 = v128.load(w), w1 = v128.load(w, 16), v = v128.load(a);
    let s = v128.shuffle<i32>(v, v, 0, 0, 0, 0);
    v128.store(c, added(v128.load(c), r00, f32x4.mul(s, w0)));
    v128.store(c, added(v128.load(c, 16), r01, f32x4.mul(s, w1)), 16);
    s = v128.shuffle<i32>(v, v, 1, 1, 1, 1);
    v128.store(c, added(v128.load(c, 128), r10, f32x4.mul(s, w0)), 128);
    v128.store(c, added(v128.load(c, 144), r11, f32x4.mul(s, w1)), 144);
    s = v128.shuffle<i32>(v, v, 2, 2, 2, 2);
    v128.store(c, added(v128.load(c, 256), r20, f32x4.mul(s, w0)), 256);
    v128.store(c, added(v128.load(c, 272), r21, f32x4.mul(s, w1)), 272);
    s = v128.shuffle<i32>(v, v, 3, 3, 3, 3);
    v128.store(c, added(v128.load(c, 384), r30, f32x4.mul(s, w0)), 384);
    v128.store(c, added(v128.load(c, 400), r31, f32x4.mul(s, w1)), 400);
  }
}
