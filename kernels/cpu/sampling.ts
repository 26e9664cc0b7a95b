// Sampling one row of logits: penalties and bias, temperature, top-k, top-p, min-p, draw; and log-probabilities.
//
// The meaning is `kernels/reference/sampling.ts`, in float64. 150,000 logits are too many for that, so SIMD passes
// over float32 (`assembly/scan.ts`) list the few candidates that can matter, with a margin above the passes'
// error, and the decision is made among those in float64. The draw is the Gumbel-max trick, so it too is an
// argmax. Logits that penalties change are kept exactly, beside their float32 value in memory.

import { gumbel, hash, hashKey } from "../reference/random.ts";
import { allows, type SampledRow } from "../sampling.ts";
import type { Bank } from "./bank.ts";

/** Where a step's logits are, in one bank. */
export interface Logits {
  /** Of the head. */
  readonly bank: Bank;
  /** Of this rank's logits, [samples] rows of `stride` bytes. */
  readonly address: number;
  /** Bytes from row to row. */
  readonly stride: number;
  /** Two scratch buffers of a row each: numbers, indices. */
  readonly scratch: number;
  /** The second of the two. */
  readonly indices: number;
}

/** The model's own distribution, as far as it is reported. */
export interface Distribution {
  /** log Σ e^logit */
  readonly logTotal: number;
  /** Tokens, most likely first. */
  readonly top: readonly number[];
  /** Parallel to `top`. */
  readonly topLogprobs: readonly number[];
}

/** Relative error of a float32 rounding, doubled. */
const rounding = 2 ** -22;
/** Above the error of the float32 noise. */
const noiseMargin = 1e-3;

/** Candidates and the smallest (scaled) logit let through; null when every token is. */
interface Filter {
  readonly limit: number;
  /** All tokens at or above the limit, if they have been listed; ascending. */
  readonly tokens: Uint32Array | null;
}

/** Row `s` of a step's logits. */
export class LogitRow {
  readonly #logits: Logits;
  readonly #address: number;
  readonly #count: number;
  readonly #values: Float32Array;
  /** Logits before and after penalties and bias, of the tokens that these touch. */
  readonly #raw = new Map<number, number>();
  readonly #exact = new Map<number, number>();

  /** Row `s`, of `count` logits. */
  constructor(logits: Logits, s: number, count: number) {
    this.#logits = logits;
    this.#address = logits.address + s * logits.stride;
    this.#count = count;
    this.#values = logits.bank.floats.subarray(this.#address / 4, this.#address / 4 + count);
  }

  /** The model's logit of a token. */
  rawLogit(token: number): number {
    return this.#raw.get(token) ?? this.#values[token]!;
  }

