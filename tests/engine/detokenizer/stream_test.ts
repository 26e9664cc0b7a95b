// Incremental decoding: for any tokens of any text, cut in any way, the pieces add up to the full decoding, nothing
// is revised, and stop strings end the text at the same place.

import assert from "node:assert/strict";
import fc from "fast-check";
import { StopMatcher } from "../../../engine/detokenizer/stop.ts";
import { TextStream } from "../../../engine/detokenizer/stream.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";

const root = new URL("../../../", import.meta.url).pathname;
const tokenizers = await Promise.all(
  [
    "models/pocket",
    "tests/data/tokenizers/llama2",
    "tests/data/tokenizers/metaspace",
    "tests/data/tokenizers/llama3",
  ]
    .map((path) => Tokenizer.load(root + path)),
);
const options = { skipSpecialTokens: true, stop: [], minTokens: 0 };

const anyTokenizer = fc.constantFrom(...tokenizers);
const anyText = fc.array(
  fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 8 }),
    fc.string({ unit: "binary", maxLength: 4 }),
    fc.constantFrom("👩‍👩‍👧‍👦", "🏳️‍🌈", "e\u0301", "日本語", " the ", "\n\n", "<|im_end|>", "\ufffd", "\ufeff"),
  ),
  { maxLength: 8 },
).map((parts) => parts.join("").toWellFormed());

/** All pieces of a stream, the last one included. */
function pieces(tokenizer: Tokenizer, ids: Iterable<number>, skipSpecialTokens = true): string[] {
  const stream = new TextStream(tokenizer.vocabulary, { ...options, skipSpecialTokens });
  return [...[...ids].map((id) => stream.push(id).text), stream.finish().text];
}

Deno.test("the pieces of any text add up to its full decoding", () => {
  fc.assert(
    fc.property(anyTokenizer, anyText, fc.boolean(), (tokenizer, text, skip) => {
      const ids = tokenizer.encode(text, false);
      // An output follows a prompt, so its first space stays; the full decoding is that of the whole minus the prompt.
      const before = tokenizer.encode("x", false);
      const whole = tokenizer.decode([...before, ...ids], skip);
      assert.equal(pieces(tokenizer, ids, skip).join(""), whole.slice(tokenizer.decode(before, skip).length));
    }),
    { numRuns: 3000, seed: 11 },
  );
});

Deno.test("the pieces of any tokens, sensible or not, add up to their full decoding", () => {
  fc.assert(
    fc.property(anyTokenizer, fc.array(fc.nat({ max: 2100 }), { maxLength: 40 }), (tokenizer, ids) => {
      const before = tokenizer.encode("x", false);
      const whole = tokenizer.decode([...before, ...ids], true);
      assert.equal(pieces(tokenizer, ids).join(""), whole.slice(tokenizer.decode(before, true).length));
    }),
    { numRuns: 3000, seed: 12 },
  );
});

Deno.test("no piece of a valid text ends in half a character", () => {
  fc.assert(
    fc.property(anyTokenizer, anyText.filter((text) => !text.includes("\ufffd")), (tokenizer, text) => {
      const parts = pieces(tokenizer, tokenizer.encode(text, false));
      for (const part of parts) {
        assert.ok(!part.includes("\ufffd") && part.isWellFormed(), JSON.stringify(parts));
      }
    }),
    { numRuns: 2000, seed: 13 },
  );
});

Deno.test("half a character at the end of the output comes out as U+FFFD", () => {
  const tokenizer = tokenizers[3]!; // has no token for it but its bytes
  const ids = tokenizer.encode("😀", false);
  assert.equal(ids.length, 4);
  assert.deepEqual(pieces(tokenizer, ids), ["", "", "", "😀", ""]);
  assert.deepEqual(pieces(tokenizer, ids.slice(0, 3)), ["", "", "", "\ufffd"]);
});

/** Pushes a text in pieces of the given lengths. */
function match(
  text: string,
  stops: readonly string[],
  lengths: readonly number[],
): { text: string; matched: string | null } {
  const matcher = new StopMatcher(stops);
  let shown = "";
  for (let at = 0, turn = 0; at < text.length; turn++) {
    const length = lengths[turn % lengths.length]!;
    const piece = matcher.push(text.slice(at, at + length));
    shown += piece.text;
    assert.ok(text.startsWith(shown)); // never revised
    for (const stop of stops) assert.ok(!shown.includes(stop));
    if (piece.matched !== null) return { text: shown, matched: piece.matched };
    at += length;
  }
  return { text: shown + matcher.flush(), matched: null };
}

const fewLetters = (maxLength: number, minLength = 0) =>
  fc.string({ unit: fc.constantFrom("a", "b", "c", "😀"), minLength, maxLength });

Deno.test("stop strings end a text at the same place however it is cut", () => {
  fc.assert(
    fc.property(
      fewLetters(30),
      fc.array(fewLetters(5, 1), { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
      (text, stops, lengths) => {
        // The plain meaning: the shortest beginning of the text that ends in a stop string.
        let expected: { text: string; matched: string | null } = { text, matched: null };
        for (let end = 1; end <= text.length && expected.matched === null; end++) {
          const ended = stops.filter((stop) => text.slice(0, end).endsWith(stop)).sort((a, b) =>
            b.length - a.length
          );
          if (ended[0] !== undefined) {
            expected = { text: text.slice(0, end - ended[0].length), matched: ended[0] };
          }
        }
        assert.deepEqual(match(text, stops, [text.length || 1]), expected);
        assert.deepEqual(match(text, stops, lengths), expected);
      },
    ),
    { numRuns: 5000, seed: 14 },
  );
});

Deno.test("only what may become a stop string is held back", () => {
  const matcher = new StopMatcher(["\n\nUser:", "END"]);
  assert.deepEqual(matcher.push("Hello\n"), { text: "Hello", matched: null });
  assert.deepEqual(matcher.push("\nUs"), { text: "", matched: null });
  assert.deepEqual(matcher.push("ual. E"), { text: "\n\nUsual. ", matched: null });
  assert.deepEqual(matcher.push("ND of"), { text: "", matched: "END" });
});

Deno.test("stop strings are not looked for among the first min_tokens tokens", () => {
  const tokenizer = tokenizers[0]!;
  const ids = tokenizer.encode("a.b.c.d.", false);
  assert.equal(ids.length, 8);
  const run = (minTokens: number) => {
    const stream = new TextStream(tokenizer.vocabulary, { skipSpecialTokens: true, stop: ["."], minTokens });
    let text = "";
    for (const id of ids) {
      const piece = stream.push(id);
      text += piece.text;
      if (piece.matched !== null) return text;
    }
    return text + stream.finish().text;
  };
  assert.equal(run(0), "a");
  assert.equal(run(2), "a.b");
});
