// Texts that are too long are refused before they are encoded; texts that fit never are.

import assert from "node:assert/strict";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { lengthChecks, PromptTooLong } from "../../../engine/workers/length_limit.ts";

const pocket = new URL("../../../models/pocket", import.meta.url).pathname;

/** A tokenizer that makes a token of every `each` characters, and counts what it is given. */
function counting(longestToken: number, each: number) {
  let encoded = 0;
  const tokenizer = {
    vocabulary: { longestToken },
    encode(text: string) {
      encoded += text.length;
      return new Uint32Array(Math.ceil(text.length / each));
    },
  };
  return { tokenizer, encoded: () => encoded };
}

Deno.test("a text longer than the context could hold is refused unread", () => {
  const { tokenizer, encoded } = counting(10, 4);
  const { prompt } = lengthChecks(tokenizer, 1000);
  assert.throws(() => prompt("x".repeat(10_001)), (error) =>
    error instanceof PromptTooLong &&
    error.message ===
      "This model's maximum context length is 1000 tokens, but the prompt has at least 1001 (10001 characters)");
  prompt("x".repeat(8_000));
  assert.equal(encoded(), 0);
});

Deno.test("of a text that may or may not fit no more is encoded than it takes to tell", () => {
  const { tokenizer, encoded } = counting(1000, 4);
  const { prompt } = lengthChecks(tokenizer, 10_000);
  assert.throws(() => prompt("x".repeat(5_000_000)), /more than 10000 \(5000000 characters\)/);
  assert.ok(encoded() <= 120_000, `${encoded()} characters were encoded`);
  const sparse = counting(1000, 600);
  lengthChecks(sparse.tokenizer, 10_000).prompt("x".repeat(5_000_000));
});

Deno.test("texts whose tokens are only counted may be longer than the context, with a bound of their own", () => {
  const { tokenizer } = counting(10, 4);
  const { prompt, counted } = lengthChecks(tokenizer, 1000);
  const text = "x".repeat(200_000);
  assert.throws(() => prompt(text));
  counted(text);
  assert.throws(() => counted("x".repeat(700_000)), /at most 65536 tokens are counted here/);
});

Deno.test("no prompt that fits the real tokenizer's context is refused", async () => {
  const tokenizer = await Tokenizer.load(pocket);
  for (const piece of ["the ", "Ω", "    ", "\n", "<|im_start|>", "a1!"]) {
    const text = piece.repeat(3_000);
    const tokens = tokenizer.encode(text, false).length;
    lengthChecks(tokenizer, tokens).prompt(text);
  }
});
