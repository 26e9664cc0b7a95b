// What schemas allow beyond the official suite: how values are written, order, refusals by keyword and place.
import assert from "node:assert/strict";
import type { State } from "../../../engine/grammar/automaton/automaton.ts";
import { GrammarError, type GrammarErrorKind } from "../../../engine/grammar/errors.ts";
import { accepts, schemaGrammar } from "./support.ts";

function refusal(schema: unknown): GrammarError {
  try {
    schemaGrammar(schema);
  } catch (error) {
    assert.ok(error instanceof GrammarError, String(error));
    return error;
  }
  return assert.fail(`${JSON.stringify(schema)} is not refused`);
}

Deno.test("white space is what models write, and bounded", () => {
  const grammar = schemaGrammar({
    type: "object",
    properties: { a: { type: "array", items: { type: "integer" } } },
  });
  const value = { a: [1, 2], b: { c: null, d: [] } };
  for (const indent of [undefined, 1, 2, 4, "\t"]) {
    assert.ok(accepts(grammar, JSON.stringify(value, null, indent)));
  }
  assert.ok(accepts(grammar, '{"a": [1, 2], "b": {"c": null}}'));
  assert.ok(accepts(grammar, '{\r\n  "a": []\r\n}') && accepts(grammar, "{ }"));
  for (
    const text of [
      ' {"a":[]}',
      '{"a":[]} ',
      '{"a" :[]}',
      '{"a":[1 ,2]}',
      '{"a":   []}',
      "{\n\n}",
      "{\r}",
      `{\n${" ".repeat(97)}}`,
    ]
  ) {
    assert.ok(!accepts(grammar, text), JSON.stringify(text));
  }
  const compact = schemaGrammar({ type: "object" }, { style: { whitespace: "none" } });
  assert.ok(accepts(compact, '{"a":[1,2]}') && !accepts(compact, '{"a": 1}') && !accepts(compact, "{ }"));
});

Deno.test("strings may be written with escapes, and surrogates come in pairs", () => {
  const grammar = schemaGrammar({ enum: ['é"/\n', "😀"] });
  for (
    const text of ['"é\\"/\\n"', '"\\u00e9\\"\\/\\u000A"', '"😀"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00"']
  ) {
    assert.ok(accepts(grammar, text), text);
  }
  for (
    const text of ['"é\\"/\n"', '"\\u00e8\\"/\\n"', '"\\ud83d"', '"\\ud83d\\u0041"', '"\\ude00"', '"\\x41"']
  ) {
    assert.ok(!accepts(grammar, text), text);
  }
  const any = schemaGrammar({ type: "string", maxLength: 1 });
  assert.ok(accepts(any, '"😀"') && accepts(any, '"\\ud83d\\ude00"') && !accepts(any, '"ab"'));
  assert.ok(!accepts(any, '"\\ud83d"') && !accepts(any, '"\\udc00"'));
});

Deno.test("invalid UTF-8 is never allowed inside a string", () => {
  const grammar = schemaGrammar({ type: "string" });
  for (
    const bytes of [[0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xff], [
      0x80,
    ]]
  ) {
    let state = grammar.automaton.step(grammar.start, 0x22);
    for (const byte of bytes) if (state !== null) state = grammar.automaton.step(state, byte);
    assert.equal(state, null, bytes.join());
  }
});

Deno.test("declared order is kept where it is asked for, and any order is taken otherwise", () => {
  const schema = {
    type: "object",
    properties: { a: { type: "integer" }, b: { type: "integer" }, c: { type: "integer" } },
    required: ["a", "c"],
  };
  const any = schemaGrammar(schema), declared = schemaGrammar(schema, { style: { order: "declared" } });
  const texts: [string, boolean, boolean][] = [
    ['{"a":1,"b":2,"c":3,"d":4}', true, true],
    ['{"a":1,"c":3}', true, true],
    ['{"c":3,"a":1}', true, false],
    ['{"d":4,"a":1,"c":3}', true, false],
    ['{"a":1,"c":3,"b":2}', true, false],
    ['{"a":1,"b":2}', false, false],
    ['{"a":1,"a":1,"c":3}', false, false],
  ];
  for (const [text, inAny, inDeclared] of texts) {
    assert.equal(accepts(any, text), inAny, text);
    assert.equal(accepts(declared, text), inDeclared, text);
  }
});

Deno.test("a name that is written with escapes is the same name", () => {
  const grammar = schemaGrammar({ type: "object", properties: { ab: { type: "integer" } } });
  assert.ok(!accepts(grammar, '{"\\u0061b":"x"}'), "an undeclared name may not spell a declared one");
  assert.ok(accepts(grammar, '{"\\u0061c":"x"}'));
});

Deno.test("numbers are bounded digit by digit", () => {
  const grammar = schemaGrammar({ type: "number", minimum: -2.5, exclusiveMaximum: 10.05 });
  for (const text of ["-2.5", "-2.50", "-0", "0.001", "10.049", "9", "10"]) {
    assert.ok(accepts(grammar, text), text);
  }
  for (const text of ["-2.51", "-3", "10.05", "10.050", "11", "100", "1e1", "01", "1.", ".5", "+1"]) {
    assert.ok(!accepts(grammar, text), text);
  }
  const integer = schemaGrammar({ type: "integer", minimum: 0 });
  assert.ok(accepts(integer, "123456789012345678") && !accepts(integer, "1.0") && !accepts(integer, "-1"));
  const free = schemaGrammar({ type: "number" });
  assert.ok(accepts(free, "-1.5e-7") && accepts(free, "6E+23") && !accepts(free, "1e999"));
});

