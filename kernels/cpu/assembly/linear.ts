// Matrix products: y = x · Wᵀ with the norm before and the epilogue behind it.
//
// Weights lie in panels of 32 output rows: [panel][k][32], rows in the order that unpacking yields (see
// `../matrix.ts`; eight-bit ones as `tile_q8.ts` says). Activations are packed four tokens at a time,
// [token panel][k][4]; a rest of one or two tokens makes a narrower panel, a rest of three is filled up with zeros. A
// unit of work is one weight panel times all tokens; sums stand in the thread's scratch, [tokens][32]. So every weight
// is read once from memory, and for many tokens again from the second-level cache.

import { rmsScale } from "./norm";
import { claim, real, word } from "./program";
import {
  tile1x32Bf16,
  tile1x32F16,
  tile1x32F32,
  tile2x16Bf16,
  tile2x16F16,
  tile2x16F32,
  tile4Bf16,
  tile4F16,
  tile4F32,
} from "./tile";
import { packTokenQ8, panelBytesQ8, q8, tile1x32Q8, tile2x16Q8, tile4Q8, tokenBytesQ8 } from "./tile_q8";
import { clear, siluMul, storeTransposed } from "./vector";

/** Storage of a matrix, as in `../matrix.ts`. */
const bf16: usize = 0;
const f16: usize = 1;

/** Epilogues, as in `../program.ts`: store is 0, SiLU·mul 2. */
const addResult: usize = 1;

/** Bytes before token `token` of packed [tokens, k] inputs: each panel stands where its tokens would. */
@inline
export function packedOffset(token: usize, k: usize): usize {
  return token * k * 4;
}

/**
 * Packs tokens first … first + count − 1 of a list (count ≤ 4) into the panel `to`, multiplied by norm weight and
 * scale, for weights of a dtype. `rows` holds token numbers, or is 0 for the identity.
 */
export function packPanel(
  to: usize,
  x: usize,
  stride: usize,
  rows: usize,
  first: usize,
  count: usize,
  k: usize,
  norm: usize,
  epsilon: f32,
  dtype: usize,
): void {
  if (dtype == q8) {
    const width: usize = count == 3 ? 4 : count;
    for (let t: usize = 0; t < width; t++) {
      const token = t < count ? tokenAt(x, stride, rows, first + t) : 0;
      packTokenQ8(to, t, width, token, k, norm, epsilon);
    }
    return;
  }
  const p0 = tokenAt(x, stride, rows, first), s0 = norm ? rmsScale(p0, k, epsilon) : <f32> 1;
  if (count == 1) {
    for (let i: usize = 0; i < k * 4; i += 16) v128.store(to + i, scaled(p0 + i, norm, i, s0));
    return;
  }
  const p1 = tokenAt(x, stride, rows, first + 1), s1 = norm ? rmsScale(p1, k, epsilon) : <f32> 1;
  if (count == 2) {
    for (let i: usize = 0; i < k * 4; i += 16) {
      const a = scaled(p0 + i, norm, i, s0), b = scaled(p1 + i, norm, i, s1);
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 0, 4, 1, 5));
      v128.store(to + 2 * i, v128.shuffle<f32>(a, b, 2, 6, 3, 7), 16);
    }
    return;
  }
  const p2 = tokenAt(x, stride, rows, first + 2), s2 = norm ? rmsScale(p2, k, epsilon) : <f32> 1;
  const last = count == 4 ? first + 3 : first + 2;
  const p3 = tokenAt(x, stride, rows, last), s3 = norm ? rmsScale(p3, k, epsilon) : <f32> 1;
  for (let i: usize = 0; i < k * 4; i += 16) {
    const d = count < 4 ? f32x4.splat(0) : scaled(p3 + i, norm, i, s3);
    storeTransposed(
      to + 4 * i,
      scaled(p0 + i, norm, i, s0),
      scaled(p1 + i, norm, i, s1),
      scaled(p2 + i, norm, i, s2),
      d,
    );
  }
}

@inline
function tokenAt(x: usize, stride: usize, rows: usize, index: usize): usize {
  return x + stride * (rows ? load<usize>(rows + index * 4) : index);
}

