// Turns Hermes-style blocks, `<tool_call>\n{"name": …, "arguments": {…}}\n</tool_call>` (also Qwen's form), into
// tool calls while the answer streams. As soon as the name is known the call is announced, and its arguments follow
// as they are written. A block that is no call of a known tool is given back as text, never dropped.
//
// The result is a function of the whole text alone, however it is cut into pieces.

import { jsonProblem } from "../json_limits.ts";
import { partialTag, trailingSpace } from "./hold_back.ts";
import { ObjectScanner } from "./json_scanner.ts";
import type { CallParser, ToolFormat, ToolPiece } from "./tool_format.ts";

/** Hermes and Qwen. */
export const hermes: ToolFormat = {
  name: "hermes",
  matches: (template) => template.includes("<tool_call>") && !template.includes("<function="),
  specialTags: false,
  start: (name) => `${openTag}\n{"name": "` + (name === null ? "" : `${name}", "arguments":`),
  parser: (tools) => new HermesParser(tools.map((tool) => tool.name)),
};

const openTag = "<tool_call>";
const closeTag = "</tool_call>";

type State =
  | { readonly type: "text" }
  /** Inside a block whose name is not known; the text since the tag is held. */
  | { readonly type: "header" }
  | { readonly type: "arguments"; readonly scanner: ObjectScanner }
  /** Behind the arguments: the rest of the block says nothing. */
  | { readonly type: "tail" }
  /** A block in another form: judged when it is complete. */
  | { readonly type: "whole" };

/** Takes tool calls out of a text that comes in pieces. */
export class HermesParser implements CallParser {
  readonly #names: ReadonlySet<string>;
  #state: State = { type: "text" };
  #held = "";
  /** White space before the block: text after all if the block is no call. */
  #gap = "";
  /** The closing tag does not begin before this place of the held text. */
  #searched = 0;
  #calls = 0;

  /**
   * Nothing is pushed yet.
   * @param names The tools that may be called.
   */
  constructor(names: Iterable<string>) {
    this.#names = new Set(names);
  }

