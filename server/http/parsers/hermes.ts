// Turns Hermes-style blocks, `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>` (also Qwen's form), into
// tool calls while the answer streams. As soon as the name is known the call is announced, and its arguments follow
// as they are written. A block that is no call of a known tool is given back as text, never dropped.

import { jsonProblem, objectOf } from "../json_limits.ts";
import { content, contentUntil, jsonArguments, type Pieces } from "./call_pieces.ts";
import { jsonHeader, matched } from "./sequence.ts";
import { type Incoming, StreamParser, takeUntil } from "./streaming.ts";
import type { ToolFormat } from "./tool_format.ts";

/** Hermes and Qwen. */
export const hermes: ToolFormat = {
  name: "hermes",
  matches: (template) => template.includes("<tool_call>") && !template.includes("<function="),
  specialTags: false,
  start: (name) => `${openTag}\n{"name": "` + (name === null ? "" : `${name}", "arguments":`),
  parser(tools) {
    const names = new Set(tools.map((tool) => tool.name));
    return new StreamParser((text) => hermesCalls(text, names));
  },
};

const openTag = "<tool_call>";
const closeTag = "</tool_call>";
/** The order in which models write a call. */
const headers = [jsonHeader("arguments")];

function* hermesCalls(text: Incoming, names: ReadonlySet<string>): Pieces {
  for (let index = 0;;) {
    const gap = yield* contentUntil(text, [openTag], index);
    if (gap === null) return;
    text.take(openTag.length);
    const header = yield* matched(text, headers);
    if (typeof header === "object" && names.has(header.caught)) {
      text.take(header.length - 1);
      yield { type: "call", index, name: header.caught };
      yield* jsonArguments(text, index);
      yield* takeUntil(text, closeTag); // behind the arguments the block says nothing
      yield { type: "called", index: index++ };
    } else if (header === "partial" && text.cut) {
      // A call of which no more than the name has come, if as much as that; its beginning is no text.
      const name = /^\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text.take())?.[1];
      if (name === undefined || !names.has(name)) return;
      yield { type: "call", index, name };
      yield { type: "called", index };
    } else {
      // A block in another form is judged when it is complete: a call all the same if it says which tool and with what.
      const [block, ending] = yield* takeUntil(text, closeTag);
      const call = parsedCall(block);
      if (call === null || !names.has(call.name)) {
        yield* content(gap + openTag + block + ending);
      } else {
        yield { type: "call", index, name: call.name };
        yield { type: "arguments", index, text: call.arguments };
        yield { type: "called", index: index++ };
      }
    }
  }
}

function parsedCall(block: string): { readonly name: string; readonly arguments: string } | null {
  if (jsonProblem(block) !== null) return null;
  const call = objectOf(block);
  const name = call?.["name"], args = call?.["arguments"] ?? call?.["parameters"] ?? {};
  if (typeof name !== "string") return null;
  if (typeof args === "string") return { name, arguments: args };
  return typeof args === "object" ? { name, arguments: JSON.stringify(args) } : null;
}
