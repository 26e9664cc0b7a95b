// Root-mean-square norm (Zhang & Sennrich 2019, arXiv 1910.07467), and the rows of a product's input with it.

import { Norm, Product } from "../operations";
import { claim } from "./program";
import { madd, sum4 } from "./vector";

/** Σ x² of `count` numbers, a multiple of 8. */
function sumOfSquares(x: usize, count: usize): f32 {
  let a = f32x4.splat(0), b = f32x4.splat(0);
  const end = x + count * 4;
  for (; x < end; x += 32) {
    const u = v128.load(x), v = v128.load(x, 16);
    a = madd(u, u, a), b = madd(v, v, b);
  }
  return sum4(f32x4.add(a, b));
}

/** 1 / sqrt(mean(x²) + epsilon) of `count` numbers, a multiple of 8. */
export function rmsScale(x: usize, count: usize, epsilon: f32): f32 {
  return 1 / sqrt<f32>(sumOfSquares(x, count) / <f32> count + epsilon);
}

/** A norm by itself; a unit is a token. */
export function norm(op: Norm): void {
  for (let t = claim(op, 1); t < op.tokens; t = claim(op, 1)) {
    const x = op.input + op.inputStride * t, y = op.output + op.outputStride * t;
    const scale = op.sums
      ? <f32> (1 / sqrt<f32>(load<f32>(op.sums + op.sumsStride * t) / <f32> op.count + op.epsilon))
      : rmsScale(x, op.columns, op.epsilon);
    const s = f32x4.splat(scale);
    for (let i: usize = 0; i < op.columns * 4; i += 16) {
      const v = f32x4.mul(f32x4.mul(v128.load(x + i), s), v128.load(op.norm + i));
      v128.store(y + i, op.add ? f32x4.add(v128.load(y + i), v) : v);
    }
  }
}

/** Sums of squares for a norm over several ranks; a unit is a token. */
export function squares(op: Norm): void {
  for (let t = claim(op, 1); t < op.tokens; t = claim(op, 1)) {
    store<f32>(op.output + op.outputStride * t, sumOfSquares(op.input + op.inputStride * t, op.columns));
  }
}

/** Address of row `index` of a product's input. */
@inline
export function inputRow(op: Product, index: usize): usize {
  return op.input + op.inputStride * (op.rows ? load<usize>(op.rows + index * 4) : index);
}

/** The factor of the row at x by the product's norm, in all lanes; 1 without one. */
@inline
export function normScale(op: Product, x: usize): v128 {
  return f32x4.splat(op.norm ? rmsScale(x, op.columns, op.epsilon) : 1);
}

/** Four numbers at x, times `scale` and the norm's weights at norm + offset if there is a norm. */
@inline
export function scaled(x: usize, norm: usize, offset: usize, scale: v128): v128 {
  if (!norm) return v128.load(x);
  return f32x4.mul(f32x4.mul(v128.load(x), scale), v128.load(norm + offset));
}
