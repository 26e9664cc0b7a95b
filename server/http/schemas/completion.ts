// The body of `POST /v1/completions`.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { httpLimits } from "../limits.ts";
import { commonFields, tokenIdSchema } from "./sampling.ts";
import { responseFormatSchema } from "./structured.ts";

/** The body of POST /v1/completions. */
export const completionRequestSchema = z.object({
  ...commonFields,
  prompt: z.union([
    z.string(),
    z.array(z.string()).min(1).max(httpLimits.generations),
    z.array(tokenIdSchema).min(1),
    z.array(z.array(tokenIdSchema).min(1)).min(1).max(httpLimits.generations),
  ]).describe("A text, texts, token ids, or lists of token ids."),
  echo: z.boolean().nullish().describe("Put the prompt before the completion."),
  logprobs: z.int().min(0).max(limits.logprobs).nullish(),
  best_of: z.int().min(1).max(httpLimits.choices).nullish(),
  response_format: responseFormatSchema,
  suffix: z.literal("", { error: "not supported" }).nullish(),
  add_special_tokens: z.boolean().nullish(),
});

/** A checked body of POST /v1/completions. */
export type CompletionRequest = z.infer<typeof completionRequestSchema>;