@inline
function scaled(x: usize, norm: usize, offset: usize, scale: f32): v128 {
  if (!norm) return v128.load(x);
  return f32x4.mul(f32x4.mul(v128.load(x), f32x4.splat(scale)), v128.load(norm + offset));
}

/**
 * Packs tokens panel by panel. Words: 2 x, 3 stride, 4 rows, 5 tokens, 6 k, 7 norm, 8 epsilon, 9 to, 11 dtype of the
 * weights.
 */
export function pack(op: usize): void {
  const tokens = word(op, 5), k = word(op, 6), panels = (tokens + 3) >> 2;
  for (let p = claim(op, 1); p < panels; p = claim(op, 1)) packTokens(op, p * 4, min(4, tokens - p * 4), word(op, 9));
}

@inline
function packTokens(op: usize, first: usize, count: usize, to: usize): void {
  const k = word(op, 6);
  const at = to + packedOffset(first, k);
  packPanel(at, word(op, 2), word(op, 3), word(op, 4), first, count, k, word(op, 7), real(op, 8), word(op, 11));
}

/**
 * One product. Words 2–9 as for `pack` (9 is the packed input, or 0: every thread packs for itself, into its
 * scratch); 10 weights, 11 dtype, 12 panels, 13 results per token, 14 bias (padded like the panels, or 0),
 * 15 output, 16 output stride, 17 epilogue, 18 scratch, 19 scratch bytes per thread, 20 floats of scratch for
 * packing, 21 panels per claim.
 */
export function linear(op: usize, thread: i32): void {
  const tokens = word(op, 5), k = word(op, 6), panels = word(op, 12), group = word(op, 21);
  const scratch: usize = word(op, 18) + thread * word(op, 19);
  let packed: usize = word(op, 9);
  let ready = packed != 0;
  const sums = scratch + word(op, 20) * 4;
  for (let p = claim(op, group); p < panels; p = claim(op, group)) {
    if (!ready) {
      packed = scratch;
      for (let t: usize = 0; t < tokens; t += 4) packTokens(op, t, min(4, tokens - t), packed);
      ready = true;
    }
    const end = min(panels, p + group);
    for (; p < end; p++) {
      panelProduct(packed, tokens, k, word(op, 10), word(op, 11), p, word(op, 14), sums);
      epilogue(op, p, sums, word(op, 15), tokens);
    }
  }
}

/** sums[t, 0 … 31] = bias + Σ_k x[t, k] · W[panel · 32 + …, k] for packed x. */
export function panelProduct(
  packed: usize,
  tokens: usize,
  k: usize,
  weights: usize,
  dtype: usize,
  panel: usize,
  bias: usize,
  sums: usize,
): void {
  const line: usize = dtype <= f16 ? 64 : 128;
  const w = weights + panel * (dtype == q8 ? panelBytesQ8(k) : k * line);
  const padded = (tokens & 3) == 3 ? tokens + 1 : tokens;
  for (let t: usize = 0; t < padded; t++) {
    const row = sums + t * 128;
    if (bias) for (let i: usize = 0; i < 128; i += 16) v128.store(row + i, v128.load(bias + panel * 128 + i));
    else clear(row, 128);
  }
  if (dtype == q8) return productQ8(packed, padded, k, w, sums);
  if (tokens == 1) return wideProduct(packed, w, dtype, sums, k);
  const whole = padded & ~3, rest = padded & 3;
  for (let k0: usize = 0; k0 < k; k0 += stripBytes / line) {
    const n = min(stripBytes / line, k - k0), b = w + k0 * line;
    for (let t: usize = 0; t < whole; t += 4) {
      stripProduct(packed + packedOffset(t, k) + k0 * 16, b, line, dtype, sums + t * 128, n);
    }
    const a = packed + packedOffset(whole, k) + k0 * rest * 4, c = sums + whole * 128;
    if (rest == 2) pairProduct(a, b, line, dtype, c, n);
    else if (rest == 1) wideProduct(a, b, dtype, c, n);
  }
}

/** Columns that one pass takes before the next begins, so that a line of weights is met again in the first cache. */
const runQ8: usize = 128;

