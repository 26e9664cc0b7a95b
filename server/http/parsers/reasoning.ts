// Splits `<think>…</think>` off an answer while it streams (Qwen3, DeepSeek-R1 and their kin). The split is a
// function of the whole text alone: however it is cut into pieces, the same reasoning and content come out.
//
// Only a block at the very beginning is reasoning; later tags are text. White space at both ends of the block, and
// before the content that follows it, belongs to neither.

import { content, restAsContent } from "./call_pieces.ts";
import { certainLength, type Incoming, StreamParser } from "./streaming.ts";
import type { TextPiece } from "./tool_format.ts";

const openTag = "<think>";
const closeTag = "</think>";

/** Takes a leading `<think>` block off a text that comes in pieces. */
export class ReasoningParser {
  readonly #parser = new StreamParser<TextPiece>((text) => this.#split(text));
  #inside: boolean;

  /**
   * Nothing is pushed yet.
   * @param open The prompt ends with an opening tag, so the answer begins inside the block.
   */
  constructor(open: boolean) {
    this.#inside = open;
  }

  /** Whether the text so far ends inside the block. */
  get inside(): boolean {
    return this.#inside;
  }

  /** Takes in a piece and returns what it makes certain. */
  push(text: string): TextPiece[] {
    return this.#parser.push(text);
  }

  /** What is left when the answer is over. */
  end(): TextPiece[] {
    return this.#parser.end();
  }

  *#split(text: Incoming): Generator<TextPiece | null, void> {
    if (!this.#inside) {
      this.#inside = yield* opened(text);
      if (!this.#inside) return yield* restAsContent(text);
    }
    // An opening tag may be repeated although the prompt had it already.
    while (yield* opened(text));
    text.held = text.held.trimStart();
    let end: number;
    while ((end = text.held.indexOf(closeTag)) < 0 && !text.over) {
      yield* content(text.take(certainLength(text.held, [closeTag])), "reasoning");
      yield null;
    }
    yield* content(text.take(end < 0 ? undefined : end).trimEnd(), "reasoning");
    this.#inside = end < 0;
    text.take(closeTag.length);
    while ((text.held = text.held.trimStart()) === "" && !text.over) yield null;
    yield* restAsContent(text);
  }
}

/** Takes an opening tag, and white space before it, if that is what comes. */
function* opened(text: Incoming): Generator<null, boolean> {
  for (;; yield null) {
    const trimmed = text.held.trimStart();
    if (trimmed.startsWith(openTag)) {
      text.held = trimmed.slice(openTag.length);
      return true;
    }
    if (text.over || !openTag.startsWith(trimmed)) return false;
  }
}
