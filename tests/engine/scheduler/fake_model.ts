// A model made of hashes. The "key/value" of a position is a hash of all tokens up to it; the next token is a hash of
// that, of the position and of the sampling parameters. So one wrong token, position, page or parameter anywhere
// changes everything after it, and the oracle below says what a request must give whatever runs beside it.

import { isOnly } from "../../../engine/grammar/serving/only.ts";
import { allows } from "../../../kernels/sampling.ts";
import { fakeGrammar } from "./fake_grammar.ts";
import type { FinishReason, SamplingParams, TokenLogprob } from "../../../engine/params.ts";

/** Mixes numbers into a 32-bit hash (FNV-1a with a final avalanche). */
export function hash(...values: readonly number[]): number {
  let h = 0x811c9dc5;
  for (const value of values) h = Math.imul(h ^ (value | 0), 0x01000193) ^ (h >>> 15);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Key/value of a position, from the one before it (0 at the start). Never 0: that is an empty slot. */
export function keyValue(previous: number, token: number, position: number): number {
  return (hash(previous, token, position) | 1) >>> 0;
}

/** Sampling parameters of one draw, as the plan states them. */
export interface DrawParams {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  readonly promptLength: number;
  readonly seed: readonly number[];
  readonly bias: readonly (readonly [token: number, value: number])[];
  readonly mask?: Uint32Array;
}

const bits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;

/** The token drawn after a position with this key/value. */
export function draw(kv: number, position: number, params: DrawParams, vocabSize: number): number {
  const numbers = [
    params.temperature,
    params.topP,
    params.minP,
    params.presencePenalty,
    params.frequencyPenalty,
    params.repetitionPenalty,
    ...params.bias.filter(([, value]) => value !== -Infinity).flat(),
  ].map(bits);
  // As in a real model, nothing is drawn by chance at temperature 0.
  const seed = params.temperature === 0 ? [] : params.seed;
  const base = hash(kv, position, params.topK, params.promptLength, ...seed, ...numbers);
  const forbidden = new Set(params.bias.filter(([, value]) => value === -Infinity).map(([token]) => token));
  for (let attempt = 0;; attempt++) {
    const token = hash(base, attempt) % vocabSize;
    if (!forbidden.has(token) && (params.mask === undefined || allows(params.mask, token))) return token;
  }
}

/** Log-probability of a token after a position, and of its alternatives. Exact in float32. */
export function logprob(kv: number, token: number, top: number, vocabSize: number): TokenLogprob {
  const of = (id: number) => -(hash(kv, id) % 4096) / 64;
  const alternatives = Array.from({ length: top }, (_, i) => hash(kv, i, 7) % vocabSize);
  return { id: token, logprob: of(token), top: alternatives.map((id) => ({ id, logprob: of(id) })) };
}

/** What a request gives when it is alone in the world. */
export interface Expected {
  readonly tokens: readonly number[];
  readonly finish: FinishReason;
  readonly logprobs: readonly TokenLogprob[] | null;
  readonly promptLogprobs: readonly (TokenLogprob | null)[] | null;
  readonly embedding?: Float32Array;
  /** The finish comes behind the last token, not with it: from the grammar. */
  readonly late?: boolean;
}

/** What a position with this key/value is after the last norm. Sums of them are exact. */
export const hiddenState = (kv: number, position: number): number[] => [kv % 65536, position];

/** Computes a request token by token. */
export function oracle(
  prompt: Uint32Array,
  params: SamplingParams,
  maxNewTokens: number,
  eosIds: readonly number[],
  vocabSize: number,
): Expected {
  const { grammar } = params;
  const stops = [...params.stopTokenIds, ...(params.ignoreEos && grammar === null ? [] : eosIds)];
  const seed = params.seed ?? 0;
  const kvs: number[] = [];
  const push = (token: number) => kvs.push(keyValue(kvs.at(-1) ?? 0, token, kvs.length));
  prompt.forEach(push);
  if (params.pooling !== null) {
    const states = kvs.map(hiddenState).slice(params.pooling === "last" ? -1 : 0);
    const embedding = Float32Array.from(
      [0, 1],
      (i) => states.reduce((sum, state) => sum + state[i]!, 0) / states.length,
    );
    return { tokens: [], finish: { type: "length" }, logprobs: null, promptLogprobs: null, embedding };
  }
  let promptLogprobs: (TokenLogprob | null)[] | null = null;
  if (params.promptLogprobs !== null) {
    promptLogprobs = [];
    for (let i = params.promptLogprobsStart; i < prompt.length; i++) {
      promptLogprobs.push(
        i === 0 ? null : logprob(kvs[i - 1]!, prompt[i]!, params.promptLogprobs, vocabSize),
      );
    }
  }
  const tokens: number[] = [], logprobs: TokenLogprob[] = [];
  const result = () => ({ tokens, logprobs: params.logprobs === null ? null : logprobs, promptLogprobs });
  while (true) {
    const position = kvs.length - 1, kv = kvs[position]!;
    const allowed = grammar && fakeGrammar(grammar, tokens, vocabSize);
    if (allowed && allowed.type !== "mask") {
      const finish: FinishReason = allowed.type === "complete"
        ? { type: "stop", matched: eosIds[0] ?? 0 }
        : { type: "error", code: allowed.code, message: allowed.message };
      return { ...result(), finish, late: true };
    }
    const mask = allowed?.mask;
    const mayForbid = tokens.length < params.minTokens && !(mask && isOnly(mask, stops));
    const forbid = mayForbid ? [...new Set(stops)] : [];
    const drawParams: DrawParams = {
      ...params,
      promptLength: prompt.length,
      seed: [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0],
      bias: [...params.logitBias, ...forbid.map((id) => [id, -Infinity] as const)],
      ...(mask ? { mask } : {}),
    };
    const token = draw(kv, position, drawParams, vocabSize);
    tokens.push(token);
    if (params.logprobs !== null) logprobs.push(logprob(kv, token, params.logprobs, vocabSize));
    if (stops.includes(token)) return { ...result(), finish: { type: "stop", matched: token } };
    if (tokens.length === maxNewTokens) return { ...result(), finish: { type: "length" } };
    push(token);
  }
}
