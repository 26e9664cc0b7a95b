// Markdown as it streams, cut into top-level blocks. New text can only change the last block, so only that one is
// parsed again; the others keep their trees, and with them their elements. A fenced block that is still open is not
// parsed at all: whatever comes is code until the fence closes. So a frame's work does not grow with the answer.

import type { Code, RootContent } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { mathFromMarkdown } from "mdast-util-math";
import { gfm } from "micromark-extension-gfm";
import { math } from "micromark-extension-math";

/** One block; a finished one is never changed. */
export interface Block {
  /** Its tree; null for a text too long to be parsed while frames are drawn, which is shown as it is. */
  readonly node: RootContent | null;
  /** Its text. */
  readonly source: string;
  /** More may come. */
  readonly open: boolean;
}

/** Characters of one block that are parsed again for each frame; longer blocks are plain text. */
const longestParsed = 16384;
const fenceBegins = /^ {0,3}(`{3,}|~{3,})([^\n]*)(?:\n|$)/;

/** The blocks of a text that grows. */
export class MarkdownBlocks {
  #text = "";
  #done: Block[] = [];
  /** Where the block that is not finished begins. */
  #start = 0;

  /** The blocks of `text`; `finished` says that no more will come. */
  update(text: string, finished: boolean): readonly Block[] {
    if (!text.startsWith(this.#text)) {
      this.#done = [];
      this.#start = 0;
    }
    this.#text = text;
    while (this.#start < text.length) {
      const tail = text.slice(this.#start);
      const fence = fenceBegins.exec(tail);
      const last = fence ? this.#code(tail, fence, finished) : this.#parse(tail);
      if (last !== null) return finished ? this.#finish(last) : [...this.#done, ...last];
    }
    return this.#done;
  }

  #finish(last: readonly Block[]): readonly Block[] {
    this.#done = [...this.#done, ...last.map((block) => ({ ...block, open: false }))];
    this.#start = this.#text.length;
    return this.#done;
  }

  /** Takes a closed block of code off the tail (null), or gives the open one. */
  #code(tail: string, [opening, fence, info]: RegExpExecArray, finished: boolean): readonly Block[] | null {
    const closing = new RegExp(
      `\n {0,3}\\${fence![0]}{${fence!.length},}[ \t]*(?:\n${finished ? "|$" : ""})`,
    );
    // From the line end of the opening on, so that an empty block closes too.
    const closed = closing.exec(tail.slice(opening.length - 1));
    const end = closed ? opening.length - 1 + closed.index : tail.length;
    const node: Code = {
      type: "code",
      lang: info!.trim().split(/\s/)[0] ?? "",
      value: tail.slice(opening.length, Math.max(opening.length, end)),
    };
    if (closed === null) return [{ node, source: tail, open: true }];
    const length = end + closed[0].length;
    this.#done = [...this.#done, { node, source: tail.slice(0, length), open: false }];
    this.#start += length;
    return null;
  }

  /** Moves all blocks but the last to the finished ones; null if a fence follows, which has its own way. */
  #parse(tail: string): readonly Block[] | null {
    if (tail.length > longestParsed) {
      const cut = tail.lastIndexOf("\n\n");
      if (cut <= 0) return [{ node: null, source: tail, open: true }];
      this.#done = [...this.#done, { node: null, source: tail.slice(0, cut), open: false }];
      this.#start += cut + 2;
      return null;
    }
    const nodes = parseMarkdown(tail);
    const blocks = nodes.map((node): Block => ({
      node,
      source: tail.slice(node.position!.start.offset, node.position!.end.offset),
      open: false,
    }));
    const fenced = nodes.findIndex((node, i) => node.type === "code" && fenceBegins.test(blocks[i]!.source));
    const finished = fenced > 0 ? fenced : nodes.length - 1;
    if (finished > 0) {
      this.#done = [...this.#done, ...blocks.slice(0, finished)];
      this.#start += nodes[finished]!.position!.start.offset!;
      if (fenced > 0) return null;
    }
    return blocks.slice(-1).map((block) => ({ ...block, open: true }));
  }
}

/** The blocks of a whole text, with GitHub's tables, task lists and autolinks, and with TeX left alone. */
function parseMarkdown(text: string): readonly RootContent[] {
  return fromMarkdown(text, {
    extensions: [gfm(), math()],
    mdastExtensions: [gfmFromMarkdown(), mathFromMarkdown()],
  }).children;
}
