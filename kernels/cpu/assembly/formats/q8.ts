// Products with eight-bit weights: packing of both operands, and the micro-kernels for one, two and four tokens.
//
// Activations are quantised, too, per token and block of 32 columns, but to int16, whose error, a 65,534th of the
// block's largest, is of no account beside the weights'. Sums within a block are exact in int32; they are scaled by
// both scales and added to float32 sums in memory, block after block: the same operations in the same order for any
// number of tokens and in both builds. (The eight-bit dot product of relaxed SIMD wants activations of seven bits.)
//
// `i32x4.dot_i16x8_s` multiplies pairs of columns. To widen 16 weights in two instructions they are stored as
// number + 128, the rows 0–3 of eight in the lower bytes of 16-bit words and the rows 4–7 in the upper: a mask, and a
// shift. What 128 adds to a sum depends on the activations alone, so each block's sums begin with its negative.
//
// Weights: [panel of 32 rows][block of 32 columns]: scales (float16), then [column / 2][8 rows] [row & 3][column & 1]
// [row & 4]. Activations: [token panel][block]: scales (float32) of one, two or four tokens and their first sums, then
// [column / 2][tokens][2 columns]. What bounds it: memory for one token, multiplications for more.

import { Product } from "../../operations";
import { inputRow, normScale, scaled } from "../norm";

/** Columns that share a scale. */
const blockColumns: usize = 32;
/** Bytes of a block's scales in a weight panel. */
const scaleBytes: usize = 64;

/** 2¹¹² and the mask of lower bytes, in memory like the constants of `tile.ts`. */
const constants = memory.data<u32>(
  [
    0x77800000, 0x77800000, 0x77800000, 0x77800000,
    0x00ff00ff, 0x00ff00ff, 0x00ff00ff, 0x00ff00ff,
  ],
  16,
);

/** The tiles call it for a part of a panel too. */
@inline
export function panelBytes(k: usize): usize {
  return ((k + blockColumns - 1) / blockColumns) * scaleBytes + k * 32;
}

/** Bytes of one token of a token panel. */
@inline
function tokenBytes(k: usize): usize {
  return ((k + blockColumns - 1) / blockColumns) * 8 + k * 2;
}

/** Place of a row's first number behind a block's scales. */
@inline
function rowPlace(row: usize): usize {
  return ((row >> 3) << 4) + ((row & 3) << 2) + ((row >> 2) & 1);
}

export function writeRows(
  panel: usize,
  row: usize,
  count: usize,
  from: usize,
  stride: usize,
  columns: usize,
): void {
  for (const end = row + count; row < end; row++, from += stride) writeRow(panel, row, from, columns);
}

function writeRow(panel: usize, row: usize, from: usize, columns: usize): void {
  let scale = from + columns;
  for (const end = from + columns; from < end; scale += 2) {
    store<u16>(panel + row * 2, load<u16>(scale));
    panel += scaleBytes;
    let to = panel + rowPlace(row);
    const last = min(from + blockColumns, end);
    panel += (last - from) << 5;
    for (; from < last; from += 2, to += 64) {
      const pair = <u32> load<u16>(from) ^ 0x8080;
      store<u8>(to, pair);
      store<u8>(to, pair >> 8, 2);
    }
  }
}

export function readRow(panel: usize, row: usize, to: usize, columns: usize): void {
  for (const end = to + columns * 4; to < end;) {
    const scale = reinterpret<f32>(<u32> load<u16>(panel + row * 2) << 13) * <f32> 5.192296858534828e33;
    panel += scaleBytes;
    let from = panel + rowPlace(row);
    const last = min(to + blockColumns * 4, end);
    panel += (last - to) << 3;
    for (; to < last; to += 8, from += 64) {
      store<f32>(to, <f32> (<i32> load<u8>(from) - 128) * scale);
      store<f32>(to, <f32> (<i32> load<u8>(from, 2) - 128) * scale, 4);
    }
  }
}

export function packInput(to: usize, op: Product, first: usize, count: usize): void {
  const width: usize = count == 3 ? 4 : count;
  for (let t: usize = 0; t < width; t++) packToken(to, t, width, t < count ? inputRow(op, first + t) : 0, op);
}