  /** Number of calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /** Takes in a piece and returns what it makes certain. */
  push(text: string): ToolPiece[] {
    this.#held += text;
    const pieces: ToolPiece[] = [];
    while (this.#step(pieces));
    return pieces;
  }

  /**
   * What is left when the answer is over; a block that was cut off counts as far as it got. `cut`: the answer ended
   * before the model did; then the beginning of a call is no text.
   */
  end(cut = false): ToolPiece[] {
    const pieces: ToolPiece[] = [];
    const rest = this.#held;
    this.#held = "";
    switch (this.#state.type) {
      case "text":
        // White space behind a call is part of the block's form, elsewhere it is text.
        if (this.#calls === 0 || rest.trim() !== "") pieces.push(...content(rest));
        break;
      case "header":
        if (cut && readHeader(rest) === "partial") pieces.push(...this.#begun(rest));
        else this.#judge(rest, "", pieces);
        break;
      case "whole":
        this.#judge(rest, "", pieces);
        break;
      case "arguments":
      case "tail":
        pieces.push({ type: "called", index: this.#calls - 1 });
    }
    this.#state = { type: "text" };
    return pieces;
  }

  /** One move; false when more text is needed. */
  #step(pieces: ToolPiece[]): boolean {
    switch (this.#state.type) {
      case "text":
        return this.#text(pieces);
      case "header":
        return this.#header(pieces);
      case "arguments":
        return this.#arguments(this.#state.scanner, pieces);
      case "tail":
      case "whole": {
        const end = this.#held.indexOf(closeTag, this.#searched);
        if (end < 0) {
          this.#searched = Math.max(0, this.#held.length - closeTag.length);
          return false;
        }
        const block = this.#held.slice(0, end);
        this.#held = this.#held.slice(end + closeTag.length);
        this.#searched = 0;
        if (this.#state.type === "tail") pieces.push({ type: "called", index: this.#calls - 1 });
        else this.#judge(block, closeTag, pieces);
        this.#state = { type: "text" };
        return true;
      }
    }
  }

  #text(pieces: ToolPiece[]): boolean {
    const start = this.#held.indexOf(openTag);
    if (start >= 0) {
      const before = this.#held.slice(0, start).trimEnd();
      pieces.push(...content(before));
      this.#gap = this.#held.slice(before.length, start);
      this.#held = this.#held.slice(start + openTag.length);
      this.#state = { type: "header" };
      return true;
    }
    const partial = partialTag(this.#held, openTag);
    const text = this.#held.slice(0, this.#held.length - partial);
    const ready = text.length - trailingSpace(text);
    pieces.push(...content(text.slice(0, ready)));
    this.#held = this.#held.slice(ready);
    return false;
  }

  #header(pieces: ToolPiece[]): boolean {
    const found = readHeader(this.#held);
    if (found === "partial") return false;
    if (found === "other" || !this.#names.has(found.name)) {
      this.#state = { type: "whole" };
      return true;
    }
    pieces.push({ type: "call", index: this.#calls++, name: found.name });
    this.#held = this.#held.slice(found.length);
    this.#state = { type: "arguments", scanner: new ObjectScanner() };
    return true;
  }

  #arguments(scanner: ObjectScanner, pieces: ToolPiece[]): boolean {
    const { length, ended } = scanner.scan(this.#held);
    if (length > 0) {
      pieces.push({ type: "arguments", index: this.#calls - 1, text: this.#held.slice(0, length) });
      this.#held = this.#held.slice(length);
    }
    if (ended) this.#state = { type: "tail" };
    return ended;
  }

  /** A call of which no more than the name has come, if as much as that. */
  #begun(header: string): ToolPiece[] {
    const name = /^\s*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(header)?.[1];
    if (name === undefined || !this.#names.has(name)) return [];
    const index = this.#calls++;
    return [{ type: "call", index, name }, { type: "called", index }];
  }

  /** A complete block in an unusual form: a call all the same if it says which tool and with what. */
  #judge(block: string, ending: string, pieces: ToolPiece[]): void {
    const call = parsedCall(block);
    if (call === null || !this.#names.has(call.name)) {
      pieces.push(...content(this.#gap + openTag + block + ending));
      return;
    }
    const index = this.#calls++;
    pieces.push({ type: "call", index, name: call.name });
    pieces.push({ type: "arguments", index, text: call.arguments });
    pieces.push({ type: "called", index });
  }
}

function parsedCall(block: string): { readonly name: string; readonly arguments: string } | null {
  if (jsonProblem(block) !== null) return null;
  let value: unknown;
  try {
    value = JSON.parse(block);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const name: unknown = Reflect.get(value, "name");
  const args: unknown = Reflect.get(value, "arguments") ?? Reflect.get(value, "parameters") ?? {};
  if (typeof name !== "string") return null;
  if (typeof args === "string") return { name, arguments: args };
  return typeof args === "object" ? { name, arguments: JSON.stringify(args) } : null;
}

/**
 * Reads `{"name": "…", "arguments":` up to the brace of the arguments, the order in which models write it;
 * "partial" if it could still become that, "other" if not.
 */
function readHeader(text: string): { readonly name: string; readonly length: number } | "partial" | "other" {
  let at = 0;
  let name = "";
  for (const expected of ["{", '"name"', ":", "string", ",", '"arguments"', ":", "{"]) {
    at += text.length - at - text.slice(at).trimStart().length;
    if (expected === "string") {
      const string = /^"((?:[^"\\]|\\.)*)("?)/.exec(text.slice(at));
      if (string === null) return at === text.length ? "partial" : "other";
      if (string[2] === "") return "partial";
      name = string[1]!;
      at += string[0].length;
      continue;
    }
    const found = text.slice(at, at + expected.length);
    if (found !== expected) return expected.startsWith(found) ? "partial" : "other";
    at += expected.length;
  }
  return { name, length: at - 1 };
}

function content(text: string): ToolPiece[] {
  return text === "" ? [] : [{ type: "content", text }];
}
