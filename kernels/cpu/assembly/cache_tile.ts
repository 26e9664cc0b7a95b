// Micro-kernels of attention: C[w, 8] += A[k, w]ᵀ · B[k, 8] where B are cached keys or values.
//
// Keys and values are kept as integers T of 16 or 8 bits with a float32 scale per token and head: sixteen bits of the
// largest number are finer than float16, and eight of them take half the memory. Two eights of columns at a time (w = 2) give the
// eight independent chains that hide the latency of multiply-add. As in `tile.ts`, each element of C is one chain
// in ascending k, whatever w is.

import { madd } from "./vector";

/** Mask of the odd 16-bit lanes, in memory so that it stays in a register. */
const oddLanes = memory.data<u32>([0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000], 16);
/** Bytes 0, 2, 4 and 6 on top of words, and 1, 3, 5 and 7: one instruction each, where widening first takes more. */
const evenBytes = memory.data<u8>([128, 128, 128, 0, 128, 128, 128, 2, 128, 128, 128, 4, 128, 128, 128, 6], 16);
const oddBytes = memory.data<u8>([128, 128, 128, 1, 128, 128, 128, 3, 128, 128, 128, 5, 128, 128, 128, 7], 16);

/** Eight integers of a line. */
@inline
function eight<T>(at: usize): v128 {
  if (sizeof<T>() == 1) return v128.load64_zero(at);
  return v128.load(at);
}

/** What `even` and `odd` take. */
@inline
function evenMask<T>(): v128 {
  return v128.load(evenBytes);
}
@inline
function oddMask<T>(): v128 {
  return v128.load(sizeof<T>() == 1 ? oddBytes : oddLanes);
}

/** Bytes of v where the mask says, zeros where it says 128. */
@inline
function bytes(v: v128, mask: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(v, mask);
  return i8x16.swizzle(v, mask);
}

/** Four integers from the even places, times 2¹⁶, or bytes times 2²⁴. */
@inline
function even<T>(v: v128, mask: v128): v128 {
  return f32x4.convert_i32x4_s(sizeof<T>() == 1 ? bytes(v, mask) : i32x4.shl(v, 16));
}

/** Four integers from the odd places. */
@inline
function odd<T>(v: v128, mask: v128): v128 {
  return f32x4.convert_i32x4_s(sizeof<T>() == 1 ? bytes(v, mask) : v128.and(v, mask));
}

/**
 * A list of runs: (address, lines) pairs. Lines of one run are `bStride` bytes apart; a block of keys is one run of
 * headDim lines, a block of values one run of tokens per page.
 */
const runBytes: usize = 8;

export function cache4x8<T>(
  a: usize, runs: usize, end: usize, offset: usize, bStride: usize, c: usize, cStride: usize,
): void {
  const c1 = c + cStride, c2 = c1 + cStride, c3 = c2 + cStride, evens = evenMask<T>(), odds = oddMask<T>();
  let r00 = v128.load(c), r01 = v128.load(c, 16), r10 = v128.load(c1), r11 = v128.load(c1, 16);
  let r20 = v128.load(c2), r21 = v128.load(c2, 16), r30 = v128.load(c3), r31 = v128.load(c3, 16);
  for (; runs < end; runs += runBytes) {
    let b = load<usize>(runs) + offset;
    for (const stop = a + (load<usize>(runs, 4) << 4); a < stop; a += 16, b += bStride) {
      const w = eight<T>(b), b0 = even<T>(w, evens), b1 = odd<T>(w, odds), v = v128.load(a);
      let s = v128.shuffle<f32>(v, v, 0, 0, 0, 0);
      r00 = madd(s, b0, r00), r01 = madd(s, b1, r01);
      s = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
      r10 = madd(s, b0, r10), r11 = madd(s, b1, r11);
      s = v128.shuffle<f32>(v, v, 2, 2, 2, 2);
      r20 = madd(s, b0, r20), r21 = madd(s, b1, r21);
      s = v128.shuffle<f32>(v, v, 3, 3, 3, 3);
      r30 = madd(s, b0, r30), r31 = madd(s, b1, r31);
    }
  }
  v128.store(c, r00), v128.store(c, r01, 16), v128.store(c1, r10), v128.store(c1, r11, 16);
  v128.store(c2, r20), v128.store(c2, r21, 16), v128.store(c3, r30), v128.store(c3, r31, 16);
}

/** Two rows; the second eight stands `next` bytes behind the first. */
export function cache2x16<T>(
  a: usize, runs: usize, end: usize, offset: usize, next: usize, bStride: usize, c: usize, cStride: usize,
): void {
  const c1 = c + cStride, evens = evenMask<T>(), odds = oddMask<T>();
  let r00 = v128.load(c), r01 = v128.load(c, 16), r02 = v128.load(c, 32), r03 = v128.load(c, 48);
  let r10 = v128.load(c1), r11 = v128.load(c1, 16), r12 = v128.load(c1, 32), r13 = v128.load(c1, 48);
  for (; runs < end; runs += runBytes) {
    let b = load<usize>(runs) + offset, d = b + next;
    for (const stop = a + (load<usize>(runs, 4) << 3); a < stop; a += 8, b += bStride, d += bStride) {
      const v = v128.load64_zero(a);
      const s = v128.shuffle<f32>(v, v, 0, 0, 0, 0), t = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
      let w = eight<T>(b), b0 = even<T>(w, evens), b1 = odd<T>(w, odds);
      r00 = madd(s, b0, r00), r01 = madd(s, b1, r01), r10 = madd(t, b0, r10), r11 = madd(t, b1, r11);
      w = eight<T>(d), b0 = even<T>(w, evens), b1 = odd<T>(w, odds);
      r02 = madd(s, b0, r02), r03 = madd(s, b1, r03), r12 = madd(t, b0, r12), r13 = madd(t, b1, r13);
    }
  }
  v128.store(c, r00), v128.store(c, r01, 16), v128.store(c, r02, 32), v128.store(c, r03, 48);
  v128.store(c1, r10), v128.store(c1, r11, 16), v128.store(c1, r12, 32), v128.store(c1, r13, 48);
}

/** Two rows, one eight. */
export function cache2x8<T>(
  a: usize, runs: usize, end: usize, offset: usize, bStride: usize, c: usize, cStride: usize,
): void {
  const c1 = c + cStride, evens = evenMask<T>(), odds = oddMask<T>();
  let r00 = v128.load(c), r01 = v128.load(c, 16), r10 = v128.load(c1), r11 = v128.load(c1, 16);
  for (; runs < end; runs += runBytes) {
    let b = load<usize>(runs) + offset;
    for (const stop = a + (load<usize>(runs, 4) << 3); a < stop; a += 8, b += bStride) {
      const w = eight<T>(b), b0 = even<T>(w, evens), b1 = odd<T>(w, odds), v = v128.load64_zero(a);
      let s = v128.shuffle<f32>(v, v, 0, 0, 0, 0);
      r00 = madd(s, b0, r00), r01 = madd(s, b1, r01);
      s = v128.shuffle<f32>(v, v, 1, 1, 1, 1);
      r10 = madd(s, b0, r10), r11 = madd(s, b1, r11);
    }
  }
  v128.store(c, r00), v128.store(c, r01, 16), v128.store(c1, r10), v128.store(c1, r11, 16);
}
