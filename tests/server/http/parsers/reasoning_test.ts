import assert from "node:assert/strict";
import fc from "fast-check";
import { ReasoningParser } from "../../../../server/http/parsers/reasoning.ts";

function parse(parts: readonly string[], open = false): { reasoning: string; content: string } {
  const parser = new ReasoningParser(open);
  const out = { reasoning: "", content: "" };
  for (const part of parts) for (const piece of parser.push(part)) out[piece.type] += piece.text;
  for (const piece of parser.end()) out[piece.type] += piece.text;
  return out;
}

Deno.test("a block at the beginning becomes reasoning, without the white space around it", () => {
  assert.deepEqual(parse(["<think>\n1 plus 2 is 3.\n</think>\n\nThe answer is 3."]), {
    reasoning: "1 plus 2 is 3.",
    content: "The answer is 3.",
  });
});

Deno.test("an answer without a block is content, white space and all", () => {
  for (const text of ["", " ", "\n hello \n", "<thin", "<thinking> is not a tag", "a <think> later"]) {
    assert.deepEqual(parse([text]), { reasoning: "", content: text });
  }
});

Deno.test("a block that is not closed is reasoning to the end", () => {
  assert.deepEqual(parse(["<think>so far </thi"]), { reasoning: "so far </thi", content: "" });
});

Deno.test("a prompt that ends with the opening tag makes the answer begin inside the block", () => {
  assert.deepEqual(parse(["\nso</think>yes"], true), { reasoning: "so", content: "yes" });
  assert.deepEqual(parse(["<think>so</think>yes"], true), { reasoning: "so", content: "yes" });
});

Deno.test("an empty block gives no reasoning", () => {
  assert.deepEqual(parse(["<think>\n\n</think>\n\nyes"]), { reasoning: "", content: "yes" });
});

Deno.test("tags behind the block are text", () => {
  assert.deepEqual(parse(["<think>a</think>b <think>c</think>"]), {
    reasoning: "a",
    content: "b <think>c</think>",
  });
});

Deno.test("every split of a text gives the same reasoning and content", () => {
  const atom = fc.constantFrom(
    "<think>",
    "</think>",
    "<",
    "</",
    "think>",
    "\n",
    " ",
    "word",
    "😀",
    "<thin",
    "é",
  );
  fc.assert(
    fc.property(
      fc.array(atom, { maxLength: 12 }).map((atoms) => atoms.join("")),
      fc.boolean(),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (text, open, lengths) => {
        const parts: string[] = [];
        for (let at = 0; at < text.length;) {
          const length = lengths.next().value as number;
          parts.push(text.slice(at, at + length));
          at += length;
        }
        assert.deepEqual(parse(parts, open), parse([text], open));
      },
    ),
    { seed: 7, numRuns: 2000 },
  );
});

Deno.test("reasoning comes out while it is written", () => {
  const parser = new ReasoningParser(false);
  assert.deepEqual(parser.push("<think>"), []);
  assert.deepEqual(parser.push("first "), [{ type: "reasoning", text: "first" }]);
  assert.deepEqual(parser.push("second"), [{ type: "reasoning", text: " second" }]);
  assert.deepEqual(parser.push("</think>x"), [{ type: "content", text: "x" }]);
});
