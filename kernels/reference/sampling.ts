// Sampling in float64: penalties and bias, mask, temperature, top-k, top-p, min-p, draw.
//
// Every filter keeps a set of the form {logit ≥ threshold}, so ties are kept together and no sort order matters.

import { allows, type SampledRow } from "../sampling.ts";
import { gumbel, hash } from "./random.ts";

/** Logits after penalties for what stands in `history` (positions < promptLength are prompt), bias and mask. */
export function penalize(
  logits: Float64Array,
  row: SampledRow,
  history: Uint32Array,
): Float64Array {
  const out = logits.slice();
  const counts = new Map<number, number>();
  history.forEach((token, position) => {
    counts.set(token, (counts.get(token) ?? 0) + (position >= row.promptLength ? 1 : 0));
  });
  for (const [token, count] of counts) {
    const value = out[token];
    if (value === undefined) continue;
    const repeated = value > 0 ? value / row.repetitionPenalty : value * row.repetitionPenalty;
    out[token] = repeated - row.frequencyPenalty * count - (count > 0 ? row.presencePenalty : 0);
  }
  for (const [token, value] of row.bias) out[token]! += value;
  const { mask } = row;
  if (mask) out.forEach((_, token) => allows(mask, token) || (out[token] = -Infinity));
  return out;
}

/** The smallest logit (after temperature) that top-k, top-p and min-p let through. */
export function threshold(scaled: Float64Array, row: SampledRow): number {
  const sorted = scaled.slice().sort().reverse();
  let limit = -Infinity;
  if (row.topK > 0 && row.topK < sorted.length) limit = sorted[row.topK - 1]!;
  const kept = sorted.filter((v) => v >= limit);
  const max = sorted[0]!;
  if (row.topP < 1) {
    const exps = kept.map((v) => Math.exp(v - max));
    const goal = row.topP * exps.reduce((a, b) => a + b, 0);
    let sum = 0;
    for (let i = 0; i < kept.length; i++) {
      sum += exps[i]!;
      limit = kept[i]!;
      if (sum >= goal) break;
    }
  }
  if (row.minP > 0) limit = Math.max(limit, max + Math.log(row.minP));
  return limit;
}

/** The token drawn at `position` (where it will stand) from logits after penalties; lowest id on a tie. */
export function draw(logits: Float64Array, row: SampledRow, position: number): number {
  let best = 0, bestValue = -Infinity;
  if (row.temperature === 0) {
    logits.forEach((value, token) => {
      if (value > bestValue) [best, bestValue] = [token, value];
    });
    return best;
  }
  const scaled = logits.map((v) => v / row.temperature);
  const limit = threshold(scaled, row);
  scaled.forEach((value, token) => {
    if (value < limit || value === -Infinity) return;
    const noisy = value + gumbel(hash(row.seedLow, row.seedHigh, position, token));
    if (noisy > bestValue) [best, bestValue] = [token, noisy];
  });
  return best;
}

/** Natural log-probabilities of all tokens. */
export function logSoftmax(logits: Float64Array): Float64Array {
  let max = -Infinity;
  for (const v of logits) if (v > max) max = v;
  let total = 0;
  for (const v of logits) total += Math.exp(v - max);
  const shift = max + Math.log(total);
  return logits.map((v) => v - shift);
}

/** Ids of the n largest values, largest first, lowest id on a tie. */
export function largest(values: Float64Array, n: number): number[] {
  return Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b).slice(0, n);
}
