// The request fields that steer sampling, shared by chat and text completions: OpenAI's, and the extensions that
// clients of SGLang and vLLM send. Null means the same as a missing field everywhere.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { samplerFields } from "../../../engine/sampler_fields.ts";
import { httpLimits } from "../limits.ts";
import { sglangConstraints, vllmConstraints } from "./structured.ts";

/** A name or an id. */
export const nameSchema = z.string().max(httpLimits.nameLength);

/** One stop string or several. */
export const stopSchema = z.union([
  z.string().min(1).max(limits.stopStringLength),
  z.array(z.string().min(1).max(limits.stopStringLength)).max(limits.stopStrings),
]).nullish().describe("Ends the text; not part of the output.");

const mostTokenId = 2 ** 31 - 1;

/** A token id; whether the model has it is checked later. */
export const tokenIdSchema = z.int().min(0).max(mostTokenId);

/** A prompt of token ids. */
export const tokenIdsSchema = z.array(tokenIdSchema).min(1);

// Prompts are long and nearly always right: a loop says so a hundred times as fast as a check of each number. Only
// where it does not are they checked one by one, for the message.
const { run } = tokenIdsSchema._zod;
tokenIdsSchema._zod.run = (payload, context) => areTokenIds(payload.value) ? payload : run(payload, context);

function areTokenIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 &&
    value.every((id) => Number.isInteger(id) && id >= 0 && id <= mostTokenId);
}

/** What OpenAI's endpoints take for one or several prompts. */
export const promptsSchema = (most: number) =>
  z.union([
    z.string(),
    z.array(z.string()).min(1).max(most),
    tokenIdsSchema,
    z.array(tokenIdsSchema).min(1).max(most),
  ]).describe("A text, texts, token ids, or lists of token ids.");

/** Biases by token id. */
export const logitBiasSchema = z.record(z.string().regex(/^\d{1,10}$/), z.number().min(-100).max(100))
  .refine((bias) => Object.keys(bias).length <= limits.logitBias, `at most ${limits.logitBias} tokens`)
  .nullish().describe("Added to the logits of token ids.");

/** A field that would change the output if it were obeyed: refused rather than ignored. */
const unsupportedSwitch = z.literal(false, { error: "not supported" }).nullish();

/** Ranges of SGLang's native `sampling_params` as well. */
export const sharedSampling = {
  ...Object.fromEntries(samplerFields.map(({ jsonName, min, open, max, integer, help }) => {
    const number = integer ? z.int() : z.number();
    const bounded = (open ? number.gt(min) : number.min(min)).max(max);
    return [jsonName, bounded.nullish().describe(`${help[0]!.toUpperCase()}${help.slice(1)}.`)];
  })),
  logit_bias: logitBiasSchema,
  stop: stopSchema,
  stop_token_ids: z.array(tokenIdSchema).max(limits.stopTokenIds).nullish(),
  ignore_eos: z.boolean().nullish(),
  skip_special_tokens: z.boolean().nullish(),
  n: z.int().min(1).max(httpLimits.choices).nullish(),
  ...sglangConstraints,
};

/** Fields about when a request is computed, and what it shares. */
export const schedulingFields = {
  cache_salt: z.string().max(httpLimits.saltLength).nullish().describe(
    "Prompts share cached prefixes only with prompts of the same salt.",
  ),
  priority: z.int().min(-1000).max(1000).nullish().describe(
    "Requests of a client with a lower number come first; 0 if missing.",
  ),
  service_tier: z.string().max(32).nullish().describe(
    "Where priority is missing: flex stands for 1, priority for -1, all others for 0.",
  ),
};

/** Fields that all endpoints with sampling share. */
export const commonFields = {
  ...sharedSampling,
  model: nameSchema.nullish().describe("The id of the served model; anything else is a 404."),
  max_tokens: z.int().min(0).max(2 ** 31 - 1).nullish().describe("Missing: what is left of the context."),
  min_tokens: z.int().min(0).max(2 ** 31 - 1).nullish(),
  seed: z.int().nullish().describe("The same seed gives the same text, whatever runs beside it."),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  user: nameSchema.nullish(),
  ...schedulingFields,
  ...vllmConstraints,
  use_beam_search: unsupportedSwitch,
};
