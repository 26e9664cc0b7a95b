// Root-mean-square norm (Zhang & Sennrich 2019, arXiv 1910.07467), and the rows of a product's input with it.

import { Product } from "../operations";
import { madd, sum4 } from "./vector";

/** 1 / sqrt(mean(x²) + epsilon) of `count` numbers, a multiple of 8. */
export function rmsScale(x: usize, count: usize, epsilon: f32): f32 {
  let a = f32x4.splat(0), b = f32x4.splat(0);
  const end = x + count * 4;
  for (; x < end; x += 32) {
    const u = v128.load(x), v = v128.load(x, 16);
    a = madd(u, u, a), b = madd(v, v, b);
  }
  return 1 / sqrt<f32>(sum4(f32x4.add(a, b)) / <f32> count + epsilon);
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
