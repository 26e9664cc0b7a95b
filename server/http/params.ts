// From request fields to complete sampling parameters. A field counts if the client gave it, else the model's own
// generation defaults, else the engine's.

import type { ModelInfo } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import { samplerOf } from "../../engine/sampler_fields.ts";
import { ApiError, invalid } from "./errors.ts";
import { httpLimits } from "./limits.ts";

/** When a request is computed. */
export interface SchedulingFields {
  /** Lower comes first, as in vLLM. */
  readonly priority?: number | null | undefined;
  /** OpenAI's word for the same, where the number is missing. */
  readonly service_tier?: string | null | undefined;
}

const tiers: Readonly<Record<string, number>> = { priority: -1, flex: 1 };

/** The priority that a request asks for. */
export function requestPriority({ priority, service_tier }: SchedulingFields): number {
  return priority ?? tiers[service_tier ?? ""] ?? 0;
}

/** What every API family has in common, under OpenAI's names; those of `samplerFields` come on top. */
export interface SamplingFields extends SchedulingFields {
  /** Token ids, in decimal, to biases. */
  readonly logit_bias?: Readonly<Record<string, number>> | null | undefined;
  /** One string or several. */
  readonly stop?: string | readonly string[] | null | undefined;
  /** Tokens that end the output. */
  readonly stop_token_ids?: readonly number[] | null | undefined;
  /** Go on after the model's ends of text. */
  readonly ignore_eos?: boolean | null | undefined;
  /** Leave special tokens out of the text. */
  readonly skip_special_tokens?: boolean | null | undefined;
}

/** What the families name differently, already under the engine's names; undefined means not given. */
export interface LengthFields {
  /** Null means what is left of the context. */
  readonly maxTokens: number | null;
  /** No end before so many tokens. */
  readonly minTokens: number;
  /** Null draws one. */
  readonly seed: number | null;
  /** Null: none; n: of each token and its n best alternatives. */
  readonly logprobs: number | null;
  /** The same for the prompt. */
  readonly promptLogprobs?: number | null;
  /** First prompt position whose log-probability is wanted. */
  readonly promptLogprobsStart?: number;
}

/**
 * Complete parameters: the request's over the model's recommendations over the defaults.
 * @throws {ApiError} 400 if fields contradict each other or the model.
 */
export function samplingParams(
  fields: SamplingFields,
  lengths: LengthFields,
  model: ModelInfo,
  grammar: SamplingParams["grammar"] = null,
): SamplingParams {
  const base = { ...defaultSamplingParams, ...model.generationDefaults };
  const { maxTokens, minTokens } = lengths;
  if (maxTokens !== null && maxTokens > model.contextLength) {
    throw invalid(
      "max_tokens",
      `max_tokens is ${maxTokens}, but the context is ${model.contextLength} tokens long`,
      "context_length_exceeded",
    );
  }
  if (maxTokens !== null && minTokens > maxTokens) {
    throw invalid("min_tokens", `min_tokens (${minTokens}) is more than max_tokens (${maxTokens})`);
  }
  const stop = typeof fields.stop === "string" ? [fields.stop] : fields.stop ?? base.stop;
  if (stop.length > 0) requireTokenizer(model, "stop", "stop strings need");
  return {
    maxTokens,
    minTokens,
    ...samplerOf({ ...fields }, model.generationDefaults),
    logitBias: Object.entries(fields.logit_bias ?? {})
      .map(([token, bias]) => [requireToken(Number(token), "logit_bias", model), bias] as const),
    seed: lengths.seed === null ? base.seed : normalSeed(lengths.seed),
    stop,
    stopTokenIds: (fields.stop_token_ids ?? base.stopTokenIds)
      .map((token) => requireToken(token, "stop_token_ids", model)),
    ignoreEos: fields.ignore_eos ?? base.ignoreEos,
    grammar,
    skipSpecialTokens: fields.skip_special_tokens ?? base.skipSpecialTokens,
    logprobs: lengths.logprobs,
    promptLogprobs: lengths.promptLogprobs ?? null,
    promptLogprobsStart: lengths.promptLogprobsStart ?? 0,
    pooling: null,
    priority: requestPriority(fields),
  };
}

/** Choices of one request differ although the request has one seed: choice i draws with seed + i. */
export function choiceParams(params: SamplingParams, choice: number): SamplingParams {
  if (choice === 0 || params.seed === null) return params;
  return { ...params, seed: (params.seed + choice) % Number.MAX_SAFE_INTEGER };
}

/** Seeds are 53-bit and not negative inside; negative ones map to the upper half. */
function normalSeed(seed: number): number {
  return seed < 0 ? seed + Number.MAX_SAFE_INTEGER : seed;
}

/**
 * A token id that the model has.
 * @throws {ApiError} 400 unless the id is in the vocabulary.
 */
export function requireToken(token: number, param: string, model: ModelInfo): number {
  if (token < model.config.vocabSize) return token;
  throw invalid(param, `${param}: token ${token} is not in the vocabulary of ${model.config.vocabSize}`);
}

/**
 * Refuses what cannot be done without a tokenizer.
 * @param what The words before "a tokenizer", for example "stop strings need".
 * @param instead What to do, behind the sentence.
 * @throws {ApiError} 400 where the server was started without one.
 */
export function requireTokenizer(model: ModelInfo, param: string, what: string, instead = ""): void {
  if (model.hasTokenizer) return;
  const message = `${what} a tokenizer, and the server was started without one${instead}`;
  throw invalid(param, message, "no_tokenizer");
}

/** Token ids of a prompt. @throws {ApiError} 400 unless all are in the vocabulary. */
export function promptTokens(ids: readonly number[], param: string, model: ModelInfo): Uint32Array {
  for (const id of ids) requireToken(id, param, model);
  return Uint32Array.from(ids);
}

/** Whether a prompt is one list of ids, rather than a list of prompts. */
export function isFlat(
  prompt: readonly (string | number | readonly number[])[],
): prompt is readonly number[] {
  return typeof prompt[0] === "number";
}

/**
 * Refuses names that are not served.
 * @throws {ApiError} 404 unless `model` is missing or names the served model.
 */
export function requireModel(name: string | null | undefined, served: readonly string[]): void {
  if (name === null || name === undefined || served.includes(name)) return;
  throw new ApiError(404, `the model ${JSON.stringify(name)} is not served here; ${served[0]} is`, {
    param: "model",
    code: "model_not_found",
  });
}

/** OpenAI refuses `stream_options` without a stream: the client expects something it will not get. */
export function requireStreaming(
  request: { readonly stream?: boolean | null | undefined; readonly stream_options?: unknown },
): void {
  if (request.stream_options && request.stream !== true) {
    throw new ApiError(400, "stream_options needs stream: true", { param: "stream_options" });
  }
}

/**
 * Refuses more generations than a request may have.
 * @throws {ApiError} 400 for more generations than one request may start.
 */
export function requireFewEnough(prompts: number, choices: number): void {
  if (prompts * choices <= httpLimits.generations) return;
  throw invalid(
    "n",
    `${prompts} prompts with n = ${choices} are more than ${httpLimits.generations} generations in one request`,
  );
}
