// What may follow on every text of a set of characters: bounds of all their derivatives, never too wide.
import assert from "node:assert/strict";
import fc from "fast-check";
import { charSet } from "../../../engine/grammar/regex/char_set.ts";
import type { RegexNode } from "../../../engine/grammar/regex/node.ts";
import { Whatever } from "../../../engine/grammar/regex/whatever.ts";
import { makeRegex, patterns } from "./patterns.ts";

const part = patterns(["a", "b", "c", "[ab]", "[^c]", ".", "(?:)"], 3, 5);
const source = fc.tuple(
  fc.constantFrom("", "^"),
  fc.oneof(
    { weight: 2, arbitrary: fc.constant("") },
    { weight: 3, arbitrary: part.map((inner) => `(?!${inner})`) },
    { weight: 1, arbitrary: part.map((inner) => `(?!${inner}$)`) },
    { weight: 1, arbitrary: part.map((inner) => `(?=${inner}$)`) },
  ),
  part,
  fc.constantFrom("", "$"),
).map((parts) => parts.join(""));

function texts(alphabet: string, length: number): string[] {
  return length === 0
    ? [""]
    : texts(alphabet, length - 1).flatMap((text) => [...alphabet].map((c) => text + c));
}

Deno.test("what may follow whatever the next characters are may follow on each text of them", () => {
  let some = 0, none = 0;
  fc.assert(
    fc.property(source, fc.constantFrom("a", "ab", "abc"), fc.nat(3), (source, alphabet, length) => {
      const { regex, derivatives, language } = makeRegex(false);
      const node = language(source);
      const set = charSet([...alphabet].map((char) => [char.charCodeAt(0), char.charCodeAt(0)]));
      const bounds = new Whatever(regex, set);
      const after = (text: string): RegexNode =>
        [...text].reduce((node, char) => derivatives.next(node, char.charCodeAt(0)) ?? regex.none, node);
      const lower = bounds.lower(node, length), upper = bounds.upper(node, length);
      if (derivatives.live(lower)) some++;
      else none++;
      for (const text of texts(alphabet, length)) {
        const rest = regex.and([lower, regex.not(after(text))]);
        assert.ok(!derivatives.live(rest), `${source} after ${JSON.stringify(text)}: more than may follow`);
      }
      for (const text of [0, 1, 2, 3].filter((n) => n <= length).flatMap((n) => texts(alphabet, n))) {
        const rest = regex.and([after(text), regex.not(upper)]);
        assert.ok(!derivatives.live(rest), `${source} after ${JSON.stringify(text)}: less than may follow`);
      }
    }),
    { numRuns: 2000, seed: 6 },
  );
  assert.ok(some > 500 && none > 100, `${some} and ${none}`);
});

Deno.test("a host's name of 63 characters a label may go on with anything but what it must not have", () => {
  const { regex, derivatives, language } = makeRegex(false);
  const node = language("^(?!.*://)(?=.{1,255}$)((.{1,63}\\.){1,127}(?![0-9]*$)[a-z0-9-]+\\.?)$");
  const set = (chars: string) => charSet([...chars].map((char) => [char.charCodeAt(0), char.charCodeAt(0)]));
  assert.ok(derivatives.takesAll(node, set("abc09.-/ "), 16));
  assert.ok(derivatives.takesAll(node, set("abc09.-: "), 16));
  assert.ok(derivatives.takesAll(node, set("abc"), 63));
  assert.ok(!derivatives.takesAll(node, set("abc"), 64));
  assert.ok(!derivatives.takesAll(node, set("abc:/"), 16));
  assert.equal(regex.none, new Whatever(regex, set("\n")).lower(node, 1));
});