/** Quantises one token into place `lane` of a token panel of `width` tokens; x = 0 fills it up with zeros. */
function packToken(to: usize, lane: usize, width: usize, x: usize, op: Product): void {
  const k = op.columns, line = width * 4;
  let norm = op.norm;
  const root = x ? normScale(op, x) : f32x4.splat(1);
  for (let k0: usize = 0; k0 < k; k0 += blockColumns) {
    const bytes = min(blockColumns, k - k0) * 4, header = to + lane * 4;
    let at = header + 2 * line;
    to += 2 * line + bytes / 2 * width;
    store<f32>(header, 0);
    store<i32>(header + line, 0);
    if (!x) {
      for (; at < to; at += line) store<u32>(at, 0);
      continue;
    }
    // Of a NaN everything becomes one.
    let most = f32x4.splat(0);
    for (let i: usize = 0; i < bytes; i += 16) most = f32x4.max(most, f32x4.abs(scaled(x + i, norm, i, root)));
    most = f32x4.max(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
    const largest = f32x4.extract_lane(f32x4.max(most, v128.shuffle<f32>(most, most, 1, 0, 3, 2)), 0);
    const inverse = f32x4.splat(<f32> 32767 / largest);
    let sum = i32x4.splat(0);
    for (let i: usize = 0; i < bytes; i += 16, at += 2 * line) {
      const q = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(scaled(x + i, norm, i, root), inverse)));
      const pairs = i16x8.narrow_i32x4_s(q, q);
      sum = i32x4.add(sum, i32x4.extend_low_i16x8_s(pairs));
      store<i32>(at, i32x4.extract_lane(pairs, 0));
      store<i32>(at + line, i32x4.extract_lane(pairs, 1));
    }
    sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
    store<f32>(header, largest / 32767);
    store<i32>(header + line, -128 * (i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1)));
    x += bytes;
    if (norm) norm += bytes;
  }
}

/** Scales of four rows: float16 without sign, exact. */
@inline
function scales4(at: usize): v128 {
  return f32x4.mul(i32x4.shl(v128.load16x4_u(at), 13), v128.load(constants));
}

@inline
function lowerMask(): v128 {
  return v128.load(constants + 16);
}

/** sum + pair of columns of a token, spread over all lanes, times the columns of four rows. */
@inline
function dot(pair: v128, w: v128, sum: v128): v128 {
  return i32x4.add(i32x4.dot_i16x8_s(pair, w), sum);
}

/** Adds a block's sums of four rows to float32 sums. */
@inline
function accumulate(c: usize, sum: v128, scale: v128): void {
  v128.store(c, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sum), scale), v128.load(c)));
}

/** One token times all 32 rows of a panel; a and b begin at a block, k columns follow. Two pairs of them a round. */
function tile1x32(a: usize, b: usize, c: usize, k: usize): void {
  const mask = lowerMask();
  for (let left = <isize> k; left > 0; left -= blockColumns) {
    const scale = v128.load32_splat(a), first = v128.load32_splat(a, 4), w = b;
    let r0 = first, r1 = first, r2 = first, r3 = first, r4 = first, r5 = first, r6 = first, r7 = first;
    a += 8, b += scaleBytes;
    for (const end = a + (min(<isize> blockColumns, left) << 1); a < end; a += 8, b += 128) {
      let v: v128, s = v128.load32_splat(a);
      v = v128.load(b);
      r0 = dot(s, v128.and(v, mask), r0), r1 = dot(s, i16x8.shr_u(v, 8), r1);
      v = v128.load(b, 16);
      r2 = dot(s, v128.and(v, mask), r2), r3 = dot(s, i16x8.shr_u(v, 8), r3);
      v = v128.load(b, 32);
      r4 = dot(s, v128.and(v, mask), r4), r5 = dot(s, i16x8.shr_u(v, 8), r5);
      v = v128.load(b, 48);
      r6 = dot(s, v128.and(v, mask), r6), r7 = dot(s, i16x8.shr_u(v, 8), r7);
      s = v128.load32_splat(a, 4);
      v = v128.load(b, 64);
      r0 = dot(s, v128.and(v, mask), r0), r1 = dot(s, i16x8.shr_u(v, 8), r1);
      v = v128.load(b, 80);
      r2 = dot(s, v128.and(v, mask), r2), r3 = dot(s, i16x8.shr_u(v, 8), r3);
      v = v128.load(b, 96);
      r4 = dot(s, v128.and(v, mask), r4), r5 = dot(s, i16x8.shr_u(v, 8), r5);
      v = v128.load(b, 112);
      r6 = dot(s, v128.and(v, mask), r6), r7 = dot(s, i16x8.shr_u(v, 8), r7);
    }
    accumulate(c, r0, f32x4.mul(scale, scales4(w)));
    accumulate(c + 16, r1, f32x4.mul(scale, scales4(w + 8)));
    accumulate(c + 32, r2, f32x4.mul(scale, scales4(w + 16)));
    accumulate(c + 48, r3, f32x4.mul(scale, scales4(w + 24)));
    accumulate(c + 64, r4, f32x4.mul(scale, scales4(w + 32)));
    accumulate(c + 80, r5, f32x4.mul(scale, scales4(w + 40)));
    accumulate(c + 96, r6, f32x4.mul(scale, scales4(w + 48)));
    accumulate(c + 112, r7, f32x4.mul(scale, scales4(w + 56)));
  }
}

