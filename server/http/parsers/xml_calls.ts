// Qwen3-Coder's calls: `<tool_call><function=name><parameter=key>value</parameter>…</function></tool_call>`. Values
// are bare text; the tool's schema tells which of them are strings. Arguments come out as JSON: a string while it is
// written, any other value when it is complete.

import { content, contentUntil, type Pieces } from "./call_pieces.ts";
import { matched } from "./sequence.ts";
import { type Incoming, partialTag, StreamParser } from "./streaming.ts";
import type { ToolFormat, ToolSpec } from "./tool_format.ts";

const blockOpen = "<tool_call>", blockClose = "</tool_call>";
const functionOpen = "<function=", functionClose = "</function>";
const parameterOpen = "<parameter=", parameterClose = "</parameter>";

function* xmlCalls(text: Incoming, tools: ReadonlyMap<string, ToolSpec>): Pieces {
  for (let index = 0;;) {
    // Models leave the outer tag out at times.
    const gap = yield* contentUntil(text, [blockOpen, functionOpen], index);
    if (gap === null) return;
    const before = gap + (text.held.startsWith(blockOpen) ? text.take(blockOpen.length) : "");
    const header = yield* matched(text, [[functionOpen, { catch: "word" }, ">"]]);
    if (header === "partial") return yield* content(before + text.take());
    const tool = header === "other" ? undefined : tools.get(header.caught);
    if (header === "other" || tool === undefined) {
      // At least one character is text, or the same tag would be read again.
      yield* content(before + text.take(before.trim() === "" ? 1 : 0));
      continue;
    }
    text.take(header.length);
    yield { type: "call", index, name: tool.name };
    yield* callArguments(text, tool, index);
    yield { type: "called", index: index++ };
    const tail = yield* matched(text, [[blockClose]]);
    if (tail === "partial") return;
    if (tail !== "other") text.take(tail.length);
  }
}

/** The parameters as JSON. */
function* callArguments(text: Incoming, tool: ToolSpec, index: number): Pieces {
  function* said(json: string): Pieces {
    if (json !== "") yield { type: "arguments", index, text: json };
  }
  yield* said("{");
  for (let separator = "";; separator = ", ") {
    const key = yield* parameterKey(text);
    if (key === null) break;
    yield* said(`${separator}${JSON.stringify(key)}: `);
    while (text.held === "" && !text.over) yield null;
    const quoted = isString(tool, key);
    if (text.held !== "" && quoted) yield* said('"');
    if (text.held.startsWith("\n")) text.take(1);
    let end: number;
    while ((end = text.held.indexOf(parameterClose)) < 0) {
      // Cut off inside a value: what there is of it counts.
      if (quoted) yield* said(escaped(text.take(withoutEnd(text.held).length)));
      if (text.over) return void text.take();
      yield null;
    }
    const value = text.take(end).replace(/\n$/, "");
    text.take(parameterClose.length);
    yield* said(quoted ? `${escaped(value)}"` : jsonOf(value));
  }
  if (!(text.over && text.cut)) yield* said("}");
}

/** The name of the next parameter, whose tag is taken; null behind the last. Anything else ends the call, too. */
function* parameterKey(text: Incoming): Generator<null, string | null> {
  for (;; yield null) {
    text.held = text.held.trimStart();
    const { held } = text;
    if (held.startsWith(parameterOpen)) {
      const end = held.indexOf(">");
      if (end >= 0) return text.take(end + 1).slice(parameterOpen.length, -1);
    } else if (held.startsWith(functionClose)) {
      text.take(functionClose.length);
      return null;
    } else if (!parameterOpen.startsWith(held) && !functionClose.startsWith(held)) {
      return null;
    }
    if (text.over) {
      text.take(); // a part of a tag
      return null;
    }
  }
}

/** Without what could belong to the closing tag, the line break before it, or half a character. */
function withoutEnd(text: string): string {
  let ready = text.length - partialTag(text, parameterClose);
  if (text[ready - 1] === "\n") ready--;
  const last = text.charCodeAt(ready - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? ready - 1 : ready);
}

function isString({ parameters }: ToolSpec, key: string): boolean {
  const at = (value: unknown, name: string): unknown =>
    typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
  const schema = at(at(parameters, "properties"), key);
  const type = at(schema, "type");
  if (type !== undefined) return type === "string";
  // Without a type: a list of strings, or nothing that says more.
  return schema === undefined ||
    !["anyOf", "oneOf", "allOf", "$ref"].some((name) => at(schema, name) !== undefined);
}

function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** The value as it is if it is JSON, else as a string. */
function jsonOf(text: string): string {
  const value = text.trim();
  try {
    JSON.parse(value);
    return value;
  } catch {
    // Some models write Python's words.
    const words: Readonly<Record<string, string>> = { True: "true", False: "false", None: "null" };
    return words[value] ?? JSON.stringify(text);
  }
}

/** Qwen3-Coder. */
export const qwen3Coder: ToolFormat = {
  name: "qwen3-coder",
  matches: (template) => template.includes(functionOpen) && template.includes(parameterOpen),
  specialTags: false,
  start: (name) => `${blockOpen}\n${functionOpen}` + (name === null ? "" : `${name}>\n`),
  parser(tools) {
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    return new StreamParser((text) => xmlCalls(text, byName));
  },
};
