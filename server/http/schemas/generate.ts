// The body of SGLang's native `POST /generate`.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { httpLimits } from "../limits.ts";
import { schedulingFields, sharedSampling, tokenIdsSchema } from "./sampling.ts";

const samplingParams = z.object({
  ...sharedSampling,
  max_new_tokens: z.int().min(0).max(2 ** 31 - 1).nullish().describe("Missing: what is left of the context."),
  min_new_tokens: z.int().min(0).max(2 ** 31 - 1).nullish(),
  sampling_seed: z.int().nullish(),
  seed: z.int().nullish(),
  no_stop_trim: z.literal(false, { error: "not supported" }).nullish(),
});

const perPrompt = <T extends z.ZodType>(value: T) =>
  z.union([value, z.array(value).max(httpLimits.generations)]).nullish();

/** The body of POST /generate. */
export const generateRequestSchema = z.object({
  text: z.union([z.string(), z.array(z.string()).min(1).max(httpLimits.generations)]).nullish(),
  input_ids: z.union([
    tokenIdsSchema,
    z.array(tokenIdsSchema).min(1).max(httpLimits.generations),
  ]).nullish(),
  sampling_params: perPrompt(samplingParams),
  rid: z.union([
    z.string().min(1).max(httpLimits.nameLength),
    z.array(z.string().min(1).max(httpLimits.nameLength)).max(httpLimits.generations),
  ]).nullish(),
  stream: z.boolean().nullish(),
  priority: schedulingFields.priority,
  return_logprob: perPrompt(z.boolean()),
  logprob_start_len: perPrompt(z.int().min(-1).max(2 ** 31 - 1)),
  top_logprobs_num: perPrompt(z.int().min(0).max(limits.logprobs)),
  return_text_in_logprobs: z.boolean().nullish(),
  image_data: z.null({ error: "not supported" }).optional(),
  input_embeds: z.null({ error: "not supported" }).optional(),
  lora_path: z.null({ error: "not supported" }).optional(),
});

/** A checked body of POST /generate. */
export type GenerateBody = z.infer<typeof generateRequestSchema>;

/** The body of POST /abort_request. */
export const abortRequestSchema = z.object({
  rid: z.string().min(1).max(httpLimits.nameLength).nullish(),
  abort_all: z.boolean().nullish(),
});
