// Run by markdown_test.ts, with the page's own packages: texts made of whatever markdown has, cut anywhere, come out as
// the blocks that the parser finds in the whole text. Prints the first that does not.

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { fromMarkdown } from "mdast-util-from-markdown";
import { gfmFromMarkdown } from "mdast-util-gfm";
import { mathFromMarkdown } from "mdast-util-math";
import { gfm } from "micromark-extension-gfm";
import { math } from "micromark-extension-math";
import { MarkdownBlocks } from "../../../server/page/src/markdown.ts";

/** What is shown of a tree: neither places in the text, nor whether a list is loose, nor what follows a fence's language. */
const plain = (tree: unknown): unknown =>
  JSON.parse(
    JSON.stringify(tree, (key, value) =>
      /^(?:position|spread|meta)$/.test(key) ? undefined : value || undefined),
  );

const line = fc.constantFrom(
  "word *two* `three`",
  "a [link](https://example.com/)",
  "$x_1$ and שלום",
  "<b>open",
  "&amp; \\*",
);
const many = fc.integer({ min: 1, max: 30 });
const piece = fc.oneof(
  fc.tuple(line, many).map(([text, n]) => `${text}\n`.repeat(n % 3 + 1)),
  line.map((text) => `## ${text}\n`),
  fc.tuple(line, many).map(([text, n]) =>
    Array.from({ length: n }, (_, i) => `${i + 1}. ${text}\n`).join("")
  ),
  fc.tuple(line, many, fc.constantFrom("", "\n", "  - inner\n", "\n  more\n", "lazy\n")).map((
    [text, n, tail],
  ) => `- ${text}\n${tail}`.repeat(n)),
  fc.tuple(line, many).map(([text, n]) => "| a | b |\n| :- | -: |\n" + `| ${text} | 1 |\n`.repeat(n)),
  fc.tuple(line, many).map(([text, n]) => `\`\`\`js\n${`${text}\n\n`.repeat(n)}\`\`\`\n`),
  line.map((text) => `> ${text}\n> - one\n`),
  line.map((text) => `<div>\n${text}\n</div>\n`),
  fc.constant("---\n"),
);

fc.assert(
  fc.property(
    fc.array(fc.tuple(piece, fc.constantFrom("\n", "\n\n")), { maxLength: 6 }),
    fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 20 }),
    (pieces, steps) => {
      const text = pieces.flat().join("");
      const blocks = new MarkdownBlocks();
      for (let at = 0, i = 0; at < text.length; at += steps[i++ % steps.length]!) {
        blocks.update(text.slice(0, at), false);
      }
      const streamed = blocks.update(text, true);
      const whole = fromMarkdown(text, {
        extensions: [gfm(), math()],
        mdastExtensions: [gfmFromMarkdown(), mathFromMarkdown()],
      });
      assert.deepEqual(plain(streamed.map(({ node }) => node)), plain(whole.children));
      assert.ok(streamed.every(({ open }) => !open));
    },
  ),
  { numRuns: 300, seed: 22 },
);
