// Splits `<think>…</think>` off an answer while it streams (Qwen3, DeepSeek-R1 and their kin). The split is a
// function of the whole text alone: however it is cut into pieces, the same reasoning and content come out.
//
// Only a block at the very beginning is reasoning; later tags are text. White space at both ends of the block, and
// before the content that follows it, belongs to neither.

import { partialTag, trailingSpace } from "./hold_back.ts";

const openTag = "<think>";
const closeTag = "</think>";

/** A run of text of one kind. */
export interface ReasoningPiece {
  /** Which kind. */
  readonly type: "reasoning" | "content";
  /** Never empty. */
  readonly text: string;
}

type State =
  /** Nothing but white space and perhaps a part of the opening tag so far. */
  | "start"
  /** Inside the block; `#seen` tells whether anything but white space has come. */
  | "reasoning"
  /** Behind the block, before any content. */
  | "between"
  | "content";

/** Takes a leading `<think>` block off a text that comes in pieces. */
export class ReasoningParser {
  #state: State;
  /** Text not yet given out. */
  #held = "";
  #seen = false;

  /**
   * Nothing is pushed yet.
   * @param open The prompt ends with an opening tag, so the answer begins inside the block.
   */
  constructor(open: boolean) {
    this.#state = open ? "reasoning" : "start";
  }

  /** Whether the text so far ends inside the block. */
  get inside(): boolean {
    return this.#state === "reasoning";
  }

  /** Takes in a piece and returns what it makes certain. */
  push(text: string): ReasoningPiece[] {
    this.#held += text;
    const pieces: ReasoningPiece[] = [];
    while (this.#step(pieces));
    return pieces;
  }

  /** What is left when the answer is over. */
  end(): ReasoningPiece[] {
    const rest = this.#held;
    this.#held = "";
    switch (this.#state) {
      case "start":
      case "content":
        return piece("content", rest);
      case "reasoning":
        return piece("reasoning", rest.trimEnd());
      case "between":
        return [];
    }
  }

  /** One move; false when more text is needed. */
  #step(pieces: ReasoningPiece[]): boolean {
    switch (this.#state) {
      case "start": {
        const text = this.#held.trimStart();
        if (text.startsWith(openTag)) {
          this.#held = text.slice(openTag.length);
          this.#state = "reasoning";
          return true;
        }
        if (openTag.startsWith(text)) return false;
        this.#state = "content";
        return true;
      }
      case "reasoning": {
        if (!this.#seen) {
          this.#held = this.#held.trimStart();
          // An opening tag repeated although the prompt had it already.
          if (this.#held.startsWith(openTag)) {
            this.#held = this.#held.slice(openTag.length);
            return true;
          }
          if (openTag.startsWith(this.#held)) return false;
        }
        const end = this.#held.indexOf(closeTag);
        if (end >= 0) {
          pieces.push(...piece("reasoning", this.#held.slice(0, end).trimEnd()));
          this.#held = this.#held.slice(end + closeTag.length);
          this.#state = "between";
          return true;
        }
        const partial = partialTag(this.#held, closeTag);
        const body = this.#held.slice(0, this.#held.length - partial);
        const ready = body.length - trailingSpace(body);
        if (ready === 0) return false;
        this.#seen = true;
        pieces.push(...piece("reasoning", this.#held.slice(0, ready)));
        this.#held = this.#held.slice(ready);
        return false;
      }
      case "between": {
        this.#held = this.#held.trimStart();
        if (this.#held === "") return false;
        this.#state = "content";
        return true;
      }
      case "content": {
        pieces.push(...piece("content", this.#held));
        this.#held = "";
        return false;
      }
    }
  }
}

function piece(type: ReasoningPiece["type"], text: string): ReasoningPiece[] {
  return text === "" ? [] : [{ type, text }];
}
