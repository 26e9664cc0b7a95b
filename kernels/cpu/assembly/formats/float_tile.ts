// Micro-kernels of products: C[4, 8], C[2, 16] or C[1, 32] += Aᵀ · B for four, two or one rows of A.
//
// The shape of BLIS's kernels (Van Zee & van de Geijn 2015) for sixteen 128-bit registers: eight accumulators, one
// vector of A whose lanes are spread by shuffles, two vectors of B that are unpacked from 16-bit weights in
// registers. V8 checks the bounds of every access, so vectors are loaded whole rather than lane by lane; loops are
// not unrolled because the compiler then reorders the chains. What bounds it: multiply-adds (4 × 8), or memory (1 × 32).
//
// Each element of C is one chain of multiply-adds in ascending k whatever w is: a token's result has the same bits
// in any batch.

import { madd } from "../vector";

/**
 * Masks and factor of the unpacking, in memory: vector constants would be made anew in every round of a loop,
 * values loaded before it stay in registers.
 */
const constants = memory.data<u32>(
  [
    0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
    0x8fffe000, 0x8fffe000, 0x8fffe000, 0x8fffe000,
    0x77800000, 0x77800000, 0x77800000, 0x77800000,
  ],
  16,
);

/** The bits of a 16-bit number that stay when it stands in the upper half of a word. */
@inline
function unpackMask<T>(): v128 {
  return v128.load(constants + (isSigned<T>() ? 16 : 0));
}

/** 2¹¹². */
@inline
function unpackFactor(): v128 {
  return v128.load(constants + 32);
}

/** The four numbers in the low halves of eight 16-bit ones. */
@inline
function low<T>(v: v128, mask: v128, factor: v128): v128 {
  return isSigned<T>() ? fromHalf(i32x4.shl(v, 16), mask, factor) : i32x4.shl(v, 16);
}

/** The four numbers in the high halves. */
@inline
function high<T>(v: v128, mask: v128, factor: v128): v128 {
  return isSigned<T>() ? fromHalf(v, mask, factor) : v128.and(v, mask);
}

/**
 * float16 in the upper halves to float32: shift the exponent into place (the sign stays), drop the rest, and
 * multiply by 2¹¹² to correct the exponent's bias. Exact, subnormal numbers included.
 */
@inline
function fromHalf(v: v128, mask: v128, factor: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shr_s(v, 3), mask), factor);
}

/** Four rows over eight columns. */
export function tile4<T>(a: usize, b: usize, c: usize, k: usize): void {
  const c1 = c + 128, c2 = c + 256, c3 = c + 384;
  let r00 = v128.load(c), r01 = v128.load(c, 16), r10 = v128.load(c1), r11 = v128.load(c1, 16);
  let r20 = v128.load(c2), r21 = v128.load(c2, 16), r30 = v128.load(c3), r31 = v128.load(c3, 16);
  const end = a + (k << 4), mask = unpackMask<T>(), factor = unpackFactor();
  for (; a < end; a += 16, b += 32 * sizeof<T>()) {
    let b0 = v128.load(b), b1: v128;
    if (sizeof<T>() == 4) {
      b1 = v128.load(b, 16);
    } else {
      b1 = high<T>(b0, mask, factor);
      b0 = low<T>(b0, mask, factor);
    }
    const v = v128.load(a);
    let s = v128.shuffle<f32>(v, v, 0, 0, 0, 0);
    r00 = madd(s, b0, r00), r01 = madd(s, b1, r01);
    s = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
    r10 = madd(s, b0, r10), r11 = madd(s, b1, r11);
    s = v128.shuffle<f32>(v, v, 2, 2, 2, 2);
    r20 = madd(s, b0, r20), r21 = madd(s, b1, r21);
    s = v128.shuffle<f32>(v, v, 3, 3, 3, 3);
    r30 = madd(s, b0, r30), r31 = madd(s, b1, r31);
  }
  v128.store(c, r00), v128.store(c, r01, 16), v128.store(c1, r10), v128.store(c1, r11, 16);
  v128.store(c2, r20), v128.store(c2, r21, 16), v128.store(c3, r30), v128.store(c3, r31, 16);
}