/** Two tokens times 16 rows from row `row` of a panel on. */
function tile2x16(a: usize, b: usize, row: usize, c: usize, k: usize): void {
  const mask = lowerMask();
  c += row * 4;
  for (let left = <isize> k; left > 0; left -= blockColumns) {
    const scale0 = v128.load32_splat(a), scale1 = v128.load32_splat(a, 4);
    let r00 = v128.load32_splat(a, 8), r10 = v128.load32_splat(a, 12);
    let r01 = r00, r02 = r00, r03 = r00, r11 = r10, r12 = r10, r13 = r10;
    const n = min(<isize> blockColumns, left), w = b + row * 2, next = b + scaleBytes + n * 32;
    a += 16, b = w + scaleBytes;
    for (const end = a + (n << 2); a < end; a += 8, b += 64) {
      const s = v128.load32_splat(a), t = v128.load32_splat(a, 4);
      let v = v128.load(b), u = v128.and(v, mask);
      r00 = dot(s, u, r00), r10 = dot(t, u, r10);
      u = i16x8.shr_u(v, 8);
      r01 = dot(s, u, r01), r11 = dot(t, u, r11);
      v = v128.load(b, 16), u = v128.and(v, mask);
      r02 = dot(s, u, r02), r12 = dot(t, u, r12);
      u = i16x8.shr_u(v, 8);
      r03 = dot(s, u, r03), r13 = dot(t, u, r13);
    }
    b = next;
    let v = scales4(w);
    accumulate(c, r00, f32x4.mul(scale0, v)), accumulate(c + 128, r10, f32x4.mul(scale1, v));
    v = scales4(w + 8);
    accumulate(c + 16, r01, f32x4.mul(scale0, v)), accumulate(c + 144, r11, f32x4.mul(scale1, v));
    v = scales4(w + 16);
    accumulate(c + 32, r02, f32x4.mul(scale0, v)), accumulate(c + 160, r12, f32x4.mul(scale1, v));
    v = scales4(w + 24);
    accumulate(c + 48, r03, f32x4.mul(scale0, v)), accumulate(c + 176, r13, f32x4.mul(scale1, v));
  }
}

/** Four tokens times 8 rows from row `row` of a panel on. */
function tile4(a: usize, b: usize, row: usize, c: usize, k: usize): void {
  const mask = lowerMask();
  c += row * 4;
  for (let left = <isize> k; left > 0; left -= blockColumns) {
    let r00 = v128.load32_splat(a, 16), r10 = v128.load32_splat(a, 20);
    let r20 = v128.load32_splat(a, 24), r30 = v128.load32_splat(a, 28);
    let r01 = r00, r11 = r10, r21 = r20, r31 = r30;
    const scales = a, n = min(<isize> blockColumns, left), w = b + row * 2, next = b + scaleBytes + n * 32;
    a += 32, b = w + scaleBytes;
    for (const end = a + (n << 3); a < end; a += 16, b += 64) {
      let b1 = v128.load(b);
      const v = v128.load(a), b0 = v128.and(b1, mask);
      b1 = i16x8.shr_u(b1, 8);
      let s = v128.shuffle<i32>(v, v, 0, 0, 0, 0);
      r00 = dot(s, b0, r00), r01 = dot(s, b1, r01);
      s = v128.shuffle<i32>(v, v, 1, 1, 1, 1);
      r10 = dot(s, b0, r10), r11 = dot(s, b1, r11);
      s = v128.shuffle<i32>(v, v, 2, 2, 2, 2);
      r20 = dot(s, b0, r20), r21 = dot(s, b1, r21);
      s = v128.shuffle<i32>(v, v, 3, 3, 3, 3);
      r30 = dot(s, b0, r30), r31 = dot(s, b1, r31);
    }
    b = next;
    const w0 = scales4(w), w1 = scales4(w + 8);
    let s = v128.load32_splat(scales);
    accumulate(c, r00, f32x4.mul(s, w0)), accumulate(c + 16, r01, f32x4.mul(s, w1));
    s = v128.load32_splat(scales, 4);
    accumulate(c + 128, r10, f32x4.mul(s, w0)), accumulate(c + 144, r11, f32x4.mul(s, w1));
    s = v128.load32_splat(scales, 8);
    accumulate(c + 256, r20, f32x4.mul(s, w0)), accumulate(c + 272, r21, f32x4.mul(s, w1));
    s = v128.load32_splat(scales, 12);
    accumulate(c + 384, r30, f32x4.mul(s, w0)), accumulate(c + 400, r31, f32x4.mul(s, w1));
  }
}

/** Columns that one pass takes before the next begins, so that a line of weights is met again in the first cache. */
const runColumns: usize = 128;

export function product(packed: usize, tokens: usize, k: usize, weights: usize, sums: usize): void {
  for (let t: usize = 0; t < tokens; t += 4) {
    const width = min(4, tokens - t), c = sums + t * 128;
    let a = packed + t * k * 4, b = weights;
    if (width == 1) return tile1x32(a, b, c, k);
    for (let k0: usize = 0; k0 < k; k0 += runColumns) {
      const n = min(runColumns, k - k0);
      for (let row: usize = 0; row < 32; row += 32 / width) {
        if (width == 4) tile4(a, b, row, c, n);
        else tile2x16(a, b, row, c, n);
      }
      a += tokenBytes(n) * width, b += panelBytes(n);
    }
  }
}
