// From Anthropic's messages to a chat request. Blocks of a user's message stand in the order in which they came:
// tool results become messages of the role "tool", text between them stays text.

import type { ChatTask } from "./chat_run.ts";
import type { ChatMessageInput } from "./schemas/chat.ts";
import type { ContentBlock, MessagesPrompt, MessagesRequest } from "./schemas/messages.ts";
import { inTurns } from "./turns.ts";

/** The part of a request that makes the prompt, in the form of OpenAI's chat. */
export function promptOf(request: MessagesPrompt): ChatTask {
  const system = systemText(request.system ?? "");
  const messages = inTurns([
    ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
    ...request.messages.flatMap(messagesOf),
  ]);
  const choice = request.tool_choice;
  const last = messages.at(-1);
  // An answer whose beginning is given goes on from there, unless it ends with a call.
  const prefilled = last?.role === "assistant" && (last.tool_calls ?? []).length === 0;
  const thinking = request.thinking?.type;
  const effort = request.output_config?.effort;
  const templateArgs = {
    ...(thinking ? { enable_thinking: thinking !== "disabled" } : {}),
    ...(effort ? { reasoning_effort: effort } : {}),
  };
  return {
    messages,
    tools: request.tools?.map(({ name, description, input_schema, strict }) => ({
      type: "function" as const,
      function: { name, description: description ?? "", parameters: input_schema, strict },
    })),
    tool_choice: choice?.type === "tool"
      ? { type: "function", function: { name: choice.name } }
      : choice?.type === "any"
      ? "required"
      : choice?.type,
    parallel_tool_calls: choice && choice.type !== "none" ? choice.disable_parallel_tool_use !== true : true,
    ...(prefilled ? { continue_final_message: true } : {}),
    ...(Object.keys(templateArgs).length > 0 ? { chat_template_kwargs: templateArgs } : {}),
  };
}

/** The whole request in the form of OpenAI's chat. */
export function chatRequestOf(request: MessagesRequest): ChatTask {
  const format = request.output_config?.format ?? request.output_format;
  return {
    ...promptOf(request),
    ...(format ? { response_format: { type: format.type, json_schema: { schema: format.schema } } } : {}),
    max_completion_tokens: request.max_tokens,
    stop: request.stop_sequences,
    temperature: request.temperature,
    top_p: request.top_p,
    top_k: request.top_k,
  };
}

/**
 * A line that Claude Code puts first in its system prompt. Its hash is another one in every request, so that with it
 * no prefix would ever be found in the cache.
 */
const billingHeader = /^x-anthropic-billing-header:[^\n]*(?:\n+|$)/;

function systemText(system: string | readonly { readonly text: string }[]): string {
  const blocks = typeof system === "string" ? [system] : system.map(({ text }) => text);
  return blocks.map((text, i) => i === 0 ? text.replace(billingHeader, "") : text)
    .filter((text) => text !== "").join("\n\n");
}

function messagesOf(
  { role, content }: MessagesPrompt["messages"][number],
): ChatMessageInput[] {
  const blocks = typeof content === "string" ? [{ type: "text" as const, text: content }] : content;
  return blocks.flatMap((block) => blockMessage(role, block));
}

function blockMessage(role: "user" | "assistant" | "system", block: ContentBlock): ChatMessageInput[] {
  switch (block.type) {
    case "text":
      return block.text === "" ? [] : [{ role, content: block.text }];
    case "thinking":
      return [{ role: "assistant", content: "", reasoning_content: block.thinking }];
    case "redacted_thinking":
      return []; // Not written by this server, so there is nothing to read.
    case "tool_use": {
      const { id, name, input } = block;
      return [{
        role: "assistant",
        content: "",
        tool_calls: [{ id, type: "function", function: { name, arguments: input } }],
      }];
    }
    case "tool_result": {
      const { content } = block;
      const parts = typeof content === "string"
        ? [content]
        : (content ?? []).map((part) => part.type === "text" ? part.text : `found: ${part.tool_name}\n`);
      return [{ role: "tool", tool_call_id: block.tool_use_id, content: parts.join("") }];
    }
  }
}
