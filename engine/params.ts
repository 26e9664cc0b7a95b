// What a caller asks of one generation, and how it ends. Checked at the edge (CLI, HTTP, `Engine.submit`), trusted
// inside.

import type { OutputGrammar } from "./grammar/serving/messages.ts";
import { plainSampler, type Sampler } from "../kernels/sampling.ts";

/** Sampling parameters of one request, complete: every field has a value. */
export interface SamplingParams extends Sampler {
  /** Most tokens to generate; null means what is left of the context. */
  readonly maxTokens: number | null;
  /** Ends of text and stop tokens are forbidden until this number of tokens is out. */
  readonly minTokens: number;
  /** Added to the logits of these tokens. */
  readonly logitBias: readonly (readonly [token: number, bias: number])[];
  /** Null draws one. The same seed gives the same text whatever runs beside it. */
  readonly seed: number | null;
  /** Stop strings, not part of the output. */
  readonly stop: readonly string[];
  /** Tokens that end the output, besides the model's own. */
  readonly stopTokenIds: readonly number[];
  /** Go on after the model's ends of text; not where a grammar ends. */
  readonly ignoreEos: boolean;
  /** What the output has to be; null allows everything. */
  readonly grammar: OutputGrammar | null;
  /** Leave special tokens out of the text. */
  readonly skipSpecialTokens: boolean;
  /** Null: none; n ≥ 0: of each output token and its n best alternatives. */
  readonly logprobs: number | null;
  /** The same for the prompt's tokens from `promptLogprobsStart` on. */
  readonly promptLogprobs: number | null;
  /** First prompt position whose log-probability is wanted. */
  readonly promptLogprobsStart: number;
  /** An embedding instead of a continuation: the last token's state after the last norm, or the mean of all tokens'. */
  readonly pooling: "last" | "mean" | null;
  /** Requests with a lower number are admitted first, within what fairness gives their client. */
  readonly priority: number;
}

/** Defaults where neither the caller nor the model's `generation_config.json` says otherwise. */
export const defaultSamplingParams: SamplingParams = {
  maxTokens: null,
  minTokens: 0,
  ...plainSampler,
  logitBias: [],
  seed: null,
  stop: [],
  stopTokenIds: [],
  ignoreEos: false,
  grammar: null,
  skipSpecialTokens: true,
  logprobs: null,
  promptLogprobs: null,
  promptLogprobsStart: 0,
  pooling: null,
  priority: 0,
};

/** Largest values accepted, so that one request cannot take the machine. */
export const limits = {
  stopStrings: 16,
  stopStringLength: 256,
  stopTokenIds: 256,
  logitBias: 1024,
  logprobs: 20,
} as const;

/** Why a request did not end normally. */
export type ErrorCode =
  | "invalid" // the request itself is wrong: 400
  | "too_long" // prompt longer than the context or the pool: 400
  | "queue_full" // 429
  | "unavailable" // not ready, draining, or a worker died: 503
  | "internal"; // 500

/** How a request ended. Every request gets exactly one. */
export type FinishReason =
  /** End of text or stop token (its id), or a stop string. */
  | { readonly type: "stop"; readonly matched: number | string }
  | { readonly type: "length" }
  | { readonly type: "abort" }
  | { readonly type: "error"; readonly code: ErrorCode; readonly message: string };

/** Log-probability of one token, with the best alternatives, most likely first. */
export interface TokenLogprob {
  /** The token. */
  readonly id: number;
  /** Natural logarithm, under the model's own distribution. */
  readonly logprob: number;
  /** The most likely tokens, most likely first. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}
