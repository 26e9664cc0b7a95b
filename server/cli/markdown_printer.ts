// Prints markdown as it comes. A block that is still growing stands there as it is written; when it is complete, it is
// taken back and printed as it is meant. Lines end between words: a word that reaches the edge while it grows is taken to
// the next line. A block higher than the window stays as it is, for it cannot be taken back.

import type { Token } from "marked";
import stringWidth from "string-width";
import { blocksOf, harmless, renderBlock, splitLast, wrapped } from "./markdown.ts";
import type { WindowSize } from "./terminal.ts";

/** Prints one answer. */
export class MarkdownPrinter {
  readonly #write: (text: string) => void;
  readonly #size: () => WindowSize;
  /** Text of the block that is not complete. */
  #tail = "";
  /** What of it stands in the window. */
  #shown = "";
  #first = true;

  /** `size` is asked anew each time, because a window can change. */
  constructor(write: (text: string) => void, size: () => WindowSize) {
    this.#write = write;
    this.#size = size;
  }

  /** The next piece of the answer. */
  push(text: string): void {
    this.#tail += harmless(text);
    const { done, rest } = splitLast(this.#tail);
    if (done.length > 0) {
      this.#finish(done);
      this.#tail = rest;
    }
    this.#show(this.#tail.trim());
  }

  /** No more will come; ends the line. */
  end(): void {
    this.#finish(blocksOf(this.#tail));
    if (this.#first) this.#write("\n");
    this.#tail = "";
  }

  /** Blocks that are complete; the growing one is the first of them. */
  #finish(blocks: readonly Token[]): void {
    const [growing, ...others] = blocks;
    if (growing === undefined) return;
    if (this.#takeBack()) this.#print(growing);
    else {
      this.#show(growing.raw.trim());
      this.#write("\n");
      this.#first = false;
      this.#shown = "";
    }
    for (const block of others) this.#print(block);
  }

  /** The growing block as it is written so far. */
  #show(text: string): void {
    const wanted = wrapped(text, this.#size().columns);
    const lastLine = this.#shown.lastIndexOf("\n") + 1;
    let from = 0;
    if (wanted.startsWith(this.#shown)) from = this.#shown.length;
    else if (wanted.startsWith(this.#shown.slice(0, lastLine))) {
      this.#write("\r\x1b[J");
      from = lastLine;
    } else if (!this.#takeBack()) this.#write("\n");
    if (this.#shown === "" && wanted !== "" && !this.#first) this.#write("\n");
    this.#write(wanted.slice(from));
    this.#shown = wanted;
  }

  #print(block: Token): void {
    this.#write(`${this.#first ? "" : "\n"}${renderBlock(block, this.#size().columns)}\n`);
    this.#first = false;
  }

  /** Clears the growing block and the empty line above it; false, and nothing happens, where it is too high for that. */
  #takeBack(): boolean {
    if (this.#shown === "") return true;
    const { columns, rows } = this.#size();
    const height = this.#shown.split("\n")
      .reduce((sum, line) => sum + Math.max(1, Math.ceil(stringWidth(line) / columns)), 0);
    const up = height - 1 + (this.#first ? 0 : 1);
    if (up >= rows) return false;
    this.#write(`\r${up > 0 ? `\x1b[${up}A` : ""}\x1b[J`);
    this.#shown = "";
    return true;
  }
}
