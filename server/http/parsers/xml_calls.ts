// Qwen3-Coder's calls: `<tool_call><function=name><parameter=key>value</parameter>…</function></tool_call>`. Values
// are bare text; the tool's schema tells which of them are strings. Arguments come out as JSON: a string while it is
// written, any other value when it is complete.

import { partialTag, trailingSpace } from "./hold_back.ts";
import type { CallParser, ToolFormat, ToolPiece, ToolSpec } from "./tool_format.ts";
import { matchAny } from "./sequence.ts";

const blockOpen = "<tool_call>", blockClose = "</tool_call>";
const functionOpen = "<function=", functionClose = "</function>";
const parameterOpen = "<parameter=", parameterClose = "</parameter>";

type State =
  | { readonly type: "text" }
  /** Behind the opening tag; `before` is text if it opens no call. */
  | { readonly type: "header"; readonly before: string }
  /** Between parameters. */
  | { readonly type: "call" }
  /** In a value; `begun` once its opening quote is out. */
  | { readonly type: "value"; readonly isString: boolean; readonly begun: boolean }
  | { readonly type: "tail" };

class XmlCallParser implements CallParser {
  readonly #tools: ReadonlyMap<string, ToolSpec>;
  #state: State = { type: "text" };
  #held = "";
  #calls = 0;
  #tool: ToolSpec | null = null;
  #parameters = 0;

  constructor(tools: readonly ToolSpec[]) {
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]));
  }

  get calls(): number {
    return this.#calls;
  }

  push(text: string): ToolPiece[] {
    this.#held += text;
    const pieces: ToolPiece[] = [];
    while (this.#step(pieces));
    return pieces;
  }

  end(cut = false): ToolPiece[] {
    const pieces: ToolPiece[] = [];
    const rest = this.#held;
    this.#held = "";
    switch (this.#state.type) {
      case "text":
        if (this.#calls === 0 || rest.trim() !== "") content(rest, pieces);
        break;
      case "header":
        content(this.#state.before + rest, pieces);
        break;
      case "value":
        // Cut off inside a value: what there is of it counts.
        if (this.#state.isString) this.#arguments(escaped(withoutEnd(rest)), pieces);
        pieces.push({ type: "called", index: this.#calls - 1 });
        break;
      case "call":
        if (!cut) this.#arguments("}", pieces);
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
        return this.#header(this.#state.before, pieces);
      case "call":
        return this.#between(pieces);
      case "value":
        return this.#value(this.#state, pieces);
      case "tail": {
        const found = matchAny(this.#held, [[blockClose]]);
        if (found === "partial") return false;
        if (found !== "other") this.#held = this.#held.slice(found.length);
        this.#state = { type: "text" };
        return true;
      }
    }
  }

  /** Models leave the outer tag out at times. */
  #text(pieces: ToolPiece[]): boolean {
    const places = [blockOpen, functionOpen].map((tag) => this.#held.indexOf(tag)).filter((at) => at >= 0);
    if (places.length > 0) {
      const start = Math.min(...places);
      const before = this.#held.slice(0, start).trimEnd();
      content(before, pieces);
      const outer = this.#held.startsWith(blockOpen, start) ? blockOpen : "";
      this.#state = { type: "header", before: this.#held.slice(before.length, start) + outer };
      this.#held = this.#held.slice(start + outer.length);
      return true;
    }
    const held = Math.max(partialTag(this.#held, blockOpen), partialTag(this.#held, functionOpen));
    const text = this.#held.slice(0, this.#held.length - held);
    const ready = text.length - trailingSpace(text);
    content(text.slice(0, ready), pieces);
    this.#held = this.#held.slice(ready);
    return false;
  }

  #header(before: string, pieces: ToolPiece[]): boolean {
    const found = matchAny(this.#held, [[functionOpen, { catch: "word" }, ">"]]);
    if (found === "partial") return false;
    const tool = found === "other" ? undefined : this.#tools.get(found.caught);
    if (found === "other" || tool === undefined) {
      // At least one character is text, or the same tag would be read again.
      const taken = before.trim() === "" ? 1 : 0;
      content(before + this.#held.slice(0, taken), pieces);
      this.#held = this.#held.slice(taken);
      this.#state = { type: "text" };
      return true;
    }
    this.#tool = tool;
    this.#parameters = 0;
    pieces.push({ type: "call", index: this.#calls++, name: tool.name });
    this.#arguments("{", pieces);
    this.#held = this.#held.slice(found.length);
    this.#state = { type: "call" };
    return true;
  }

  #between(pieces: ToolPiece[]): boolean {
    this.#held = this.#held.trimStart();
    if (this.#held.startsWith(parameterOpen)) {
      const end = this.#held.indexOf(">");
      if (end < 0) return false;
      const key = this.#held.slice(parameterOpen.length, end);
      this.#held = this.#held.slice(end + 1);
      this.#arguments(`${this.#parameters++ > 0 ? ", " : ""}${JSON.stringify(key)}: `, pieces);
      this.#state = { type: "value", isString: isString(this.#tool!, key), begun: false };
      return true;
    }
    if (
      parameterOpen.startsWith(this.#held) ||
      functionClose.startsWith(this.#held) && this.#held !== functionClose
    ) {
      return false;
    }
    if (this.#held.startsWith(functionClose)) this.#held = this.#held.slice(functionClose.length);
    // Anything else ends the call, too: it cannot be gone on with.
    this.#arguments("}", pieces);
    pieces.push({ type: "called", index: this.#calls - 1 });
    this.#state = { type: "tail" };
    return true;
  }

  #value({ isString, begun }: State & { type: "value" }, pieces: ToolPiece[]): boolean {
    if (!begun) {
      if (this.#held === "") return false;
      if (this.#held.startsWith("\n")) this.#held = this.#held.slice(1);
      if (isString) this.#arguments('"', pieces);
      this.#state = { type: "value", isString, begun: true };
      return true;
    }
    const end = this.#held.indexOf(parameterClose);
    if (end >= 0) {
      const text = this.#held.slice(0, end).replace(/\n$/, "");
      this.#held = this.#held.slice(end + parameterClose.length);
      this.#arguments(isString ? `${escaped(text)}"` : jsonOf(text), pieces);
      this.#state = { type: "call" };
      return true;
    }
    if (!isString) return false;
    const ready = withoutEnd(this.#held);
    this.#arguments(escaped(ready), pieces);
    this.#held = this.#held.slice(ready.length);
    return false;
  }

  #arguments(text: string, pieces: ToolPiece[]): void {
    if (text !== "") pieces.push({ type: "arguments", index: this.#calls - 1, text });
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

function content(text: string, pieces: ToolPiece[]): void {
  if (text !== "") pieces.push({ type: "content", text });
}

/** Qwen3-Coder. */
export const qwen3Coder: ToolFormat = {
  name: "qwen3-coder",
  matches: (template) => template.includes(functionOpen) && template.includes(parameterOpen),
  specialTags: false,
  start: (name) => `${blockOpen}\n${functionOpen}` + (name === null ? "" : `${name}>\n`),
  parser: (tools) => new XmlCallParser(tools),
};
