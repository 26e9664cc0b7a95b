// Prints markdown as it comes. A block that is still growing stands there as it is written; when it is complete, it is
// taken back and printed as it is meant. Lines end between words: a word that reaches the edge while it grows is taken to
// the next line. A block higher than the window stays as it is, for it cannot be taken back.

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
      this.#takeBack();
      for (const block of done) this.#print(renderBlock(block, this.#size().columns));
      this.#tail = rest;
    }
    const wanted = wrapped(this.#tail.trimStart(), this.#size().columns);
    const lastLine = this.#shown.lastIndexOf("\n") + 1;
    let from = 0;
    if (wanted.startsWith(this.#shown)) from = this.#shown.length;
    else if (wanted.startsWith(this.#shown.slice(0, lastLine))) {
      this.#write("\r\x1b[J");
      from = lastLine;
    } else this.#takeBack();
    if (this.#shown === "" && wanted !== "" && !this.#first) this.#write("\n");
    this.#write(wanted.slice(from));
    this.#shown = wanted;
  }

  /** No more will come; ends the line. */
  end(): void {
    const blocks = blocksOf(this.#tail);
    this.#takeBack();
    for (const block of blocks) this.#print(renderBlock(block, this.#size().columns));
    if (this.#first) this.#write("\n");
    this.#tail = "";
  }

  #print(text: string): void {
    this.#write(`${this.#first ? "" : "\n"}${text}\n`);
    this.#first = false;
  }

  /** Clears the growing block and the empty line above it; too high a block is left, and ended. */
  #takeBack(): void {
    if (this.#shown === "") return;
    const { columns, rows } = this.#size();
    const height = this.#shown.split("\n")
      .reduce((sum, line) => sum + Math.max(1, Math.ceil(stringWidth(line) / columns)), 0);
    const up = height - 1 + (this.#first ? 0 : 1);
    if (up >= rows) this.#write("\n");
    else this.#write(`\r${up > 0 ? `\x1b[${up}A` : ""}\x1b[J`);
    this.#shown = "";
  }
}
