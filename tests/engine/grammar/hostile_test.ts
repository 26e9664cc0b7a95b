// Grammars made to hurt: a typed error or a working grammar, soon, and in little memory. What they take is counted in
// steps of work; the clock is only asked for the bound that a server needs, with room for a busy machine.
import assert from "node:assert/strict";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import { compileGrammar, type Grammar, type GrammarOptions } from "../../../engine/grammar/grammar.ts";
import { Matcher } from "../../../engine/grammar/matcher.ts";
import type { Json } from "../../../engine/grammar/schema/document.ts";
import type { GrammarSource } from "../../../engine/grammar/source.ts";
import { Budget } from "../../../engine/grammar/limits.ts";
import { MaskMaker } from "../../../engine/grammar/vocabulary/masks.ts";
import { Random } from "../../random.ts";
import { accepts, allowed, pocketVocabulary } from "./support.ts";

const schema = (value: unknown): GrammarSource => ({ kind: "json_schema", schema: value as Json });
const pattern = (source: string): GrammarSource => schema({ type: "string", pattern: source });

function nested(depth: number, wrap: (inner: unknown) => unknown): unknown {
  let value: unknown = { type: "string" };
  for (let i = 0; i < depth; i++) value = wrap(value);
  return value;
}

const doubling = (keyword: string): unknown => ({
  $ref: "#/$defs/d0",
  $defs: Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => [
      `d${i}`,
      i === 39
        ? { type: "object" }
        : { [keyword]: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}`, title: "x" }] },
    ]),
  ),
});

const CASES: readonly (readonly [
  name: string,
  source: GrammarSource,
  texts?: readonly (readonly [string, boolean])[],
])[] = [
  ["30,000 nested parentheses", { kind: "regex", pattern: "(".repeat(30_000) + "a" + ")".repeat(30_000) }],
  ["30,000 nested parentheses in a pattern", pattern("(".repeat(30_000) + "a" + ")".repeat(30_000))],
  ["30,000 nested groups in EBNF", {
    kind: "ebnf",
    grammar: `root ::= ${"(".repeat(30_000)}"a"${")".repeat(30_000)}`,
  }],
  ["(a*)*b", { kind: "regex", pattern: "(a*)*b" }, [["a".repeat(5000) + "b", true], [
    "a".repeat(5000),
    false,
  ]]],
  ["(a|a)* chains", { kind: "regex", pattern: "(a|a)*".repeat(50) + "b" }, [[
    "a".repeat(2000) + "b",
    true,
  ]]],
  ["(a|aa)+ before a c", { kind: "regex", pattern: "^((a|aa)+)+c$" }, [["a".repeat(2000) + "c", true]]],
  ["exponentially many states", pattern("^(a|b)*a(a|b){24}$"), [[JSON.stringify("a".repeat(60)), true]]],
  ["a{1,1000000}", { kind: "regex", pattern: "a{1,1000000}b" }, [["a".repeat(1000) + "b", true], [
    "b",
    false,
  ]]],
  ["nested counts", { kind: "regex", pattern: "((a{1,1000}){1,1000}){1,1000}" }],
  ["counts of overlapping parts", { kind: "regex", pattern: "(a{1,300}b?){1,300}c" }],
  ["lone surrogates in a pattern", pattern("^\ud800$")],
  ["half a pair in a class", pattern("[\ud800-\udbff]")],
  ["a lone surrogate in an enum", schema({ enum: ["\ud800", "a\udc00b"] })],
  [
    "many Unicode properties",
    pattern(
      [
        "L",
        "Lu",
        "Ll",
        "Lt",
        "Lm",
        "Lo",
        "M",
        "Mn",
        "Mc",
        "Me",
        "N",
        "Nd",
        "Nl",
        "No",
        "P",
        "S",
        "Sm",
        "Sc",
        "Sk",
        "So",
      ]
        .map((name) => `\\p{${name}}\\P{${name}}`).join(""),
    ),
  ],
  ["exponential references, allOf", schema(doubling("allOf"))],
  ["exponential references, anyOf", schema(doubling("anyOf"))],
  ["exponential references, oneOf", schema(doubling("oneOf"))],
  ["cyclic allOf", schema({ allOf: [{ $ref: "#" }] })],
  [
    "cyclic references",
    schema({ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } }),
  ],
  [
    "an object that needs itself",
    schema({ type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }),
  ],
  ["a schema of 10 MB", schema({ type: "object", description: "x".repeat(10_000_000) })],
  ["an enum of 10 MB", schema({ enum: Array.from({ length: 500_000 }, (_, i) => `value number ${i}`) })],
  [
    "100,000 properties",
    schema({
      type: "object",
      properties: Object.fromEntries(
        Array.from({ length: 100_000 }, (_, i) => [`p${i}`, { type: "integer" }]),
      ),
    }),
  ],
  [
    "20,000 required properties",
    schema({
      type: "object",
      properties: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`p${i}`, true])),
      required: Array.from({ length: 20_000 }, (_, i) => `p${i}`),
    }),
  ],
  ["schemas nested 5,000 deep", schema(nested(5000, (items) => ({ type: "array", items })))],
  ["not of not of not", schema(nested(400, (not) => ({ not })))],
  [
    "1,000 patterns that overlap",
    schema({
      patternProperties: Object.fromEntries(
        Array.from({ length: 1000 }, (_, i) => [`a.{${i}}b`, { minimum: i }]),
      ),
    }),
  ],
  [
    "many alternatives at once",
    schema({
      allOf: Array.from(
        { length: 12 },
        (_, i) => ({ anyOf: Array.from({ length: 6 }, (_, j) => ({ required: [`k${i}${j}`] })) }),
      ),
    }),
  ],
  ["minItems of a billion", schema({ type: "array", items: { type: "null" }, minItems: 1e9 }), [[
    "[null]",
    false,
  ]]],
  ["maxLength of a billion", schema({ type: "string", maxLength: 1e9, minLength: 1e8 }), [['"a"', false]]],
  [
    "maxItems and contains that are far away",
    schema({ contains: { const: 1 }, minContains: 1e6, maxItems: 1e6 }),
  ],
  ["multipleOf with many remainders", schema({ type: "integer", multipleOf: 0.123456789 })],
  ["rules that double", {
    kind: "ebnf",
    grammar: "root ::= r0\n" + Array.from({ length: 60 }, (_, i) =>
      `r${i} ::= r${i + 1} r${i + 1}`).join("\n") +
      '\nr60 ::= "a"',
  }],
  ["rules that begin with each other", {
    kind: "ebnf",
    grammar: 'root ::= a\na ::= b "x"\nb ::= a "y" | "z"',
  }],
  ["a rule that never ends", { kind: "ebnf", grammar: 'root ::= "a" root' }],
  ["an ambiguous grammar", { kind: "ebnf", grammar: 'root ::= root root | "a" | ""' }],
  ["a chain of 5,000 rules", {
    kind: "ebnf",
    grammar: "root ::= r0\n" + Array.from({ length: 5000 }, (_, i) => `r${i} ::= "(" r${i + 1}`).join("\n") +
      '\nr5000 ::= "a"',
  }],
];

// Seconds; the limit inside is 0.7, and the rest is for a machine with other work.
const MOST_SECONDS = 4;

for (const [name, source, texts] of CASES) {
  Deno.test(`${name}: a typed error or a working grammar`, async () => {
    const started = performance.now();
    let grammar: Grammar | undefined;
    try {
      grammar = compileGrammar(source);
    } catch (error) {
      assert.ok(error instanceof GrammarError, `${error}`);
      assert.equal(texts, undefined, `refused: ${error.message}`);
    }
    assert.ok(performance.now() - started < MOST_SECONDS * 1000, "compiling took too long");
    if (grammar === undefined) return;
    for (const [text, right] of texts ?? []) assert.equal(accepts(grammar, text), right, text.slice(0, 20));
    // A few masks along a random text.
    const masks = new MaskMaker(await pocketVocabulary());
    const matcher = new Matcher(grammar, masks);
    const random = new Random(1);
    const bits = new Uint32Array(masks.vocabulary.words);
    try {
      for (let step = 0; step < 12 && matcher.fillMask(bits); step++) {
        matcher.accept(random.pick(allowed(bits)));
      }
    } catch (error) {
      assert.ok(error instanceof GrammarError, `${error}`);
    }
  });
}

Deno.test("limits that a caller sets are kept", () => {
  const options: GrammarOptions = { limits: { sourceLength: 100 } };
  assert.throws(() => compileGrammar(schema({ description: "x".repeat(100) }), options), { kind: "limit" });
  const small: GrammarOptions = { limits: { compileSteps: 50 } };
  assert.throws(() => compileGrammar(pattern("(abc|def){2,5}x*"), small), { kind: "limit" });
});

Deno.test("a lenient schema that costs too much, or is not enforced, is any object, beside others as well", () => {
  const costly = schema({
    properties: Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`p${i}`, { enum: [`v${i}`] }])),
  });
  const wrong = schema({ uniqueItems: true });
  assert.throws(() => compileGrammar(costly, { limits: { compileSteps: 2000 } }), { kind: "limit" });
  for (const source of [costly, wrong]) {
    assert.ok(source.kind === "json_schema");
    const parts = Array.from({ length: 5 }, () => ({ ...source, lenient: true }));
    const grammar = compileGrammar({ kind: "sequence", parts }, { limits: { compileSteps: 2000 } });
    assert.ok(accepts(grammar, '{"a": 1}'.repeat(5)));
    assert.ok(!accepts(grammar, '{"a": 1}'.repeat(4)));
  }
});

Deno.test("a long text of a grammar whose caches are full goes on", () => {
  const grammar = compileGrammar(
    schema({ type: "array", items: { type: "string", maxLength: 3000, pattern: "a|b" } }),
    {
      limits: { cachedItems: 2000 },
    },
  );
  assert.ok(accepts(grammar, JSON.stringify(Array.from({ length: 30 }, (_, i) => "xa".repeat(40 * i + 1)))));
});

Deno.test("the time for which the process was stopped is not held against a grammar", () => {
  const sleep = (): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  const budget = new Budget("grammar", 1_000_000, 60);
  sleep();
  budget.spend(300);
  sleep();
  budget.spend(300);
  const busy = new Budget("grammar", 1e12, 60);
  assert.throws(() => {
    for (;;) busy.spend();
  }, { kind: "limit" });
});
