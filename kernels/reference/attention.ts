// Rotary positions, rounding of the cache, and causal attention in float64.

import { softCapped } from "./linear.ts";

/**
 * Rotates one head in place: pairs (x[i], x[i + half]) turn by the angle of position and i (Su et al. 2021,
 * arXiv 2104.09864, in the "NeoX" order).
 */
export function rotate(head: Float64Array, cosine: Float32Array, sine: Float32Array, position: number): void {
  const half = head.length / 2;
  for (let i = 0; i < half; i++) {
    const c = cosine[position * half + i]!, s = sine[position * half + i]!;
    const a = head[i]!, b = head[i + half]!;
    head[i] = a * c - b * s;
    head[i + half] = b * c + a * s;
  }
}

/** Keys or values of a token as eight bits hold them: integers to ± 127 in each head, of its largest number. */
export function roundHeads(all: Float64Array, headDim: number): Float64Array {
  const rounded = new Float64Array(all.length);
  for (let first = 0; first < all.length; first += headDim) {
    const head = all.subarray(first, first + headDim), step = Math.max(...head.map(Math.abs)) / 127;
    rounded.set(head.map((x) => step === 0 ? x : Math.round(x / step) * step), first);
  }
  return rounded;
}

/**
 * One query head over keys and values of earlier positions (Vaswani et al. 2017): softmax(scale · q·k) v over
 * positions first … last. `sink` is a further score without a value.
 */
export function attend(
  query: Float64Array,
  keyAt: (position: number) => Float64Array,
  valueAt: (position: number) => Float64Array,
  first: number,
  last: number,
  scale: number,
  softCap: number | null = null,
  sink = -Infinity,
): Float64Array {
  const scores: number[] = [];
  for (let p = first; p <= last; p++) {
    const key = keyAt(p);
    let dot = 0;
    for (let i = 0; i < query.length; i++) dot += query[i]! * key[i]!;
    scores.push(softCapped(dot * scale, softCap));
  }
  let max = sink;
  for (const s of scores) max = s > max || Number.isNaN(s) ? s : max;
  let total = Math.exp(sink - max);
  const output = new Float64Array(query.length);
  for (let p = first; p <= last; p++) {
    const weight = Math.exp(scores[p - first]! - max);
    total += weight;
    const value = valueAt(p);
    for (let i = 0; i < output.length; i++) output[i]! += weight * value[i]!;
  }
  return output.map((v) => v / total);
}
