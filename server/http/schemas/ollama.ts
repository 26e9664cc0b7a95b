// The bodies of Ollama's `/api/*`. Fields about loading (`keep_alive`, `num_ctx`, …) say nothing to a server that
// holds one model; what would change the answer and is not understood is refused.

import { z } from "zod";
import { httpLimits } from "../limits.ts";
import { toolSchema } from "./chat.ts";
import { dimensionsSchema } from "./embeddings.ts";
import { nameSchema as name, stopSchema } from "./sampling.ts";
import { ollamaFormatSchema } from "./structured.ts";

const noImages = z.array(z.unknown()).max(0, "only text is supported: no images").nullish();
const penalty = z.number().min(-2).max(2).nullish();
const unsupported = z.literal("", { error: "not supported" }).nullish();

const options = z.object({
  num_predict: z.int().min(-2).max(2 ** 31 - 1).nullish().describe("Missing or negative: what is left."),
  temperature: z.number().min(0).max(2).nullish(),
  top_k: z.int().min(-1).max(2 ** 31 - 1).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repeat_penalty: z.number().gt(0).max(2).nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  seed: z.int().nullish(),
  stop: stopSchema,
}).nullish();

const think = z.union([z.boolean(), z.string().max(32)]).nullish();

const shared = {
  model: name,
  format: ollamaFormatSchema,
  options,
  think,
  stream: z.boolean().nullish().describe("True if missing."),
};

/** The body of POST /api/chat. */
export const ollamaChatSchema = z.object({
  ...shared,
  messages: z.array(z.object({
    role: z.enum(["system", "user", "assistant", "tool"]),
    content: z.string().nullish(),
    thinking: z.string().nullish(),
    images: noImages,
    tool_name: name.nullish(),
    tool_call_id: name.nullish(),
    tool_calls: z.array(z.object({
      id: name.nullish(),
      function: z.object({ name, arguments: z.record(z.string(), z.unknown()).nullish() }),
    })).max(httpLimits.toolCallsPerMessage).nullish(),
  })).max(httpLimits.messages).nullish(),
  tools: z.array(toolSchema).max(httpLimits.tools).nullish(),
});

/** The body of POST /api/generate. */
export const ollamaGenerateSchema = z.object({
  ...shared,
  prompt: z.string().nullish(),
  system: z.string().nullish(),
  raw: z.boolean().nullish().describe("True: the prompt is not put into the chat template."),
  suffix: unsupported,
  template: unsupported,
  images: noImages,
  context: z.array(z.unknown()).max(0, "not supported: send the conversation to /api/chat").nullish(),
});

/** The body of POST /api/show. */
export const ollamaShowSchema = z.object({ model: name.nullish(), name: name.nullish() });

/** The body of POST /api/embed. */
export const ollamaEmbedSchema = z.object({
  model: name,
  input: z.union([z.string(), z.array(z.string()).max(httpLimits.embeddings)]).nullish(),
  truncate: z.boolean().nullish().describe("False refuses what is too long, instead of cutting its end off."),
  dimensions: dimensionsSchema,
});

/** The body of POST /api/embeddings. */
export const ollamaEmbeddingsSchema = z.object({ model: name, prompt: z.string().nullish() });

/** A checked body of POST /api/embed. */
export type OllamaEmbed = z.infer<typeof ollamaEmbedSchema>;
/** A checked body of POST /api/chat. */
export type OllamaChat = z.infer<typeof ollamaChatSchema>;
/** A checked body of POST /api/generate. */
export type OllamaGenerate = z.infer<typeof ollamaGenerateSchema>;
