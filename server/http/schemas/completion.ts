// The body of `POST /v1/completions`.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { httpLimits } from "../limits.ts";
import { commonFields, promptsSchema } from "./sampling.ts";
import { responseFormatSchema } from "./structured.ts";

/** The body of POST /v1/completions. */
export const completionRequestSchema = z.object({
  ...commonFields,
  prompt: promptsSchema(httpLimits.generations),
  echo: z.boolean().nullish().describe("Put the prompt before the completion."),
  logprobs: z.int().min(0).max(limits.logprobs).nullish(),
  best_of: z.int().min(1).max(httpLimits.choices).nullish(),
  response_format: responseFormatSchema,
  suffix: z.literal("", { error: "not supported" }).nullish(),
  add_special_tokens: z.boolean().nullish(),
});

/** A checked body of POST /v1/completions. */
export type CompletionRequest = z.infer<typeof completionRequestSchema>;
