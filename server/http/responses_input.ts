// From the items of /v1/responses to a chat request. A custom tool, whose argument is free text, becomes a function
// with one string, and its regular expression the pattern of a strict one.

import { Buffer } from "node:buffer";
import type { ChatTask } from "./chat_run.ts";
import type { ChatMessageInput, ToolInput } from "./schemas/chat.ts";
import type { InputItem, ResponsesRequest, ResponsesTool } from "./schemas/responses.ts";
import { inTurns } from "./turns.ts";

/** The request in the form of OpenAI's chat. */
export function chatRequestOf(request: ResponsesRequest): ChatTask {
  const items = typeof request.input === "string"
    ? [{ role: "user" as const, content: request.input }]
    : request.input;
  const system: ChatMessageInput[] = request.instructions
    ? [{ role: "system", content: request.instructions }]
    : [];
  const choice = request.tool_choice;
  const effort = request.reasoning?.effort;
  return {
    messages: inTurns([...system, ...items.map(messageOf)]),
    tools: namedTools(request).map(functionOf),
    tool_choice: typeof choice === "object" && choice !== null
      ? { type: "function", function: { name: choice.name } }
      : choice,
    parallel_tool_calls: request.parallel_tool_calls,
    priority: request.priority,
    service_tier: request.service_tier,
    response_format: responseFormat(request.text?.format),
    max_completion_tokens: request.max_output_tokens,
    temperature: request.temperature,
    top_p: request.top_p,
    ...(effort
      ? {
        chat_template_kwargs: {
          reasoning_effort: effort,
          ...(effort === "none" ? { enable_thinking: false } : {}),
        },
      }
      : {}),
  };
}

function messageOf(item: InputItem): ChatMessageInput {
  switch (item.type) {
    case undefined:
    case "message": {
      const content = textOf(item.content);
      return item.role === "assistant" ? { role: "assistant", content } : { role: item.role, content };
    }
    case "reasoning": {
      const text = item.content ? textOf(item.content) : unsealed(item.encrypted_content ?? "");
      return { role: "assistant", content: "", reasoning_content: text };
    }
    case "function_call":
      return callOf(item.call_id, fullName(item), item.arguments);
    case "custom_tool_call":
      return callOf(item.call_id, fullName(item), JSON.stringify({ input: item.input }));
    case "function_call_output":
    case "custom_tool_call_output":
      return { role: "tool", tool_call_id: item.call_id, content: textOf(item.output) };
  }
}

function callOf(id: string, name: string, args: string): ChatMessageInput {
  return {
    role: "assistant",
    content: "",
    tool_calls: [{ id, type: "function", function: { name, arguments: args } }],
  };
}

/** The form of the text as OpenAI's chat writes it. */
function responseFormat(
  format: NonNullable<ResponsesRequest["text"]>["format"],
): ChatTask["response_format"] {
  if (format?.type !== "json_schema") return format;
  const { type, ...json_schema } = format;
  return { type, json_schema };
}

/** A tool and the name that the model knows it by. */
export interface NamedTool {
  /** With the namespace, if it has one. */
  readonly fullName: string;
  /** Null if it has none. */
  readonly namespace: string | null;
  /** What the client said of it. */
  readonly tool: Exclude<ResponsesTool, { type: "namespace" }>;
}

/** The tools of a request, those of its namespaces among them. */
export function namedTools(request: ResponsesRequest): NamedTool[] {
  return (request.tools ?? []).flatMap((tool): NamedTool[] => {
    if (tool.type !== "namespace") return [{ fullName: tool.name, namespace: null, tool }];
    return tool.tools.map((each) => ({
      fullName: fullName({ namespace: tool.name, name: each.name }),
      namespace: tool.name,
      tool: each,
    }));
  });
}

function fullName(
  { namespace, name }: { readonly namespace?: string | null | undefined; readonly name: string },
) {
  return namespace ? `${namespace}.${name}` : name;
}

function functionOf({ fullName, tool }: NamedTool): ToolInput {
  const description = tool.description ?? "";
  if (tool.type === "function") {
    return {
      type: "function",
      function: { name: fullName, description, parameters: tool.parameters ?? {}, strict: tool.strict },
    };
  }
  const { format } = tool;
  if (format?.type !== "grammar") return customTool(fullName, description, {}, false);
  const shown = `${description}\n\nThe input has to match this regular expression:\n${format.definition}`;
  return customTool(fullName, shown, { pattern: `^(?:${format.definition})$` }, true);
}

/** A function with one text; what is enforced of the text has to be enforced of all of the call. */
function customTool(
  name: string,
  description: string,
  input: { readonly pattern?: string },
  strict: boolean,
): ToolInput {
  const parameters = {
    type: "object",
    properties: { input: { type: "string", ...input } },
    required: ["input"],
    ...(strict ? { additionalProperties: false } : {}),
  };
  return { type: "function", function: { name, description, parameters, ...(strict ? { strict } : {}) } };
}

function textOf(
  content: string | readonly ({ readonly text: string } | { readonly refusal: string })[],
): string {
  if (typeof content === "string") return content;
  return content.map((part) => "text" in part ? part.text : part.refusal).join("");
}

const seal = "radish:";

/** Reasoning as a client carries it along that resends only `encrypted_content`. Nothing about it is secret. */
export function sealed(text: string): string {
  return Buffer.from(seal + text, "utf8").toString("base64");
}

/** The text of what {@link sealed} made; "" of anything else. */
function unsealed(content: string): string {
  const text = Buffer.from(content, "base64").toString("utf8");
  return text.startsWith(seal) ? text.slice(seal.length) : "";
}
