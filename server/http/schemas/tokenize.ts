// The bodies of `POST /tokenize` and `POST /detokenize`.

import { z } from "zod";
import { httpLimits } from "../limits.ts";
import { conversationFields } from "./chat.ts";
import { tokenIdSchema } from "./sampling.ts";

const model = z.string().max(httpLimits.nameLength).nullish();

/** The body of POST /tokenize. */
export const tokenizeRequestSchema = z.object({
  ...conversationFields,
  messages: conversationFields.messages.nullish(),
  model,
  prompt: z.union([z.string(), z.array(z.string()).min(1).max(httpLimits.tokenizeBatch)]).nullish(),
  add_special_tokens: z.boolean().nullish(),
});

/** The body of POST /detokenize. */
export const detokenizeRequestSchema = z.object({
  model,
  tokens: z.union([
    z.array(tokenIdSchema),
    z.array(z.array(tokenIdSchema)).min(1).max(httpLimits.tokenizeBatch),
  ]),
  skip_special_tokens: z.boolean().nullish(),
});
