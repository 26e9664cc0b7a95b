// Markdown in the terminal: what it looks like, and that what stands there in the end does not depend on how the answer
// came.

import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { blocksOf, renderBlock } from "../../../server/cli/markdown.ts";
import { MarkdownPrinter } from "../../../server/cli/markdown_printer.ts";

const rendered = (text: string, width = 80) =>
  blocksOf(text).map((block) => renderBlock(block, width)).join("\n\n");
const plain = (text: string, width?: number) => stripVTControlCharacters(rendered(text, width));

/** A window without an upper end that knows the three sequences the printer uses. */
class Screen {
  readonly lines = [""];
  #row = 0;
  #column = 0;
  readonly columns: number;

  constructor(columns: number) {
    this.columns = columns;
  }

  write(text: string): void {
    // deno-lint-ignore no-control-regex
    for (const [part] of text.matchAll(/\x1b\[(\d*)([A-Za-z])|[^]/gu)) {
      // deno-lint-ignore no-control-regex
      const up = /^\x1b\[(\d+)A$/.exec(part);
      if (up) this.#row -= Number(up[1]);
      else if (part === "\x1b[J") {
        this.lines.length = this.#row + 1;
        this.lines[this.#row] = this.lines[this.#row]!.slice(0, this.#column);
      } else if (part.startsWith("\x1b")) continue;
      else if (part === "\r") this.#column = 0;
      else if (part === "\n") this.#newLine();
      else {
        if (this.#column === this.columns) this.#newLine();
        const line = this.lines[this.#row]!.padEnd(this.#column);
        this.lines[this.#row] = line.slice(0, this.#column) + part + line.slice(this.#column + 1);
        this.#column++;
      }
    }
  }

  #newLine(): void {
    this.#row++;
    this.#column = 0;
    this.lines[this.#row] ??= "";
  }
}

function printed(pieces: readonly string[], columns: number, rows = 1000): string {
  const screen = new Screen(columns);
  const printer = new MarkdownPrinter((text) => screen.write(text), () => ({ columns, rows }));
  for (const piece of pieces) printer.push(piece);
  printer.end();
  return screen.lines.join("\n");
}

Deno.test("headings, lists, tables, quotes and code have their forms in the terminal", () => {
  assert.equal(
    plain("# Title\n\nSome **bold** and `code`.\n\n- one\n  - two\n\n3. three\n4. four\n\n> quoted\n\n---"),
    "Title\n\nSome bold and code.\n\n• one\n  • two\n\n3. three\n4. four\n\n│ quoted\n\n────────────────────",
  );
  assert.equal(plain("| a | long |\n| - | -: |\n| 日本 | 1 |"), "a    │ long\n─────┼─────\n日本 │    1");
  assert.equal(plain("```js\nlet x;\n\nx;\n```"), "── js\nlet x;\n\nx;\n──");
  assert.equal(plain("[here](https://a.b/) and ![it](c.png)"), "here (https://a.b/) and it (c.png)");
});

Deno.test("lines end between words, and go on below the beginning of their item", () => {
  assert.equal(
    plain(
      "Some **words in bold** here.\n\n- one two three four\n  1. five six seven\n\n> eight nine ten",
      14,
    ),
    "Some words in\nbold here.\n\n• one two\n  three four\n  1. five six\n     seven\n\n│ eight nine\n│ ten",
  );
  assert.equal(plain("日本語の文章です", 10), "日本語の文\n章です");
  assert.equal(plain("```\na line of code, as it is\n```", 14), "──\na line of code, as it is\n──");
});

Deno.test("a word that reaches the edge while it grows stands whole in the next line", () => {
  const text = "Words of some length, one after another, until there are several lines of them.";
  fc.assert(fc.property(fc.integer({ min: 12, max: 40 }), (columns) => {
    const screen = new Screen(columns);
    const printer = new MarkdownPrinter((part) => screen.write(part), () => ({ columns, rows: 1000 }));
    let pushed = "";
    for (const piece of text) {
      printer.push(piece);
      pushed += piece;
      assert.deepEqual(screen.lines.join(" ").trim().split(/ +/), pushed.trim().split(/ +/));
    }
  }));
});

Deno.test("a block that is higher than the window stays as it was written, and stands there once", () => {
  const list = Array.from({ length: 12 }, (_, i) => `- **item** ${i}`).join("\n");
  const text = `# Title\n\n${list}\n\nThe *end*.`;
  for (const size of [1, 3, 7, 1000]) {
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g"))!;
    const seen = size === 1000 ? list.replaceAll("**", "").replaceAll(/^- /gm, "• ") : list;
    assert.equal(printed(pieces, 40, 8), `Title\n\n${seen}\n\nThe end.\n`);
  }
  assert.equal(printed([..."- one\n- two\n- three"], 40, 2), "- one\n- two\n- three\n");
});

Deno.test("a model's text cannot command the terminal", () => {
  const text = "a \x1b[2J\x1b]0;title\x07 b `\x1b[1m`\n\n```\n\x9b31m\x1b[H\n```\n\n<b>\x1bc</b>";
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(rendered(text), /\x1b(?!\[\d+m)|[\x00-\x08\x0b-\x1a\x7f-\x9f]/);
});

Deno.test("what stands in the window in the end does not depend on the pieces that it came in", () => {
  const part = fc.constantFrom(
    "# Title\n\n",
    "Some **bold** text that is a little longer than the window is wide, so that it wraps.\n\n",
    "- one\n- two\n\n",
    "```py\nx = 1\n\n# no heading\n```\n\n",
    "| a | b |\n| - | - |\n| 1 | 2 |\n\n",
    "plain\nlines\n\n",
  );
  fc.assert(fc.property(
    fc.array(part, { minLength: 1, maxLength: 6 }),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
    fc.integer({ min: 20, max: 60 }),
    (parts, sizes, columns) => {
      const text = parts.join("");
      const pieces: string[] = [];
      for (let at = 0, i = 0; at < text.length; i++) {
        const size = sizes[i % sizes.length]!;
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      assert.equal(printed(pieces, columns), printed([text], columns));
    },
  ));
});
