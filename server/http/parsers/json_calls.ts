// Calls whose arguments are a JSON object behind a header that names the tool, in the forms of Llama 3, Mistral and
// DeepSeek-V3. The forms differ in their brackets alone; the machine is the same.
//
// A header that is none, or that names no known tool, is text, and what follows it is read as text again.

import { partialTag, trailingSpace } from "./hold_back.ts";
import { ObjectScanner } from "./json_scanner.ts";
import { matchAny, type Step } from "./sequence.ts";
import type { CallParser, ToolFormat, ToolPiece } from "./tool_format.ts";

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

type State =
  | { readonly type: "text" | "header" | "tail" }
  | { readonly type: "arguments"; readonly scanner: ObjectScanner };

class JsonCallParser implements CallParser {
  readonly #brackets: Brackets;
  readonly #names: ReadonlySet<string>;
  #state: State = { type: "text" };
  #held = "";
  /** What stands before the header and is text if the header is none. */
  #before = "";
  #calls = 0;
  #anyText = false;

  constructor(brackets: Brackets, names: Iterable<string>) {
    this.#brackets = brackets;
    this.#names = new Set(names);
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

  end(): ToolPiece[] {
    const pieces: ToolPiece[] = [];
    const rest = this.#held;
    this.#held = "";
    switch (this.#state.type) {
      case "text":
        if (this.#calls === 0 || rest.trim() !== "") this.#content(rest, pieces);
        break;
      case "header":
        this.#content(this.#before + rest, pieces);
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
        return this.#brackets.open === null
          ? this.#bareText(pieces)
          : this.#text(this.#brackets.open, pieces);
      case "header": {
        const found = matchAny(this.#held, this.#brackets.headers);
        if (found === "partial") return false;
        if (found === "other" || !this.#names.has(found.caught)) {
          this.#content(this.#before, pieces);
          this.#anyText = true;
          this.#state = { type: "text" };
          return true;
        }
        pieces.push({ type: "call", index: this.#calls++, name: found.caught });
        this.#held = this.#held.slice(found.length - 1);
        this.#state = { type: "arguments", scanner: new ObjectScanner() };
        return true;
      }
      case "arguments": {
        const { length, ended } = this.#state.scanner.scan(this.#held);
        const text = this.#held.slice(0, length);
        if (text !== "") pieces.push({ type: "arguments", index: this.#calls - 1, text });
        this.#held = this.#held.slice(length);
        if (ended) this.#state = { type: "tail" };
        return ended;
      }
      case "tail": {
        const { next, last } = this.#brackets;
        const found = matchAny(this.#held, [...next, ...last]);
        if (found === "partial") return false;
        pieces.push({ type: "called", index: this.#calls - 1 });
        const goesOn = found !== "other" && found.pattern < next.length;
        const begun = goesOn ? next[found.pattern]!.at(-1)!.length : 0;
        const taken = found === "other" ? 0 : found.length - begun;
        this.#before = this.#held.slice(0, taken);
        this.#held = this.#held.slice(taken);
        this.#state = { type: goesOn ? "header" : "text" };
        return true;
      }
    }
  }

  #text(open: string, pieces: ToolPiece[]): boolean {
    const start = this.#held.indexOf(open);
    if (start >= 0) {
      const before = this.#held.slice(0, start).trimEnd();
      this.#content(before, pieces);
      this.#before = this.#held.slice(before.length, start + open.length);
      this.#held = this.#held.slice(start + open.length);
      this.#state = { type: "header" };
      return true;
    }
    const text = this.#held.slice(0, this.#held.length - partialTag(this.#held, open));
    const ready = text.length - trailingSpace(text);
    this.#content(text.slice(0, ready), pieces);
    this.#held = this.#held.slice(ready);
    return false;
  }

  /** Calls without an opening bracket: only as long as nothing else has been said. */
  #bareText(pieces: ToolPiece[]): boolean {
    if (!this.#anyText) {
      const lead = /^[\s;]*(?:<\|python_tag\|>)?\s*/.exec(this.#held)![0];
      const rest = this.#held.slice(lead.length);
      if (rest.startsWith("{")) {
        this.#before = lead;
        this.#held = rest;
        this.#state = { type: "header" };
        return true;
      }
      if ("<|python_tag|>".startsWith(rest)) return false;
    }
    this.#content(this.#held, pieces);
    this.#held = "";
    return false;
  }

  #content(text: string, pieces: ToolPiece[]): void {
    if (text === "") return;
    if (text.trim() !== "") this.#anyText = true;
    pieces.push({ type: "content", text });
  }
}

const jsonHeader = (
  field: string,
): readonly Step[] => ["{", '"name"', ":", { catch: "string" }, ",", `"${field}"`, ":", "{"];

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
  parser: (tools) => new JsonCallParser(llamaBrackets, tools.map((tool) => tool.name)),
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
  parser: (tools) => new JsonCallParser(mistralBrackets, tools.map((tool) => tool.name)),
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
  parser: (tools) => new JsonCallParser(deepseekBrackets, tools.map((tool) => tool.name)),
};
