// The body of `POST /v1/responses`. Stateless: whatever would need something stored, or a tool of the maker's, is
// refused by name.

import { z } from "zod";
import { httpLimits } from "../limits.ts";
import { toolNameSchema } from "./chat.ts";
import { nameSchema as name, schedulingFields } from "./sampling.ts";
import { textFormatSchema } from "./structured.ts";

const namespace = name.nullish();
const stateless = "nothing is stored here: send the whole conversation as input";
const unstored = z.null({ error: stateless }).optional();

/** Text, whatever the side that wrote it. */
const textPart = z.discriminatedUnion("type", [
  z.object({
    type: z.enum(["input_text", "output_text", "text", "summary_text", "reasoning_text"]),
    text: z.string(),
  }),
  z.object({ type: z.literal("refusal"), refusal: z.string() }),
], { error: "only text is supported: no images, audio or files" });

const content = z.union([z.string(), z.array(textPart).max(httpLimits.contentParts)]);

const messageItem = z.object({
  type: z.literal("message").optional(),
  role: z.enum(["user", "assistant", "system", "developer"]),
  content,
});

/** One item of the input. */
export const itemSchema = z.discriminatedUnion("type", [
  messageItem,
  z.object({
    type: z.literal("reasoning"),
    content: z.array(textPart).max(httpLimits.contentParts).nullish(),
    encrypted_content: z.string().nullish(),
  }),
  z.object({ type: z.literal("function_call"), call_id: name, name, namespace, arguments: z.string() }),
  z.object({ type: z.literal("function_call_output"), call_id: name, output: content }),
  z.object({ type: z.literal("custom_tool_call"), call_id: name, name, namespace, input: z.string() }),
  z.object({ type: z.literal("custom_tool_call_output"), call_id: name, output: content }),
], {
  error: "only messages, reasoning, and function or custom tool calls with their outputs are supported; " +
    "nothing is stored that an item could refer to",
});

const functionTool = z.object({
  type: z.literal("function"),
  name: toolNameSchema,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish().describe("True: calls are made to fit `parameters`."),
});

const customTool = z.object({
  type: z.literal("custom"),
  name: toolNameSchema,
  description: z.string().nullish(),
  format: z.discriminatedUnion("type", [
    z.object({ type: z.literal("text") }),
    z.object({
      type: z.literal("grammar"),
      syntax: z.literal("regex", {
        error: "lark cannot be enforced here, only regex; format text leaves it free",
      }),
      definition: z.string(),
    }),
  ]).nullish().describe("A regular expression that the whole input is made to match."),
});

const builtIn = { error: "only function and custom tools are supported: there are no built-in tools" };

/** Tools of the client under a common name, as Codex groups them. */
const namespaceTool = z.object({
  type: z.literal("namespace"),
  name: toolNameSchema,
  tools: z.array(z.discriminatedUnion("type", [functionTool, customTool], builtIn)).max(httpLimits.tools),
});

/** A tool that the client runs, or a group of them. */
export const responsesToolSchema = z.discriminatedUnion(
  "type",
  [functionTool, customTool, namespaceTool],
  builtIn,
);

/** The body of POST /v1/responses. */
export const responsesRequestSchema = z.object({
  model: name.nullish(),
  input: z.union([z.string(), z.array(itemSchema).min(1).max(httpLimits.messages)]),
  instructions: z.string().nullish(),
  max_output_tokens: z.int().min(1).max(2 ** 31 - 1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  tools: z.array(responsesToolSchema).max(httpLimits.tools).nullish(),
  tool_choice: z.union([
    z.enum(["none", "auto", "required"]),
    z.object({ type: z.enum(["function", "custom"]), name }),
  ], { error: "only none, auto, required, a function or a custom tool are supported" }).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  reasoning: z.object({
    effort: z.string().max(32).nullish().describe("none turns reasoning off, if the chat template can."),
    summary: z.string().max(32).nullish(),
  }).nullish(),
  text: z.object({ format: textFormatSchema.nullish(), verbosity: z.string().max(32).nullish() }).nullish(),
  include: z.array(z.string().max(128)).max(32).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_obfuscation: z.boolean().nullish() }).nullish(),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  user: name.nullish(),
  safety_identifier: name.nullish(),
  prompt_cache_key: name.nullish(),
  priority: schedulingFields.priority,
  service_tier: schedulingFields.service_tier,
  truncation: z.literal("disabled", { error: "only disabled is supported" }).nullish(),
  top_logprobs: z.literal(0, { error: "not supported" }).nullish(),
  store: z.literal(false, { error: `true is not supported: ${stateless}` }).nullish(),
  background: z.literal(false, { error: "not supported" }).nullish(),
  previous_response_id: unstored,
  conversation: unstored,
  prompt: unstored,
});

/** A checked body of POST /v1/responses. */
export type ResponsesRequest = z.infer<typeof responsesRequestSchema>;
/** One item of its input. */
export type InputItem = z.infer<typeof itemSchema>;
/** One of its tools. */
export type ResponsesTool = z.infer<typeof responsesToolSchema>;