  /** Of the unpenalized logits, with the n most likely tokens (lowest id first among equals). */
  distribution(n: number): Distribution {
    const { exports } = this.#logits.bank;
    const max = this.#values[exports.argmax(this.#address, this.#count)]!;
    const logTotal = max + Math.log(exports.expSum(this.#address, this.#count, max, 1));
    if (n === 0) return { logTotal, top: [], topLogprobs: [] };
    const candidates = this.#atLeast(Math.min(n, this.#count), max);
    const top = [...candidates].sort((a, b) => this.#values[b]! - this.#values[a]! || a - b).slice(0, n);
    return { logTotal, top, topLogprobs: top.map((token) => this.#values[token]! - logTotal) };
  }

  /** Applies penalties for what stands in `history`, the bias and the mask. */
  penalize(row: SampledRow, history: Uint32Array): void {
    if (row.presencePenalty !== 0 || row.frequencyPenalty !== 0 || row.repetitionPenalty !== 1) {
      const counts = new Map<number, number>();
      history.forEach((token, position) => {
        counts.set(token, (counts.get(token) ?? 0) + (position >= row.promptLength ? 1 : 0));
      });
      for (const [token, count] of counts) {
        const value = this.#values[token];
        if (value === undefined) continue;
        const repeated = value > 0 ? value / row.repetitionPenalty : value * row.repetitionPenalty;
        const presence = count > 0 ? row.presencePenalty : 0;
        this.#change(token, repeated - row.frequencyPenalty * count - presence);
      }
    }
    for (const [token, value] of row.bias) this.#change(token, this.#logit(token) + value);
    if (row.mask) this.#forbid(row.mask);
  }

  /** The token drawn for `position` (where it will stand); lowest id on a tie. */
  draw(row: SampledRow, position: number): number {
    if (row.temperature === 0) return this.#greedy();
    const filter = this.#filter(row);
    if (filter.tokens !== null) return this.#drawAmong(filter.tokens, filter.limit, row, position) ?? 0;
    return this.#drawFromAll(filter.limit, row, position);
  }

  #logit(token: number): number {
    return this.#exact.get(token) ?? this.#values[token]!;
  }

  #change(token: number, value: number): void {
    if (!this.#raw.has(token)) this.#raw.set(token, this.#values[token]!);
    this.#exact.set(token, value);
    this.#values[token] = value;
  }

  /** Leaves only what the mask allows. A forbidden token is never drawn, so its own logit is not asked for again. */
  #forbid(mask: Uint32Array): void {
    const values = this.#values;
    for (let word = 0; word < mask.length; word++) {
      const first = word * 32, bits = mask[word]!;
      if (bits === 0) values.fill(-Infinity, first, first + 32);
      else if (bits !== 0xffffffff) {
        const end = Math.min(first + 32, values.length);
        for (let token = first; token < end; token++) if (!allows(mask, token)) values[token] = -Infinity;
      }
    }
    for (const token of this.#exact.keys()) if (!allows(mask, token)) this.#exact.set(token, -Infinity);
  }

  #greedy(): number {
    const first = this.#logits.bank.exports.argmax(this.#address, this.#count);
    const max = this.#values[first]!;
    if (this.#exact.size === 0 || max === -Infinity) return first;
    let best = 0, bestValue = -Infinity;
    for (const token of this.#collect(max - Math.abs(max) * rounding)) {
      const value = this.#logit(token);
      if (value > bestValue) [best, bestValue] = [token, value];
    }
    return best;
  }

  /** What top-k, top-p and min-p let through, of logits divided by the temperature. */
  #filter(row: SampledRow): Filter {
    const { exports } = this.#logits.bank;
    const first = exports.argmax(this.#address, this.#count);
    if (this.#values[first] === -Infinity) return { limit: -Infinity, tokens: new Uint32Array(0) };
    const scaled = (token: number) => this.#logit(token) / row.temperature;
    let limit = -Infinity, tokens: Uint32Array | null = null;
    const top = this.#values[first]!;
    let max = scaled(first);
    if (row.topK > 0 && row.topK < this.#count) {
      tokens = this.#atLeast(row.topK, top);
      const sorted = Float64Array.from(tokens, scaled).sort().reverse();
      max = sorted[0]!;
      limit = sorted[row.topK - 1]!;
    }
    if (row.topP < 1) {
      const all = tokens ?? this.#nucleus(row, top);
      const kept = Float64Array.from(all, scaled).filter((v) => v >= limit).sort().reverse();
      max = kept[0]!;
      const exps = kept.map((v) => Math.exp(v - max));
      const total = tokens === null
        ? exports.expSum(this.#address, this.#count, top, 1 / row.temperature)
        : exps.reduce((a, b) => a + b, 0);
      let sum = 0;
      for (let i = 0; i < kept.length; i++) {
        sum += exps[i]!;
        limit = kept[i]!;
        if (sum >= row.topP * total) break;
      }
      tokens = all;
    }
    if (row.minP > 0) limit = Math.max(limit, max + Math.log(row.minP));
    return { limit, tokens };
  }

  /** Tokens that have at least `topP` of the probability, and all that are at least as likely. */
  #nucleus(row: SampledRow, top: number): Uint32Array {
    const { exports } = this.#logits.bank;
    const total = exports.expSum(this.#address, this.#count, top, 1 / row.temperature);
    for (let depth = 4;; depth *= 2) {
      const tokens = this.#collect(top - depth * row.temperature);
      if (tokens.length === this.#count || depth > 1000) return this.#collect(-Infinity);
      let sum = 0;
      for (const token of tokens) sum += Math.exp((this.#values[token]! - top) / row.temperature);
      if (sum >= row.topP * total * (1 + 1e-5)) return tokens;
    }
  }

  /** At least n tokens: the n likeliest, all that tie with them, perhaps more. `max` is the largest logit. */
  #atLeast(n: number, max: number): Uint32Array {
    const { exports } = this.#logits.bank;
    for (let depth = 2; depth < 1e4; depth *= 2) {
      const limit = max - depth;
      if (exports.collect(this.#address, this.#count, limit, 0, 0) >= n) {
        return this.#collect(limit - Math.abs(limit) * rounding);
      }
    }
    return this.#collect(-Infinity);
  }

  /** Tokens with a float32 logit of at least `limit`, ascending. */
  #collect(limit: number): Uint32Array {
    return this.#list(this.#address, limit);
  }

  #list(address: number, limit: number): Uint32Array {
    const { bank, indices } = this.#logits;
    const found = bank.exports.collect(address, this.#count, limit, indices, this.#count);
    return bank.words.slice(indices / 4, indices / 4 + found);
  }

  /** The exact draw among listed tokens; null when none passes. */
  #drawAmong(tokens: Uint32Array, limit: number, row: SampledRow, position: number): number | null {
    let best: number | null = null, bestValue = -Infinity;
    for (const token of tokens) {
      const value = this.#logit(token) / row.temperature;
      if (value < limit || value === -Infinity) continue;
      const noisy = value + gumbel(hash(row.seedLow, row.seedHigh, position, token));
      if (noisy > bestValue) [best, bestValue] = [token, noisy];
    }
    return best;
  }

  /** Noise on all logits in float32, then the exact draw among those that come near the maximum. */
  #drawFromAll(limit: number, row: SampledRow, position: number): number {
    const { bank, scratch } = this.#logits;
    const raw = limit * row.temperature;
    const key = hashKey(row.seedLow, row.seedHigh, position);
    const best = bank.exports.noisyMaximum(
      this.#address,
      this.#count,
      1 / row.temperature,
      raw - Math.abs(raw) * rounding,
      key,
      scratch,
    );
    const margin = noiseMargin + Math.abs(best) * 4 * rounding;
    const near = this.#list(scratch, best - margin);
    const drawn = this.#drawAmong(near, limit, row, position);
    // Only a rounded limit can leave nothing: then every token is looked at.
    return drawn ?? this.#drawAmong(this.#collect(-Infinity), limit, row, position) ?? 0;
  }
}
