// Per-head norm and rotary positions (Su et al. 2021, arXiv 2104.09864), and the store of keys and values into their
// pages.

import { Attention } from "../operations";
import { rmsScale } from "./norm";
import { slotOf } from "./pages";
import { claim } from "./program";
import { lanePosition, max4, sum4 } from "./vector";

/** Tokens that a thread takes at a time from a prompt: a page, as it is by default. */
const runTokens: usize = 16;

/** Norm (if `norm`) and rotation of one head, in place; `half` a multiple of 4. */
function rotate(x: usize, half: usize, cosine: usize, sine: usize, norm: usize, epsilon: f32): void {
  const bytes = half * 4;
  if (norm) {
    const scale = f32x4.splat(rmsScale(x, 2 * half, epsilon));
    for (let i: usize = 0; i < 2 * bytes; i += 16) {
      v128.store(x + i, f32x4.mul(f32x4.mul(v128.load(x + i), scale), v128.load(norm + i)));
    }
  }
  for (let i: usize = 0; i < bytes; i += 16) {
    const c = v128.load(cosine + i), s = v128.load(sine + i);
    const a = v128.load(x + i), b = v128.load(x + bytes + i);
    v128.store(x + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(x + bytes + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
}

/**
 * Norms and rotates q and k of every token and stores k and v as integers T, of 16 bits or of 8: x = number · scale · 2¹⁶,
 * or 2²⁴ (the kernels read the numbers on top of words). A page holds per kv head the keys transposed,
 * [headDim][page size], so that eight keys are a vector of the score kernel, and the values as rows, [page
 * size][headDim]; the scales are apart, [page][kv head][page size]. Eight neighbours stand as 0 4 1 5 2 6 3 7, which
 * unpacking puts in order. A unit is one token and one head of [q | k | v].
 */
export function ropeStore(op: Attention): void {
  const heads = op.heads, kvHeads = op.kvHeads, dim = op.headDim;
  const all = heads + 2 * kvHeads, tokens = op.tokens;
  // Neighbours share the cache lines of a page's keys, so each thread claims a run of them when there are many.
  const group = tokens >= 64 ? runTokens * all : 1, units = tokens * all;
  for (let unit = claim(op, group); unit < units; unit = claim(op, group)) {
    for (let u = unit, end = min(unit + group, units); u < end; u++) {
      const t = u / all, h = u % all;
      const position = load<u32>(op.positions + t * 4);
      const x = op.qkv + op.stride * t + dim * 4 * h;
      const angle = position * dim * 2, cosine = op.cosine + angle, sine = op.sine + angle;
      if (h < heads) {
        rotate(x, dim >> 1, cosine, sine, op.qNorm, op.qEpsilon);
      } else if (h < heads + kvHeads) {
        rotate(x, dim >> 1, cosine, sine, op.kNorm, op.kEpsilon);
        if (op.numberBytes == 1) storeKey<i8>(op, x, t, position, h - heads);
        else storeKey<i16>(op, x, t, position, h - heads);
      } else {
        if (op.numberBytes == 1) storeValue<i8>(op, x, t, position, h - heads - kvHeads);
        else storeValue<i16>(op, x, t, position, h - heads - kvHeads);
      }
    }
  }
}

function storeKey<T>(op: Attention, x: usize, token: usize, position: usize, kvHead: usize): void {
  const slot = slotOf(op, load<usize>(op.rows + token * 4), kvHead, position), dim = op.headDim, shift = op.pageShift;
  const within = slot & ((1 << shift) - 1), first = slot - within;
  const factor = storeScale<T>(op.keyScales + slot * 4, x, dim);
  const lane = shift >= 3 ? (within & ~7) + lanePosition(within & 7) : within;
  const line = sizeof<T>() << shift;
  let to = op.keys + (first * dim + lane) * sizeof<T>();
  for (let i: usize = 0; i < dim * 4; i += 16, to += 4 * line) {
    const v = quantize(v128.load(x + i), factor);
    store<T>(to, <T> i32x4.extract_lane(v, 0));
    store<T>(to + line, <T> i32x4.extract_lane(v, 1));
    store<T>(to + 2 * line, <T> i32x4.extract_lane(v, 2));
    store<T>(to + 3 * line, <T> i32x4.extract_lane(v, 3));
  }
}

function storeValue<T>(op: Attention, x: usize, token: usize, position: usize, kvHead: usize): void {
  const slot = slotOf(op, load<usize>(op.rows + token * 4), kvHead, position), dim = op.headDim;
  const factor = storeScale<T>(op.valueScales + slot * 4, x, dim);
  let to = op.values + slot * dim * sizeof<T>();
  for (let i: usize = 0; i < dim * 4; i += 32, to += 8 * sizeof<T>()) {
    const a = quantize(v128.load(x + i), factor), b = quantize(v128.load(x + i, 16), factor);
    const v = v128.or(v128.and(a, i32x4.splat(0xffff)), i32x4.shl(b, 16));
    if (sizeof<T>() == 1) v128.store64_lane(to, i8x16.narrow_i16x8_s(v, v), 0);
    else v128.store(to, v);
  }
}

/** Writes the scale of `count` numbers; returns the factor that makes integers of them. */
function storeScale<T>(to: usize, x: usize, count: usize): f32 {
  let m = f32x4.splat(0), n = m;
  for (const end = x + count * 4; x < end; x += 16) {
    const v = f32x4.abs(v128.load(x));
    m = f32x4.pmax(m, v);
    // A NaN is never the larger one; it survives in a sum.
    n = f32x4.add(n, f32x4.sub(v, v));
  }
  const largest = max4(m) + sum4(n);
  const most: f32 = sizeof<T>() == 1 ? 127 : 32767, unit: f32 = sizeof<T>() == 1 ? 16777216 : 65536;
  store<f32>(to, largest * (1 / (most * unit)));
  return largest > 0 ? most / largest : 0;
}

/** Rounds x · factor (at most 32767, or 127) to integers, in the low halves of the lanes. */
@inline
function quantize(x: v128, factor: f32): v128 {
  // Adding 1.5 · 2²³ leaves the integer in the low bits, in two's complement.
  return f32x4.add(f32x4.mul(x, f32x4.splat(factor)), f32x4.splat(12582912));
}
