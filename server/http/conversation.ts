// From chat messages as clients send them to what chat templates expect: content is text, arguments of tool calls
// are objects, and the newer role "developer" is what templates know as "system".

import type { ModelInfo } from "../../engine/options.ts";
import type { ChatMessage, PromptInput } from "../../engine/messages.ts";
import { ApiError, invalid } from "./errors.ts";
import { isSmall, jsonProblem } from "./json_limits.ts";
import { httpLimits } from "./limits.ts";
import type { ChatMessageInput, ChatRequest } from "./schemas/chat.ts";
import { textOf } from "./turns.ts";

/** A conversation as the engine takes it. */
export type ChatInput = PromptInput & { readonly type: "chat" };

/** What of a request concerns its conversation. */
export type ConversationRequest = Pick<
  ChatRequest,
  "messages" | "tools" | "chat_template_kwargs" | "add_generation_prompt" | "continue_final_message"
>;

/**
 * A conversation as the engine takes it.
 * @throws {ApiError} 400 if the model cannot chat or the request asks for an impossible continuation.
 */
export function chatInput(request: ConversationRequest, model: ModelInfo): ChatInput {
  if (!model.hasTokenizer || !model.hasChatTemplate) {
    const lacks = model.hasTokenizer ? "chat template" : "tokenizer";
    throw new ApiError(400, `${model.id} has no ${lacks} here; use POST /v1/completions or POST /generate`, {
      param: "messages",
      code: `no_${lacks.replace(" ", "_")}`,
    });
  }
  const continueFinal = request.continue_final_message === true;
  if (continueFinal && request.messages.at(-1)?.role !== "assistant") {
    throw invalid("continue_final_message", "continue_final_message needs an assistant message at the end");
  }
  if (request.add_generation_prompt === false && !continueFinal) {
    throw invalid(
      "add_generation_prompt",
      "add_generation_prompt can be false only together with continue_final_message",
    );
  }
  const tools = request.tools ?? [];
  requireSmall(tools, "tools", toolsSize(model.contextLength));
  requireSmall(request.chat_template_kwargs, "chat_template_kwargs", httpLimits.templateArgsSize);
  return {
    type: "chat",
    messages: request.messages.map((message, i) => {
      const made = templateMessage(message, i), { reasoning_content } = made;
      // As gpt-oss's template calls it.
      const thinks = reasoning_content && model.chatTemplate?.includes("message.thinking");
      return thinks ? { ...made, thinking: reasoning_content } : made;
    }),
    ...(tools.length > 0 ? { tools } : {}),
    ...(continueFinal ? { continueFinal } : {}),
    ...(request.chat_template_kwargs ? { templateArgs: request.chat_template_kwargs } : {}),
  };
}

/**
 * A prompt whose answer already begins with `start`: the model has to go on from there. This is how a tool call is
 * forced without constrained decoding.
 */
export function promptWithStart(input: ChatInput, start: string): PromptInput {
  return { ...input, answerStart: start };
}

/** What `tools` may measure: more than fills the context is of no use, and rendering it takes seconds. */
function toolsSize(contextLength: number): number {
  const { leastToolsSize, mostToolsSize, toolsPerToken } = httpLimits;
  return Math.max(leastToolsSize, Math.min(mostToolsSize, toolsPerToken * contextLength));
}

function requireSmall(value: unknown, param: string, most: number): void {
  if (isSmall(value, most)) return;
  throw new ApiError(400, `${param}: larger than ${most} characters, with 8 for each value`, {
    param,
    code: "too_large",
  });
}

function templateMessage(message: ChatMessageInput, index: number): ChatMessage {
  switch (message.role) {
    case "system":
    case "developer":
    case "user":
      return {
        role: message.role === "user" ? "user" : "system",
        content: textOf(message.content),
        ...(message.name ? { name: message.name } : {}),
      };
    case "assistant": {
      const calls = message.tool_calls ?? [];
      return {
        role: "assistant",
        // Templates concatenate; for most of them a null would become the word "None".
        content: message.content ? textOf(message.content) : "",
        ...(message.reasoning_content ? { reasoning_content: message.reasoning_content } : {}),
        ...(calls.length > 0
          ? {
            tool_calls: calls.map((call, i) => ({
              ...(call.id ? { id: call.id } : {}),
              type: "function",
              function: {
                name: call.function.name,
                arguments: parsedArguments(
                  call.function.arguments,
                  `messages[${index}].tool_calls[${i}].function.arguments`,
                ),
              },
            })),
          }
          : {}),
      };
    }
    case "tool":
    case "function":
      return {
        role: "tool",
        content: textOf(message.content),
        ...(message.tool_call_id ? { tool_call_id: message.tool_call_id } : {}),
        ...(message.name ? { name: message.name } : {}),
      };
  }
}

/** Clients send arguments as JSON text; templates print objects. What is no object stays as the model wrote it. */
function parsedArguments(text: string | Record<string, unknown> | null | undefined, param: string): unknown {
  if (typeof text !== "string") return text ?? {};
  const problem = jsonProblem(text);
  if (problem !== null) throw new ApiError(400, `${param}: ${problem}`, { param, code: "too_complex" });
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : text;
  } catch {
    return text;
  }
}
