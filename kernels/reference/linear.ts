// Norm, product and feed-forward in float64: what the fused kernels must compute.

import type { Gate } from "../ops.ts";

/**
 * x / sqrt(mean(x²) + epsilon) · weight (Zhang & Sennrich 2019, arXiv 1910.07467); `mean` where x is a part of what is
 * normalised.
 */
export function rmsNorm(
  x: Float64Array,
  weight: Float64Array,
  epsilon: number,
  mean = sumOfSquares(x) / x.length,
): Float64Array {
  const scale = 1 / Math.sqrt(mean + epsilon);
  return x.map((v, i) => v * scale * weight[i]!);
}

/** Σ x². */
export const sumOfSquares = (x: Float64Array): number => x.reduce((sum, v) => sum + v * v, 0);

/** y[n] = Σ_k weight[(firstRow + n), k] · x[k] + bias[n], for `rows` rows of a row-major matrix. */
export function product(
  x: Float64Array,
  weight: Float64Array,
  rows: number,
  bias: Float64Array | null,
  firstRow = 0,
): Float64Array {
  const columns = x.length;
  const y = new Float64Array(rows);
  for (let n = 0; n < rows; n++) {
    let sum = bias ? bias[n]! : 0;
    const base = (firstRow + n) * columns;
    for (let k = 0; k < columns; k++) sum += weight[base + k]! * x[k]!;
    y[n] = sum;
  }
  return y;
}

/** gate(first half, second half); see `Gate`. */
export function gateMul(y: Float64Array, { alpha, beta, limit, plus }: Gate): Float64Array {
  const half = y.length / 2;
  return y.subarray(0, half).map((gate, i) => {
    const g = Math.min(gate, limit), u = Math.max(-limit, Math.min(y[half + i]!, limit));
    return g / (1 + Math.exp(-(alpha * g + beta * g ** 3))) * (u + plus);
  });
}

/** cap · tanh(x / cap), or x. */
export function softCapped(x: number, cap: number | null | undefined): number {
  return cap == null ? x : cap * Math.tanh(x / cap);
}

/** The experts a token goes to and their weights: softmax over all, the k largest (lowest index on a tie). */
export function route(
  logits: Float64Array,
  expertsPerToken: number,
  renormalize: boolean,
): { expert: number; weight: number }[] {
  const max = Math.max(...logits);
  const exps = logits.map((v) => Math.exp(v - max));
  const total = exps.reduce((a, b) => a + b, 0);
  const order = Array.from(exps.keys()).sort((a, b) => exps[b]! - exps[a]! || a - b);
  const chosen = order.slice(0, expertsPerToken);
  const share = renormalize ? chosen.reduce((sum, e) => sum + exps[e]!, 0) : total;
  return chosen.map((expert) => ({ expert, weight: exps[expert]! / share }));
}
