// The bodies of answers with status 200 of the APIs that agents speak, for `GET /openapi.json` and for the tests that
// hold the answers to them.

import { z } from "zod";
import { textFormatSchema } from "./structured.ts";

const text = z.string();
const count = z.int().min(0);
const nothing = z.null();
const anything = z.unknown();
const object = z.record(text, anything);

const outputText = z.object({
  type: z.literal("output_text"),
  text,
  annotations: z.array(anything),
  logprobs: z.array(anything),
});
const itemStatus = z.enum(["completed", "incomplete"]);

const call = { id: text, call_id: text, name: text, namespace: text.optional(), status: itemStatus };

const outputItem = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("message"),
    id: text,
    role: z.literal("assistant"),
    status: itemStatus,
    content: z.array(outputText),
  }),
  z.object({
    type: z.literal("reasoning"),
    id: text,
    summary: z.array(anything),
    content: z.array(z.object({ type: z.literal("reasoning_text"), text })),
    encrypted_content: text.optional(),
    status: itemStatus,
  }),
  z.object({ type: z.literal("function_call"), ...call, arguments: text }),
  z.object({ type: z.literal("custom_tool_call"), ...call, input: text }),
]);

/** POST /v1/responses, without a stream; the last event of a stream has the same. */
export const responsesAnswer = z.object({
  id: text,
  object: z.literal("response"),
  created_at: count,
  completed_at: count.nullable(),
  status: z.enum(["completed", "incomplete", "failed"]),
  background: z.literal(false),
  error: z.object({ code: text, message: text }).nullable(),
  incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
  instructions: text.nullable(),
  max_output_tokens: count.nullable(),
  model: text,
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  previous_response_id: nothing,
  reasoning: z.object({ effort: text.nullable(), summary: nothing }),
  service_tier: text,
  store: z.literal(false),
  temperature: z.number().nullable(),
  text: z.object({ format: textFormatSchema }),
  tool_choice: anything,
  tools: z.array(anything),
  top_logprobs: z.literal(0),
  top_p: z.number().nullable(),
  truncation: z.literal("disabled"),
  usage: z.object({
    input_tokens: count,
    input_tokens_details: z.object({ cached_tokens: count }),
    output_tokens: count,
    output_tokens_details: z.object({ reasoning_tokens: count }),
    total_tokens: count,
  }),
  metadata: object,
});

/** POST /v1/messages, without a stream. */
export const messagesAnswer = z.object({
  id: text,
  type: z.literal("message"),
  role: z.literal("assistant"),
  model: text,
  content: z.array(z.discriminatedUnion("type", [
    z.object({ type: z.literal("text"), text }),
    z.object({ type: z.literal("thinking"), thinking: text, signature: text }),
    z.object({ type: z.literal("tool_use"), id: text, name: text, input: object }),
  ])),
  stop_reason: z.enum([
    "end_turn",
    "max_tokens",
    "model_context_window_exceeded",
    "stop_sequence",
    "tool_use",
  ]),
  stop_sequence: text.nullable(),
  usage: z.object({
    input_tokens: count,
    cache_creation_input_tokens: count,
    cache_read_input_tokens: count,
    output_tokens: count,
  }),
});

/** POST /v1/messages/count_tokens. */
export const countTokensAnswer = z.object({ input_tokens: count });

const ollamaEnd = {
  model: text,
  created_at: text,
  done: z.literal(true),
  done_reason: z.enum(["stop", "length", "load"]),
  total_duration: count.optional(),
  load_duration: count.optional(),
  prompt_eval_count: count.optional(),
  prompt_eval_duration: count.optional(),
  eval_count: count.optional(),
  eval_duration: count.optional(),
};

/** POST /api/chat, without a stream. */
export const ollamaChatAnswer = z.object({
  ...ollamaEnd,
  message: z.object({
    role: z.literal("assistant"),
    content: text,
    thinking: text.optional(),
    tool_calls: z.array(z.object({
      id: text,
      function: z.object({ index: count, name: text, arguments: object }),
    })).optional(),
  }),
});

/** POST /api/generate, without a stream. */
export const ollamaGenerateAnswer = z.object({ ...ollamaEnd, response: text, thinking: text.optional() });

const details = z.object({
  parent_model: text,
  format: text,
  family: text,
  families: z.array(text),
  parameter_size: text,
  quantization_level: text,
});
const ollamaModel = z.object({ name: text, model: text, size: count, digest: text, details });

/** GET /api/version. */
export const ollamaVersionAnswer = z.object({ version: text });
/** GET /api/tags. */
export const ollamaTagsAnswer = z.object({ models: z.array(ollamaModel.extend({ modified_at: text })) });
/** GET /api/ps. */
export const ollamaPsAnswer = z.object({
  models: z.array(ollamaModel.extend({ expires_at: text, size_vram: count, context_length: count })),
});
/** POST /api/show. */
export const ollamaShowAnswer = z.object({
  modelfile: text,
  parameters: text,
  template: text,
  details,
  model_info: object,
  capabilities: z.array(text),
  modified_at: text,
});

/** POST /api/embed. */
export const ollamaEmbedAnswer = z.object({
  model: text,
  embeddings: z.array(z.array(z.number())),
  total_duration: count,
  load_duration: count,
  prompt_eval_count: count,
});
/** POST /api/embeddings. */
export const ollamaEmbeddingsAnswer = z.object({ embedding: z.array(z.number()) });
