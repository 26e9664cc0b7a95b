// Counts out of reach: what a language says of the next few characters stays the same without them.
import assert from "node:assert/strict";
import fc from "fast-check";
import { clampLoops } from "../../../engine/grammar/regex/clamp.ts";
import type { Derivatives } from "../../../engine/grammar/regex/derive.ts";
import type { RegexNode } from "../../../engine/grammar/regex/node.ts";
import { makeRegex, patterns } from "./patterns.ts";

const ALPHABET = ["a", "b", " "];

// Walks both along every text shorter than `length`; returns how many texts belong to them.
function compare(derivatives: Derivatives, a: RegexNode, b: RegexNode, length: number, what: string): number {
  assert.equal(derivatives.live(a), derivatives.live(b), what);
  let found = a.nullable ? 1 : 0;
  assert.equal(a.nullable, b.nullable, what);
  if (length <= 1) return found;
  for (const char of ALPHABET) {
    const [nextA, nextB] = [a, b].map((node) => derivatives.next(node, char.charCodeAt(0)));
    assert.equal(nextA === undefined, nextB === undefined, `${what}, ${JSON.stringify(char)}`);
    if (nextA !== undefined && nextB !== undefined) {
      found += compare(derivatives, nextA, nextB, length - 1, what + char);
    }
  }
  return found;
}

const part = patterns(["a", "b", "\\S", "\\s", "(?:)", "[ab]"], 9, 9);

Deno.test("a language without the counts out of reach says the same of all texts within it", () => {
  let changed = 0, found = 0;
  fc.assert(
    fc.property(
      part,
      fc.nat(6),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      (source, low, most, bounded) => {
        const { regex, derivatives, language } = makeRegex(true);
        let node = language(source);
        if (bounded) node = regex.and([node, regex.loop(regex.anyChar, low, low + most)]);
        const length = 5;
        const clamped = clampLoops(regex, node, length);
        if (clamped !== node) changed++;
        found += compare(derivatives, node, clamped, length, `${source} ${bounded} ${low} ${most}: `);
      },
    ),
    { numRuns: 2000, seed: 4 },
  );
  assert.ok(changed > 400 && found > 5000, `${changed} were changed, ${found} texts found`);
});

Deno.test("a text of up to a hundred words and 5,000 characters is the same place in every word", () => {
  const { regex, derivatives, language } = makeRegex(true);
  const words = regex.and([language("(?:\\S+\\s+){0,99}\\S+"), regex.loop(regex.anyChar, 1, 5000)]);
  const places = new Set<RegexNode>();
  let node: RegexNode | undefined = words;
  for (const char of "ab ".repeat(60)) {
    places.add(clampLoops(regex, node!, 17));
    node = derivatives.next(node!, char.charCodeAt(0));
  }
  assert.ok(places.size <= 3, `${places.size} places`);
});
