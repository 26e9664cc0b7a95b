// The text of an answer, taken apart while it streams: reasoning first, then tool calls, the rest is content. All
// chat APIs make their own events of the same parts.

import type { FinishReason } from "../../engine/params.ts";
import { ReasoningParser } from "./parsers/reasoning.ts";
import type { StreamParser } from "./parsers/streaming.ts";
import type { ToolFormat, ToolPiece, ToolSpec } from "./parsers/tool_format.ts";

/** How an answer's text is taken apart. */
export interface AnswerParsing {
  /** Null: leave reasoning in the content. `open`: the prompt ends inside a reasoning block. */
  readonly reasoning: { readonly open: boolean } | null;
  /** The tools and how calls of them look; null: leave tool calls in the content. */
  readonly tools: { readonly format: ToolFormat; readonly specs: readonly ToolSpec[] } | null;
  /** The part of a forced tool call that stands in the prompt. */
  readonly start: string;
  /** False ends the answer behind the first call. */
  readonly parallelToolCalls: boolean;
}

/** A part of an answer: text of a kind, or something about a call. */
export type AnswerPart = ToolPiece;

/** Takes one answer apart. */
export class AnswerParser {
  readonly #reasoning: ReasoningParser | null;
  readonly #tools: StreamParser<ToolPiece> | null;
  readonly #parallel: boolean;
  /** Thoughts are content. */
  readonly #merged: boolean;
  /** What the beginning that stands in the prompt has made certain: at most a call and its opening brace. */
  #begun: readonly ToolPiece[];
  #done = false;
  #calls = 0;
  #reasoningTokens = 0;

  /** Nothing is pushed yet. */
  constructor(parsing: AnswerParsing) {
    // A forced tool call leaves no room for thoughts before it.
    this.#merged = parsing.reasoning === null;
    const whole = parsing.tools?.format.answerStart !== undefined;
    this.#reasoning = parsing.reasoning && parsing.start === "" && !whole
      ? new ReasoningParser(parsing.reasoning.open)
      : null;
    this.#tools = parsing.tools && parsing.tools.format.parser(parsing.tools.specs);
    this.#parallel = parsing.parallelToolCalls;
    this.#begun = this.#tools?.push(parsing.start) ?? [];
  }

  /** True when nothing that still comes can change the answer: one call was allowed, and it is complete. */
  get done(): boolean {
    return this.#done;
  }

  /** Number of calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /** Tokens that came inside the reasoning block. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  /** The parts that a piece of text makes certain; with the end of the answer also what was held back. */
  push(text: string, finish: FinishReason | null, tokens = 0): AnswerPart[] {
    const parts: AnswerPart[] = [];
    if (this.#done) return parts;
    this.#add(this.#begun, parts);
    this.#begun = [];
    const thinking = this.#reasoning?.inside ?? false;
    const pieces = this.#reasoning === null
      ? [{ type: "content" as const, text }]
      : [...this.#reasoning.push(text), ...(finish !== null ? this.#reasoning.end() : [])];
    if (thinking || this.#reasoning?.inside) this.#reasoningTokens += tokens;
    for (const piece of pieces) {
      if (piece.type === "reasoning") parts.push({ type: "reasoning", text: piece.text });
      else if (this.#tools === null) parts.push({ type: "content", text: piece.text });
      else this.#add(this.#tools.push(piece.text), parts);
    }
    if (finish !== null) this.#add(this.#tools?.end(finish.type !== "stop") ?? [], parts);
    if (this.#reasoning === null && parts.some(({ type }) => type === "reasoning")) {
      this.#reasoningTokens += tokens;
    }
    return parts.filter((part) => !("text" in part) || part.text !== "");
  }

  #add(pieces: readonly ToolPiece[], parts: AnswerPart[]): void {
    for (const piece of pieces) {
      if (this.#done) return;
      parts.push(piece.type === "reasoning" && this.#merged ? { ...piece, type: "content" } : piece);
      if (piece.type === "call") this.#calls++;
      if (piece.type === "called") this.#done = !this.#parallel;
    }
  }
}
