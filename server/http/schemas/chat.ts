// The body of `POST /v1/chat/completions`.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { httpLimits } from "../limits.ts";
import { commonFields, nameSchema as name } from "./sampling.ts";
import { responseFormatSchema } from "./structured.ts";

const textPart = z.object({
  type: z.literal("text", { error: "only parts of type text are supported" }),
  text: z.string(),
});

const content = z.union([z.string(), z.array(textPart).max(httpLimits.contentParts)]);

const toolCall = z.object({
  id: name.nullish(),
  type: z.literal("function").nullish(),
  function: z.object({
    name,
    arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
  }),
});

/** One message of a conversation. */
export const messageSchema = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer", "user"]), content, name: name.nullish() }),
  z.object({
    role: z.literal("assistant"),
    content: content.nullish(),
    reasoning_content: z.string().nullish(),
    name: name.nullish(),
    tool_calls: z.array(toolCall).max(httpLimits.toolCallsPerMessage).nullish(),
  }),
  z.object({
    role: z.enum(["tool", "function"]),
    content,
    tool_call_id: name.nullish(),
    name: name.nullish(),
  }),
]);

/** The name of a tool. */
export const toolNameSchema = z.string().regex(
  /^[a-zA-Z0-9_.:-]{1,128}$/,
  "letters, digits and _ . : - only, at most 128",
);

/** A function that the model may call. */
export const toolSchema = z.object({
  type: z.literal("function"),
  function: z.object({
    name: toolNameSchema,
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.object({ type: z.literal("function"), function: z.object({ name }) }),
]);

/** The part of a chat request that makes the prompt; `POST /tokenize` takes it too. */
export const conversationFields = {
  messages: z.array(messageSchema).min(1).max(httpLimits.messages),
  tools: z.array(toolSchema).max(httpLimits.tools).nullish(),
  chat_template_kwargs: z.record(z.string().max(httpLimits.nameLength), z.unknown()).nullish().describe(
    "Variables for the chat template, for example enable_thinking.",
  ),
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish().describe(
    "Go on with the last assistant message instead of answering it.",
  ),
};

/** The body of POST /v1/chat/completions. */
export const chatRequestSchema = z.object({
  ...commonFields,
  ...conversationFields,
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_completion_tokens: z.int().min(1).max(2 ** 31 - 1).nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(limits.logprobs).nullish(),
  separate_reasoning: z.boolean().nullish().describe("False leaves <think> text in the content."),
  response_format: responseFormatSchema,
  modalities: z.array(z.literal("text", { error: "only text is supported" })).nullish(),
  functions: z.null({ error: "deprecated; use tools" }).optional(),
  function_call: z.null({ error: "deprecated; use tool_choice" }).optional(),
  audio: z.null({ error: "not supported" }).optional(),
});

/** A checked body of POST /v1/chat/completions. */
export type ChatRequest = z.infer<typeof chatRequestSchema>;
/** One of its tools. */
export type ToolInput = z.infer<typeof toolSchema>;
/** One of its messages. */
export type ChatMessageInput = z.infer<typeof messageSchema>;
