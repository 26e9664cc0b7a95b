// What a request's tools and tool choice come to: whether the template sees them, how calls are parsed, and how the
// answer is made to begin if a call is demanded.

import type { AnswerParsing } from "./answer_parser.ts";
import { ApiError } from "./errors.ts";
import { toolFormat } from "./parsers/tool_formats.ts";
import type { ChatRequest } from "./schemas/chat.ts";
import type { Service } from "./service.ts";

/** How a request uses tools. */
export interface ToolUse {
  /** Tools go to the template. */
  readonly offered: boolean;
  /** How calls are parsed; null if none are. */
  readonly parsed: AnswerParsing["tools"];
  /** How the answer is made to begin, if a call is demanded. */
  readonly start: string;
}

/** @throws {ApiError} 400 if a call is demanded that cannot be made. */
export function toolUse(
  request: Pick<ChatRequest, "tools" | "tool_choice">,
  service: Service,
): ToolUse {
  const specs = (request.tools ?? []).map(({ function: { name, parameters } }) => ({ name, parameters }));
  const choice = request.tool_choice ?? "auto";
  const template = service.readyEngine.model.chatTemplate ?? "";
  const format = toolFormat(service.options.toolParser, template);
  if (choice === "none" || (choice === "auto" && specs.length === 0)) {
    return { offered: false, parsed: null, start: "" };
  }
  if (choice === "auto") return { offered: true, parsed: format && { format, specs }, start: "" };
  const wanted = choice === "required" ? null : choice.function.name;
  if (format === null) {
    throw new ApiError(400, "the server was started without a tool parser", { param: "tool_choice" });
  }
  if (specs.length === 0 || (wanted !== null && !specs.some(({ name }) => name === wanted))) {
    const what = wanted === null ? "tools" : `a tool named ${JSON.stringify(wanted)} in tools`;
    throw new ApiError(400, `tool_choice needs ${what}`, { param: "tool_choice", code: "invalid_value" });
  }
  return { offered: true, parsed: { format, specs }, start: format.start(wanted, template) };
}
