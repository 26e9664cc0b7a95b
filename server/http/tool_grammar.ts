// The grammar of tool calls, in the form that `parsers/hermes.ts` reads: `<tool_call>\n{"name": …, "arguments": {…}}\n
// </tool_call>`. Where a call is demanded, all of it is enforced; where the model may choose, it writes what it likes
// until it opens a call. Arguments follow the tool's schema if it is strict. If not, they do so in a call that is
// demanded, where the schema can be enforced; otherwise they are some JSON object.

import type { Json } from "../../engine/grammar/schema/document.ts";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import type { ToolInput } from "./schemas/chat.ts";
import { jsonSchema } from "./structured.ts";

/** How a call begins, up to the tool's name; ends where a token naturally ends, as in what models are trained on. */
export const callStart = '<tool_call>\n{"name": "';

/** Between a tool's name and its arguments. */
export const argumentsStart = '", "arguments":';

const callEnd = "}\n</tool_call>";

function callArguments({ function: { parameters, strict } }: ToolInput, demanded: boolean): GrammarSource {
  if (strict !== true) {
    if (!demanded || parameters === undefined || parameters === null) return { kind: "json_object" };
    return { kind: "json_schema", schema: { ...parameters, type: "object" } as Json, lenient: true };
  }
  return jsonSchema(parameters ?? { type: "object", properties: {}, additionalProperties: false });
}

const text = (text: string): GrammarSource => ({ kind: "choice", choices: [text] });
const sequence = (...parts: GrammarSource[]): GrammarSource => ({ kind: "sequence", parts });
const space: GrammarSource = { kind: "regex", pattern: " ?" };

/** What a tool's call has behind its name. */
const behindName = (tool: ToolInput, demanded: boolean): GrammarSource =>
  sequence(text(argumentsStart), space, callArguments(tool, demanded), text(callEnd));

/** Free text with calls in it. */
function freely(tools: readonly ToolInput[], demanded: boolean): GrammarSource {
  return {
    kind: "tags",
    triggers: ["<tool_call>"],
    tags: tools.map((tool) => ({
      begin: `${callStart}${tool.function.name}${argumentsStart}`,
      content: sequence(space, callArguments(tool, demanded)),
      end: callEnd,
    })),
  };
}

/**
 * The model may call tools. Null where none is strict: nothing is promised about their calls then. `format`: what the
 * answer has to be if it calls none.
 */
export function optionalCalls(
  tools: readonly ToolInput[],
  format: GrammarSource | null,
): GrammarSource | null {
  if (format !== null) {
    const calls = tools.map((tool) =>
      sequence(text(callStart + tool.function.name), behindName(tool, false))
    );
    return { kind: "any_of", parts: [format, ...calls] };
  }
  return tools.some((tool) => tool.function.strict === true) ? freely(tools, false) : null;
}

/** What follows `callStart` where some tool has to be called; `parallel`: more calls may follow the first. */
export function requiredCalls(tools: readonly ToolInput[], parallel: boolean): GrammarSource {
  const parts = tools.map((tool) => sequence(text(tool.function.name), behindName(tool, true)));
  const first: GrammarSource = { kind: "any_of", parts };
  return parallel ? sequence(first, freely(tools, true)) : first;
}

/** What follows `callStart`, the name and `argumentsStart` where one tool has to be called. */
export function namedCall(tool: ToolInput): GrammarSource {
  return sequence(space, callArguments(tool, true), text(callEnd));
}