Deno.test("what a bound says agrees with arithmetic on many numbers", () => {
  for (const bound of [0, 1, -1, 7, 10, 99, -100, 0.5, -0.125, 3.75, 1e-7, 1234.5]) {
    const grammars = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map((keyword) =>
      schemaGrammar({ type: "number", [keyword]: bound })
    );
    for (
      const value of [...Array(41).keys()].map((i) => bound + (i - 20) / 16).concat([
        0,
        -0.5,
        1000,
        -1000,
        10,
        1,
        9,
      ])
    ) {
      const text = Number(value.toFixed(10)).toString();
      if (text.includes("e")) continue;
      const number = Number(text);
      const expected = [number >= bound, number <= bound, number > bound, number < bound];
      assert.deepEqual(
        grammars.map((grammar) => accepts(grammar, text)),
        expected,
        `${text} against ${bound}`,
      );
    }
  }
  for (const divisor of [1, 3, 7, 0.5, 0.25, 0.01, 2.5, 12]) {
    const grammar = schemaGrammar({ type: "number", multipleOf: divisor });
    for (let i = -300; i <= 300; i++) {
      const text = (i / 100).toString();
      assert.equal(
        accepts(grammar, text),
        Number.isInteger(Math.round(i * 1000) / Math.round(divisor * 100_000)),
        `${text} of ${divisor}`,
      );
    }
  }
});

Deno.test("an unknown keyword is an annotation, a known one is enforced or refused by name and place", () => {
  assert.ok(
    accepts(
      schemaGrammar({ type: "null", "x-note": 1, title: "t", description: "d", default: 3, examples: [] }),
      "null",
    ),
  );
  const cases: [unknown, GrammarErrorKind, string, string][] = [
    [{ properties: { a: { format: "colour" } } }, "unsupported", "format", "#/properties/a/format"],
    [{ items: { uniqueItems: true } }, "unsupported", "uniqueItems", "#/items/uniqueItems"],
    [
      { properties: { "a/b": { pattern: "(?<=a)b" } } },
      "unsupported",
      "pattern",
      "#/properties/a~1b/pattern",
    ],
    [{ pattern: "(a)\\1" }, "unsupported", "pattern", "#/pattern"],
    [{ pattern: "(" }, "invalid", "pattern", "#/pattern"],
    [{ $ref: "other.json" }, "unsupported", "$ref", "#/$ref"],
    [{ $ref: "#/$defs/none" }, "unsupported", "$ref", "#/$ref"],
    [{ $dynamicRef: "#x" }, "unsupported", "$dynamicRef", "#/$dynamicRef"],
    [
      { anyOf: [{ type: "null" }, { unevaluatedProperties: false, $ref: "#/$defs/a" }], $defs: { a: {} } },
      "unsupported",
      "unevaluatedProperties",
      "#/anyOf/1/unevaluatedProperties",
    ],
    [{ type: "strnig" }, "invalid", "type", "#/type"],
    [{ minLength: -1 }, "invalid", "minLength", "#/minLength"],
    [{ properties: [] }, "invalid", "properties", "#/properties"],
    [{ allOf: [] }, "invalid", "allOf", "#/allOf"],
    [{ multipleOf: 0 }, "invalid", "multipleOf", "#/multipleOf"],
    [{ enum: "a" }, "invalid", "enum", "#/enum"],
    [{ items: 3 }, "invalid", "items", "#/items"],
    [{ allOf: [{ type: "string" }, { type: "null" }] }, "empty", "schema", "#"],
    [{ required: ["a"], properties: { a: false }, type: "object" }, "empty", "schema", "#"],
    [{ type: "array", items: { $ref: "#" }, minItems: 1 }, "empty", "schema", "#"],
    [false, "empty", "schema", "#"],
  ];
  for (const [schema, kind, keyword, path] of cases) {
    const error = refusal(schema);
    assert.deepEqual(
      [error.kind, error.keyword, error.path],
      [kind, keyword, path],
      `${JSON.stringify(schema)}: ${error}`,
    );
    assert.ok(!error.message.includes("\n"));
  }
});

Deno.test("unknown formats are annotations where that is asked for", () => {
  const grammar = schemaGrammar({ type: "string", format: "colour" }, { unknownFormats: "ignore" });
  assert.ok(accepts(grammar, '"red"'));
});

Deno.test("a property that can have no value is not begun", () => {
  const grammar = schemaGrammar({
    type: "object",
    properties: { a: { type: "string", pattern: "^b$", maxLength: 0 }, ab: { type: "null" } },
    additionalProperties: false,
  });
  assert.ok(accepts(grammar, '{"ab":null}') && !accepts(grammar, '{"a":"b"}'));
});

Deno.test("a name is not begun that leaves no place for the names that are asked for", () => {
  const some = (pattern: string) => ({ not: { propertyNames: { not: { pattern } } } });
  const schema = {
    type: "object",
    allOf: [some("a1"), some("b2")],
    propertyNames: { pattern: "^....$" },
    maxProperties: 1,
  };
  const grammar = schemaGrammar(schema);
  assert.ok(accepts(grammar, '{"a1b2":1}') && accepts(grammar, '{"b2a1":{}}'));
  const reaches = (text: string) => {
    let state: State | null = grammar.start;
    for (const byte of new TextEncoder().encode(text)) state = state && grammar.automaton.step(state, byte);
    return state !== null;
  };
  assert.ok(reaches('{"a1b2') && !reaches('{"a1c') && !reaches('{"b2x'));
  const two = schemaGrammar({ ...schema, maxProperties: 2 });
  assert.ok(accepts(two, '{"a1xx":1,"xxb2":2}') && !accepts(two, '{"a1xx":1,"xa1x":2}'));
});