/** Two rows over half a panel. */
export function tile2x16<T>(a: usize, b: usize, c: usize, k: usize): void {
  let r00 = v128.load(c), r01 = v128.load(c, 16), r02 = v128.load(c, 32), r03 = v128.load(c, 48);
  let r10 = v128.load(c, 128), r11 = v128.load(c, 144), r12 = v128.load(c, 160), r13 = v128.load(c, 176);
  const end = a + (k << 3), mask = unpackMask<T>(), factor = unpackFactor();
  for (; a < end; a += 8, b += 32 * sizeof<T>()) {
    const v = v128.load64_zero(a);
    const s = v128.shuffle<f32>(v, v, 0, 0, 0, 0), t = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
    let b0 = v128.load(b), b1: v128;
    if (sizeof<T>() == 4) {
      b1 = v128.load(b, 16);
    } else {
      b1 = high<T>(b0, mask, factor);
      b0 = low<T>(b0, mask, factor);
    }
    r00 = madd(s, b0, r00), r01 = madd(s, b1, r01), r10 = madd(t, b0, r10), r11 = madd(t, b1, r11);
    if (sizeof<T>() == 4) {
      b0 = v128.load(b, 32);
      b1 = v128.load(b, 48);
    } else {
      b0 = v128.load(b, 16);
      b1 = high<T>(b0, mask, factor);
      b0 = low<T>(b0, mask, factor);
    }
    r02 = madd(s, b0, r02), r03 = madd(s, b1, r03), r12 = madd(t, b0, r12), r13 = madd(t, b1, r13);
  }
  v128.store(c, r00), v128.store(c, r01, 16), v128.store(c, r02, 32), v128.store(c, r03, 48);
  v128.store(c, r10, 128), v128.store(c, r11, 144), v128.store(c, r12, 160), v128.store(c, r13, 176);
}

/** One row over a whole panel: streams the weights once, a cache line (or two) per k. */
export function tile1x32<T>(a: usize, b: usize, c: usize, k: usize): void {
  let r0 = v128.load(c), r1 = v128.load(c, 16), r2 = v128.load(c, 32), r3 = v128.load(c, 48);
  let r4 = v128.load(c, 64), r5 = v128.load(c, 80), r6 = v128.load(c, 96), r7 = v128.load(c, 112);
  const end = a + (k << 2), mask = unpackMask<T>(), factor = unpackFactor();
  for (; a < end; a += 4, b += sizeof<T>() * 32) {
    const s = v128.load32_splat(a);
    if (sizeof<T>() == 4) {
      r0 = madd(s, v128.load(b), r0), r1 = madd(s, v128.load(b, 16), r1);
      r2 = madd(s, v128.load(b, 32), r2), r3 = madd(s, v128.load(b, 48), r3);
      r4 = madd(s, v128.load(b, 64), r4), r5 = madd(s, v128.load(b, 80), r5);
      r6 = madd(s, v128.load(b, 96), r6), r7 = madd(s, v128.load(b, 112), r7);
    } else {
      let v = v128.load(b);
      r0 = madd(s, low<T>(v, mask, factor), r0), r1 = madd(s, high<T>(v, mask, factor), r1);
      v = v128.load(b, 16);
      r2 = madd(s, low<T>(v, mask, factor), r2), r3 = madd(s, high<T>(v, mask, factor), r3);
      v = v128.load(b, 32);
      r4 = madd(s, low<T>(v, mask, factor), r4), r5 = madd(s, high<T>(v, mask, factor), r5);
      v = v128.load(b, 48);
      r6 = madd(s, low<T>(v, mask, factor), r6), r7 = madd(s, high<T>(v, mask, factor), r7);
    }
  }
  v128.store(c, r0), v128.store(c, r1, 16), v128.store(c, r2, 32), v128.store(c, r3, 48);
  v128.store(c, r4, 64), v128.store(c, r5, 80), v128.store(c, r6, 96), v128.store(c, r7, 112);
}
