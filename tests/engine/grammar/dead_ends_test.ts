// No text that a schema's grammar has begun is a dead end: random schemas whose bounds get in each other's way, random
// ways into them, and from where each leads, a search for an end.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { State } from "../../../engine/grammar/automaton/automaton.ts";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import type { Grammar } from "../../../engine/grammar/grammar.ts";
import { Random } from "../../random.ts";
import { schemaGrammar } from "./support.ts";

const name = fc.constantFrom("a", "b", "ab", "ba", "c");
const pattern = fc.constantFrom("a", "b", "^..$", "^a", "b$", "^[abc]$", "^(ab|c)$", "c");
const small = fc.nat(3);
const some = pattern.map((pattern) => ({ not: { propertyNames: { not: { pattern } } } }));

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 2, depthSize: "small" },
    { weight: 2, arbitrary: fc.constantFrom<unknown>(true, false, { const: 1 }, { enum: ["a", null] }) },
    fc.record({ type: fc.constant("string"), pattern, minLength: small, maxLength: small }, {
      requiredKeys: ["type"],
    }),
    fc.record({
      type: fc.constant("integer"),
      minimum: fc.integer({ min: -20, max: 5 }),
      maximum: fc.integer({ min: 0, max: 30 }),
      multipleOf: fc.constantFrom(1, 3, 7, 11),
    }, { requiredKeys: ["type"] }),
    {
      weight: 3,
      arbitrary: fc.record({
        type: fc.constant("array"),
        prefixItems: fc.array(tie("value"), { minLength: 1, maxLength: 2 }),
        items: tie("value"),
        contains: tie("value"),
        minContains: small,
        maxContains: small,
        minItems: small,
        maxItems: small,
        allOf: fc.array(fc.record({ contains: tie("value") }), { minLength: 1, maxLength: 2 }),
      }, { requiredKeys: ["type"] }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant("object"),
        properties: fc.dictionary(name, tie("value"), { maxKeys: 3 }),
        required: fc.uniqueArray(name, { maxLength: 2 }),
        patternProperties: fc.dictionary(pattern, tie("value"), { maxKeys: 2 }),
        additionalProperties: tie("value"),
        propertyNames: fc.record({ pattern }),
        minProperties: small,
        maxProperties: small,
        dependentRequired: fc.dictionary(name, fc.uniqueArray(name, { maxLength: 2 }), { maxKeys: 2 }),
        allOf: fc.array(some, { minLength: 1, maxLength: 4 }),
      }, { requiredKeys: ["type"] }),
    },
    fc.tuple(fc.constantFrom("anyOf", "allOf"), fc.array(tie("value"), { minLength: 1, maxLength: 3 })).map(
      ([keyword, parts]) => ({ [keyword]: parts }),
    ),
    fc.tuple(tie("value"), tie("value")).map(([a, b]) => ({ allOf: [a, { not: b }] })),
    fc.tuple(tie("value"), tie("value"), tie("value")).map(([a, b, c]) => ({ if: a, then: b, else: c })),
  ),
}));

const BYTES = [...'"}],:{[0123456789-.abcntruefls '].map((char) => char.charCodeAt(0));

function successors(grammar: Grammar, state: State): State[] {
  const found: State[] = [];
  for (const byte of BYTES) {
    const next = grammar.automaton.step(state, byte);
    if (next !== null) found.push(next);
  }
  return found;
}

/** Whether an end can be reached; null where the search was given up. */
function canFinish(grammar: Grammar, from: State, most: number): boolean | null {
  const seen = new Set([from]);
  for (const state of seen) {
    if (state.canEnd) return true;
    if (seen.size > most) return null;
    for (const next of successors(grammar, state)) seen.add(next);
  }
  return false;
}

function walk(schema: unknown): { walks: number; unknown: number } | undefined {
  let grammar: Grammar;
  try {
    grammar = schemaGrammar(schema, { style: { whitespace: "none" } });
  } catch (error) {
    assert.ok(error instanceof GrammarError, String(error));
    return undefined;
  }
  const count = { walks: 0, unknown: 0 };
  for (let seed = 0; seed < 8; seed++) {
    const random = new Random(seed);
    let state = grammar.start;
    for (let step = 0; step < 4 + 6 * seed; step++) {
      grammar.begin();
      const next = successors(grammar, state);
      if (next.length === 0) break;
      state = random.pick(next);
    }
    const ends = canFinish(grammar, state, 3000);
    assert.notEqual(ends, false, JSON.stringify(schema));
    count.walks++;
    if (ends === null) count.unknown++;
  }
  return count;
}

Deno.test("from wherever a text under a random schema has come to, it can be ended", () => {
  const sum = { schemas: 0, walks: 0, unknown: 0 };
  fc.assert(
    fc.property(value, (schema) => {
      const count = walk(schema);
      if (count === undefined) return;
      sum.schemas++;
      sum.walks += count.walks;
      sum.unknown += count.unknown;
    }),
    { numRuns: 3000, seed: 5 },
  );
  assert.ok(sum.schemas > 900 && sum.unknown < sum.walks / 50, JSON.stringify(sum));
});
