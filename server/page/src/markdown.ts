// Markdown as it streams, cut into top-level blocks. New text can only change the last block, so only that one is
// parsed again; the others keep their trees, and with them their elements. Of a list or table only the last item or row
// can change, and of a fenced block that is still open nothing is parsed: whatever comes is code until the fence
// closes. So a frame's work does not grow with the answer.

import type { Code, List, RootContent, Table } from "mdast";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { mathFromMarkdown } from "mdast-util-math";
import { gfm } from "micromark-extension-gfm";
import { math } from "micromark-extension-math";

/** One block; a finished one is never changed. */
export interface Block {
  /** Its tree; the text itself where it is too long to be parsed while frames are drawn. */
  readonly node: RootContent | string;
  /** More may come. */
  readonly open: boolean;
}

/** Characters that are parsed at once. A block that is longer, and neither code nor list nor table, is plain text. */
const longestParsed = 16384;
/** The same when no more will come. */
const longestFinished = 32768;
/** Items of a list, or rows of a table, after which those that are finished are not parsed again. */
const fewChildren = 8;
const blankLines = /^(?:[ \t]*\n)+/;
const fenceBegins = /^ {0,3}(`{3,}|~{3,})([^\n]*)(?:\n|$)/;

/** The blocks of a text that grows. */
export class MarkdownBlocks {
  #text = "";
  #done: Block[] = [];
  /** Where the block that is not finished begins, or the last item or row of `#begun`. */
  #start = 0;
  /** The finished items or rows of a list or table that goes on. */
  #begun: List | Table | null = null;
  /** The lines that make more rows a table. */
  #head = "";

  /** The blocks of `text`; `finished` says that no more will come. */
  update(text: string, finished: boolean): readonly Block[] {
    if (!text.startsWith(this.#text)) {
      this.#done = [];
      this.#start = 0;
      this.#begun = null;
    }
    this.#text = text;
    while (this.#start < text.length) {
      if (this.#begun === null) this.#start += blankLines.exec(text.slice(this.#start))?.[0].length ?? 0;
      const tail = text.slice(this.#start);
      const fence = this.#begun === null ? fenceBegins.exec(tail) : null;
      const last = fence ? this.#code(tail, fence, finished) : this.#parse(tail, finished);
      if (last !== null) return finished ? this.#finish(last) : [...this.#done, ...last];
    }
    return this.#done;
  }

  #finish(last: readonly Block[]): readonly Block[] {
    this.#done = [...this.#done, ...last.map((block) => ({ ...block, open: false }))];
    this.#start = this.#text.length;
    this.#begun = null;
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
    if (closed === null) return [{ node, open: true }];
    this.#done = [...this.#done, { node, open: false }];
    this.#start += end + closed[0].length;
    return null;
  }

  /** Moves all blocks but the last to the finished ones and gives that; null if there is more behind it. */
  #parse(tail: string, finished: boolean): readonly Block[] | null {
    const longest = finished ? longestFinished : longestParsed;
    const head = this.#begun?.type === "table" ? this.#head : "";
    const source = head + tail.slice(0, longest);
    const nodes = parseMarkdown(source);
    const joined = this.#joined(nodes);
    const fenced = nodes.findIndex((node) =>
      node.type === "code" && fenceBegins.test(source.slice(node.position!.start.offset))
    );
    // A fence has its own way, and what is longer than what was parsed is parsed on.
    const more = fenced > 0 || tail.length > longest;
    const last = fenced > 0 ? fenced : nodes.length - 1;
    if (last > 0) {
      this.#done = [...this.#done, ...joined.slice(0, last).map((node) => ({ node, open: false }))];
      this.#start += nodes[last]!.position!.start.offset! - head.length;
      this.#begun = null;
      return more ? null : [{ node: joined[last]!, open: true }];
    }
    const went = nodes[0] !== undefined && this.#begin(nodes[0], joined[0]!, source, head.length);
    if (!more) return joined.map((node) => ({ node, open: true }));
    return went ? null : this.#plain(tail, longest);
  }

  /** The nodes of a text that begins with the next item or row of `#begun`, which is joined with those before. */
  #joined(nodes: readonly RootContent[]): readonly RootContent[] {
    const begun = this.#begun;
    const [first, ...others] = nodes;
    if (begun?.type === "list" && first?.type === "list") {
      return [{ ...begun, children: [...begun.children, ...first.children] }, ...others];
    }
    if (begun?.type === "table" && first?.type === "table") {
      return [{ ...begun, children: [...begun.children, ...first.children.slice(1)] }, ...others];
    }
    if (begun !== null) this.#done = [...this.#done, { node: begun, open: false }];
    this.#begun = null;
    return nodes;
  }

  /** Leaves the items or rows of a long list or table behind, all but two: the last may yet belong to the other. */
  #begin(node: RootContent, joined: RootContent, source: string, head: number): boolean {
    if (node.type !== "list" && node.type !== "table" || node.children.length <= fewChildren) return false;
    const next = source.lastIndexOf("\n", node.children.at(-2)!.position!.start.offset! - 1) + 1;
    if (node.type === "table") this.#head = source.slice(0, node.children[1]!.position!.start.offset);
    this.#begun = { ...joined, children: (joined as typeof node).children.slice(0, -2) } as List | Table;
    this.#start += next - head;
    return true;
  }

  /** A block that is too long to be parsed, or what there is of it. */
  #plain(tail: string, longest: number): readonly Block[] | null {
    if (this.#begun !== null) this.#done = [...this.#done, { node: this.#begun, open: false }];
    this.#begun = null;
    const before = tail.lastIndexOf("\n\n", longest);
    const cut = before > 0 ? before : tail.indexOf("\n\n", longest);
    if (cut < 0) return [{ node: tail, open: true }];
    this.#done = [...this.#done, { node: tail.slice(0, cut), open: false }];
    this.#start += cut;
    return null;
  }
}

/** The blocks of a whole text, with GitHub's tables, task lists and autolinks, and with TeX left alone. */
function parseMarkdown(text: string): readonly RootContent[] {
  return fromMarkdown(text, {
    extensions: [gfm(), math()],
    mdastExtensions: [gfmFromMarkdown(), mathFromMarkdown()],
  }).children;
}
