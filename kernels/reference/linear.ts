// Norm, product and feed-forward in float64: what the fused kernels must compute.

/** x / sqrt(mean(x²) + epsilon) · weight (Zhang & Sennrich 2019, arXiv 1910.07467). */
export function rmsNorm(x: Float64Array, weight: Float64Array, epsilon: number): Float64Array {
  let sum = 0;
  for (const v of x) sum += v * v;
  const scale = 1 / Math.sqrt(sum / x.length + epsilon);
  return x.map((v, i) => v * scale * weight[i]!);
}

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

/** silu(first half) · second half, silu(v) = v / (1 + e^−v) (Shazeer 2020, arXiv 2002.05202). */
export function siluMul(y: Float64Array): Float64Array {
  const half = y.length / 2;
  return y.subarray(0, half).map((g, i) => g / (1 + Math.exp(-g)) * y[half + i]!);
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
