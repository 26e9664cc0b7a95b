// The bodies of `POST /v1/messages` and `/v1/messages/count_tokens`, Anthropic's API.

import { z } from "zod";
import { limits } from "../../../engine/params.ts";
import { httpLimits } from "../limits.ts";
import { toolNameSchema } from "./chat.ts";
import { outputFormatSchema } from "./structured.ts";

const name = z.string().max(httpLimits.nameLength);
const onlyText =
  "only text, thinking, tool_use and tool_result are supported: no images, documents or server tools";

const textBlock = z.object({ type: z.literal("text"), text: z.string() });
const textBlocks = z.array(z.discriminatedUnion("type", [textBlock], { error: "only text is supported" }))
  .max(httpLimits.contentParts);

/** A tool that searches for tools answers with names: those tools are in the request, too. */
const toolReference = z.object({ type: z.literal("tool_reference"), tool_name: name });
const resultBlock = z.discriminatedUnion("type", [textBlock, toolReference], {
  error: "only text is supported",
});

/** One block of a message's content. */
export const blockSchema = z.discriminatedUnion("type", [
  textBlock,
  z.object({ type: z.literal("thinking"), thinking: z.string() }),
  z.object({ type: z.literal("redacted_thinking") }),
  z.object({ type: z.literal("tool_use"), id: name, name, input: z.record(z.string(), z.unknown()) }),
  z.object({
    type: z.literal("tool_result"),
    tool_use_id: name,
    content: z.union([z.string(), z.array(resultBlock).max(httpLimits.contentParts)]).nullish(),
    is_error: z.boolean().nullish(),
  }),
], { error: onlyText });

const messageSchema = z.object({
  role: z.enum(["user", "assistant", "system"]),
  content: z.union([z.string(), z.array(blockSchema).max(httpLimits.contentParts)]),
});

const toolSchema = z.object({
  type: z.literal("custom", { error: "only tools of the client are supported: there are no server tools" })
    .nullish(),
  name: toolNameSchema,
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()),
  strict: z.boolean().nullish().describe("True: calls are made to fit `input_schema`."),
});

const parallel = { disable_parallel_tool_use: z.boolean().nullish() };
const toolChoice = z.discriminatedUnion("type", [
  z.object({ type: z.enum(["auto", "any"]), ...parallel }),
  z.object({ type: z.literal("tool"), name, ...parallel }),
  z.object({ type: z.literal("none") }),
]);

const none = z.array(z.unknown()).max(0, "not supported").nullish();

/** The part of a request that makes the prompt. */
const promptFields = {
  model: name.nullish(),
  system: z.union([z.string(), textBlocks]).nullish().describe(
    "A line x-anthropic-billing-header at its head is cut off: it changes with each request.",
  ),
  messages: z.array(messageSchema).min(1).max(httpLimits.messages),
  tools: z.array(toolSchema).max(httpLimits.tools).nullish(),
  tool_choice: toolChoice.nullish(),
  thinking: z.object({ type: z.enum(["enabled", "adaptive", "disabled"]) }).nullish().describe(
    "Turns reasoning on or off, if the chat template can; a budget is not kept.",
  ),
  output_config: z.object({ effort: z.string().max(32).nullish(), format: outputFormatSchema }).nullish(),
  output_format: outputFormatSchema,
  mcp_servers: none,
};

/** The body of POST /v1/messages/count_tokens. */
export const countTokensRequestSchema = z.object(promptFields);

/** The body of POST /v1/messages. */
export const messagesRequestSchema = z.object({
  ...promptFields,
  max_tokens: z.int().min(1).max(2 ** 31 - 1).describe("An upper bound: less may be left of the context."),
  stop_sequences: z.array(z.string().min(1).max(limits.stopStringLength)).max(limits.stopStrings).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).max(2 ** 31 - 1).nullish(),
  stream: z.boolean().nullish(),
  metadata: z.object({ user_id: z.string().max(1024).nullish() }).nullish(),
  container: z.null({ error: "not supported" }).optional(),
});

/** A checked body of POST /v1/messages/count_tokens, or the same part of POST /v1/messages. */
export type MessagesPrompt = z.infer<typeof countTokensRequestSchema>;
/** A checked body of POST /v1/messages. */
export type MessagesRequest = z.infer<typeof messagesRequestSchema>;
/** One block of a message's content. */
export type ContentBlock = z.infer<typeof blockSchema>;