/** The same for eight-bit weights and one, two or a multiple of four tokens, and up to two behind those. */
function productQ8(packed: usize, tokens: usize, k: usize, w: usize, sums: usize): void {
  const whole = tokens & ~3, rest = tokens & 3;
  for (let t: usize = 0; t < whole; t += 4) {
    let a = packed + packedOffset(t, k), b = w;
    const c = sums + t * 128;
    for (let k0: usize = 0; k0 < k; k0 += runQ8) {
      const n = min(runQ8, k - k0);
      for (let row: usize = 0; row < 32; row += 8) tile4Q8(a, b, row, c, n);
      a += tokenBytesQ8(n) * 4, b += panelBytesQ8(n);
    }
  }
  let a = packed + packedOffset(whole, k), b = w;
  const c = sums + whole * 128;
  if (rest == 1) tile1x32Q8(a, b, c, k);
  if (rest < 2) return;
  for (let k0: usize = 0; k0 < k; k0 += runQ8) {
    const n = min(runQ8, k - k0);
    for (let row: usize = 0; row < 32; row += 16) tile2x16Q8(a, b, row, c, n);
    a += tokenBytesQ8(n) * 2, b += panelBytesQ8(n);
  }
}

/** A strip of a panel stays in the second-level cache while the tokens pass over it, a block of it in the first. */
const stripBytes: usize = 262144;
const blockBytes: usize = 4096;

/** Four tokens times a strip: four passes over each block, so that reading ahead keeps up with the products. */
function stripProduct(a: usize, b: usize, line: usize, dtype: usize, c: usize, k: usize): void {
  const block = blockBytes / line;
  for (let k0: usize = 0; k0 < k; k0 += block, a += block * 16, b += block * line) {
    const n = min(block, k - k0);
    for (let s: usize = 0; s < 4; s++) {
      if (dtype == bf16) tile4Bf16(a, b + s * 16, 64, c + s * 32, 128, n);
      else if (dtype == f16) tile4F16(a, b + s * 16, 64, c + s * 32, 128, n);
      else tile4F32(a, b + s * 32, 128, c + s * 32, 128, n);
    }
  }
}

/** Two tokens times a strip: two passes over each block. */
function pairProduct(a: usize, b: usize, line: usize, dtype: usize, c: usize, k: usize): void {
  const block = blockBytes / line;
  for (let k0: usize = 0; k0 < k; k0 += block, a += block * 8, b += block * line) {
    const n = min(block, k - k0);
    for (let h: usize = 0; h < 2; h++) {
      if (dtype == bf16) tile2x16Bf16(a, b + h * 32, c + h * 64, n);
      else if (dtype == f16) tile2x16F16(a, b + h * 32, c + h * 64, n);
      else tile2x16F32(a, b + h * 64, c + h * 64, n);
    }
  }
}

function wideProduct(a: usize, b: usize, dtype: usize, c: usize, n: usize): void {
  if (dtype == bf16) tile1x32Bf16(a, b, c, n);
  else if (dtype == f16) tile1x32F16(a, b, c, n);
  else tile1x32F32(a, b, c, n);
}

/** Brings a panel's sums to the output: words 13, 16 and 17 of the operation. */
export function epilogue(op: usize, panel: usize, sums: usize, output: usize, tokens: usize): void {
  const results = word(op, 13), stride = word(op, 16), kind = word(op, 17);
  const width: usize = kind <= addResult ? 32 : 16;
  const first = panel * width, count = min(width, results - first), vectors = count & ~3;
  for (let t: usize = 0; t < tokens; t++) {
    const row = sums + t * 128, y = output + stride * t + first * 4;
    if (kind > addResult) {
      for (let i: usize = 0; i < 64; i += 16) {
        v128.store(row + i, siluMul(v128.load(row + i), v128.load(row + i, 64)));
      }
    }
    if (kind == addResult) {
      for (let i: usize = 0; i < count * 4; i += 4) {
        store<f32>(row + i, load<f32>(row + i) + load<f32>(y + i));
      }
    }
    for (let i: usize = 0; i < vectors * 4; i += 16) v128.store(y + i, v128.load(row + i));
    for (let i: usize = vectors * 4; i < count * 4; i += 4) store<f32>(y + i, load<f32>(row + i));
  }
}
