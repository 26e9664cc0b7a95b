// Calls whose arguments are a JSON object behind a header that names the tool, in the forms of Llama 3, Mistral and
// DeepSeek-V3. The forms differ in their brackets alone; the machine is the same.
//
// A header that is none, or that names no known tool, is text, and what follows it is read as text again.

import { content, contentAtEnd, contentUntil, jsonArguments, type Pieces } from "./call_pieces.ts";
import { jsonHeader, matched, type Step } from "./sequence.ts";
import { type Incoming, StreamParser } from "./streaming.ts";
import type { ToolFormat, ToolSpec } from "./tool_format.ts";

/** The brackets of a form. */
interface Brackets {
  /** Before the first call, anywhere in the text; null: the answer begins with a call or has none. */
  readonly open: string | null;
  /** Between `open` or the call before and the first `{` of the arguments, which is part of it. */
  readonly headers: readonly (readonly Step[])[];
  /** Behind the arguments, if a call follows; the last of it is where the next header begins. */
  readonly next: readonly (readonly string[])[];
  /** Behind the arguments of the last call. */
  readonly last: readonly (readonly Step[])[];
}

function* jsonCalls(text: Incoming, brackets: Brackets, names: ReadonlySet<string>): Pieces {
  const { open, headers, next, last } = brackets;
  /** What stands before the header and is text if the header is none; null in front of the next call. */
  let before: string | null = null;
  /** Whether anything but calls has been said. */
  let anyText = false;
  for (let index = 0;;) {
    if (before === null) {
      before = open === null ? yield* lead(text, anyText, index) : yield* contentUntil(text, [open], index);
      if (before === null) return;
      if (open !== null) before += text.take(open.length);
    }
    const header = yield* matched(text, headers);
    if (header === "partial") return yield* content(before + text.take());
    if (header === "other" || !names.has(header.caught)) {
      yield* content(before);
      before = null;
      anyText = true;
      continue;
    }
    text.take(header.length - 1);
    yield { type: "call", index, name: header.caught };
    yield* jsonArguments(text, index);
    const behind = yield* matched(text, [...next, ...last]);
    yield { type: "called", index: index++ };
    if (behind === "partial") return;
    const goesOn = behind !== "other" && behind.pattern < next.length;
    const begun = goesOn ? next[behind.pattern]!.at(-1)!.length : 0;
    const between = behind === "other" ? "" : text.take(behind.length - begun);
    before = goesOn ? between : null;
  }
}

/** What is in front of a call without an opening bracket: there is one only as long as nothing else has been said. */
function* lead(text: Incoming, anyText: boolean, calls: number): Pieces<string | null> {
  for (; !text.over; yield null) {
    if (!anyText) {
      const lead = /^[\s;]*(?:<\|python_tag\|>)?\s*/.exec(text.held)![0];
      const rest = text.held.slice(lead.length);
      if (rest.startsWith("{")) return text.take(lead.length);
      if ("<|python_tag|>".startsWith(rest)) continue;
    }
    anyText ||= text.held.trim() !== "";
    yield* content(text.take());
  }
  return yield* contentAtEnd(text, calls);
}

const parserOf = (brackets: Brackets) => (tools: readonly ToolSpec[]) => {
  const names = new Set(tools.map((tool) => tool.name));
  return new StreamParser((text) => jsonCalls(text, brackets, names));
};

const llamaBrackets: Brackets = {
  open: null,
  headers: [jsonHeader("parameters"), jsonHeader("arguments")],
  next: [],
  last: [["}"]],
};

/** Llama 3.x: `{"name": …, "parameters": {…}}`, several apart by `;`. */
export const llama: ToolFormat = {
  name: "llama",
  matches: (template) =>
    template.includes("<|python_tag|>") || template.includes('{"name": function name, "parameters":'),
  specialTags: false,
  start: (name) => '{"name": "' + (name === null ? "" : `${name}", "parameters":`),
  parser: parserOf(llamaBrackets),
};

const mistralBrackets: Brackets = {
  open: "[TOOL_CALLS]",
  headers: [
    ["[", ...jsonHeader("arguments")],
    jsonHeader("arguments"),
    [{ catch: "word" }, "[ARGS]", "{"],
    [{ catch: "word" }, "[CALL_ID]", { catch: "word" }, "[ARGS]", "{"],
    [{ catch: "word" }, "{"],
  ],
  next: [["}", ",", "{"]],
  last: [["}", "]"]],
};

/** Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}]`, newer ones `[TOOL_CALLS]name[ARGS]{…}`. */
export const mistral: ToolFormat = {
  name: "mistral",
  matches: (template) => template.includes("[TOOL_CALLS]"),
  specialTags: true,
  start(name, template) {
    if (template.includes("[ARGS]")) return name === null ? "[TOOL_CALLS]" : `[TOOL_CALLS]${name}[ARGS]`;
    return '[TOOL_CALLS][{"name": "' + (name === null ? "" : `${name}", "arguments":`);
  },
  parser: parserOf(mistralBrackets),
};

const begin = "<｜tool▁calls▁begin｜>", end = "<｜tool▁calls▁end｜>";
const callBegin = "<｜tool▁call▁begin｜>", callEnd = "<｜tool▁call▁end｜>", separator = "<｜tool▁sep｜>";

const deepseekBrackets: Brackets = {
  open: begin,
  headers: [
    [callBegin, "function", separator, { catch: "word" }, "```json", "{"],
    [callBegin, { catch: "word" }, separator, "{"],
  ],
  next: [["```", callEnd, callBegin], [callEnd, callBegin]],
  last: [["```", callEnd, end], [callEnd, end]],
};

/** DeepSeek-V3 and, without the fence of ```` ```json ````, V3.1. */
export const deepseek: ToolFormat = {
  name: "deepseek",
  matches: (template) => template.includes(callBegin),
  specialTags: true,
  start(name, template) {
    const fenced = template.includes("```json");
    const head = begin + callBegin + (fenced ? `function${separator}` : "");
    if (name === null) return head;
    return head + name + (fenced ? "\n```json\n" : separator);
  },
  parser: parserOf(deepseekBrackets),
};
