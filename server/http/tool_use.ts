// What a request's tools and tool choice come to: whether the template sees them, how calls are parsed, and how the
// answer is made to begin if a call is demanded.

import type { AnswerParsing } from "./answer_parser.ts";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import { ApiError, invalid } from "./errors.ts";
import { hermes } from "./parsers/hermes.ts";
import { answerFormat, toolFormat } from "./parsers/tool_formats.ts";
import type { ChatRequest, ToolInput } from "./schemas/chat.ts";
import type { Service } from "./service.ts";
import { namedCall, optionalCalls, requiredCalls } from "./tool_grammar.ts";

/** How a request uses tools. */
export interface ToolUse {
  /** Tools go to the template. */
  readonly offered: boolean;
  /** How calls are parsed; null if none are. */
  readonly parsed: AnswerParsing["tools"];
  /** How the answer is made to begin, if a call is demanded. */
  readonly start: string;
  /** What has to follow `start`; `format` is what the answer has to be if it calls no tool. */
  readonly grammar: GrammarSource | null;
}

/** @throws {ApiError} 400 if a call is demanded that cannot be made. */
export function toolUse(
  request: Pick<ChatRequest, "tools" | "tool_choice" | "parallel_tool_calls">,
  service: Service,
  answer: GrammarSource | null = null,
): ToolUse {
  const tools = request.tools ?? [];
  const specs = (request.tools ?? []).map(({ function: { name, parameters } }) => ({ name, parameters }));
  const choice = request.tool_choice ?? "auto";
  const template = service.readyEngine.model.chatTemplate ?? "";
  const format = toolFormat(service.options.toolParser, template), whole = answerFormat(template);
  if (choice === "none" || (choice === "auto" && specs.length === 0)) {
    // A grammar is one of what is said, so nothing may be thought before it.
    const start = answer === null ? "" : whole?.answerStart ?? "";
    return { offered: false, parsed: whole && { format: whole, specs: [] }, start, grammar: answer };
  }
  if (format !== hermes) requireFree(tools, answer);
  if (choice === "auto") {
    const grammar = format === hermes ? optionalCalls(tools, answer) : answer;
    const parsed = format === null ? whole && { format: whole, specs: [] } : { format, specs };
    return { offered: true, parsed, start: "", grammar };
  }
  const wanted = choice === "required" ? null : choice.function.name;
  if (format === null) {
    throw new ApiError(400, "the server was started without a tool parser", { param: "tool_choice" });
  }
  if (specs.length === 0 || (wanted !== null && !specs.some(({ name }) => name === wanted))) {
    const what = wanted === null ? "tools" : `a tool named ${JSON.stringify(wanted)} in tools`;
    throw invalid("tool_choice", `tool_choice needs ${what}`);
  }
  const start = format.start(wanted, template);
  if (format !== hermes) return { offered: true, parsed: { format, specs }, start, grammar: null };
  const grammar = wanted === null
    ? requiredCalls(tools, request.parallel_tool_calls ?? true)
    : namedCall(tools.find((tool) => tool.function.name === wanted)!);
  return { offered: true, parsed: { format, specs }, start, grammar };
}

/** Calls in other forms cannot be enforced: nothing may be asked that depends on it. */
function requireFree(tools: readonly ToolInput[], answer: GrammarSource | null): void {
  const at = tools.findIndex((tool) => tool.function.strict === true);
  if (at < 0 && answer === null) return;
  const param = at < 0 ? "response_format" : `tools[${at}].function.strict`;
  const what = at < 0 ? "cannot be enforced beside tools" : "cannot be enforced";
  throw invalid(param, `${param}: ${what} with this model's form of calls, only with <tool_call> blocks`);
}
