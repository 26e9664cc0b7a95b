// EBNF in both dialects, choices, sequences, triggered tags.
import assert from "node:assert/strict";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import { compileGrammar } from "../../../engine/grammar/grammar.ts";
import type { GrammarSource, TagsSource } from "../../../engine/grammar/source.ts";
import { accepts } from "./support.ts";

function check(source: GrammarSource, yes: readonly string[], no: readonly string[]): void {
  const grammar = compileGrammar(source);
  for (const text of yes) assert.ok(accepts(grammar, text), `${JSON.stringify(text)} is refused`);
  for (const text of no) assert.ok(!accepts(grammar, text), `${JSON.stringify(text)} is accepted`);
}

const ebnf = (grammar: string, root?: string): GrammarSource => ({
  kind: "ebnf",
  grammar,
  ...(root && { root }),
});

Deno.test("a GBNF grammar: comments, rules over lines, classes, counts, escapes", () => {
  const grammar = `
# arithmetic
root  ::= (expr "=" ws term "\\n"){1,2}
expr  ::= term ([-+*/] term)*
term  ::= ident | num |
  "(" ws expr ")" ws    # nested
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
`;
  check(ebnf(grammar), ["a+1=2\n", "(x_1 *(3+4)) /y=\t7\n", "1=1\n2=2\n"], [
    "a+=2\n",
    "1=1",
    "1=1\n2=2\n3=3\n",
  ]);
});

Deno.test("xgrammar's dialect: several rules on a line, repetition with open ends, any character", () => {
  check(ebnf('root ::= a{2,} b? . a ::= "x" | [^\\]\\x41-\\x43] b ::= "\\u00e9"'), ["xxé!", "xyz", "xx\n"], [
    "x",
    "xA",
    "]]x",
  ]);
  check(ebnf('main ::= "a"\nother ::= "b"', "other"), ["b"], ["a"]);
});

Deno.test("left recursion becomes repetition", () => {
  check(ebnf('root ::= list\nlist ::= list "," item | item\nitem ::= "a" | "(" list ")"'), [
    "a",
    "a,a",
    "(a,(a)),a",
  ], ["", ",a", "(a"]);
});

Deno.test("mistakes in a grammar are refused with their line and column", () => {
  const cases: [string, RegExp][] = [
    ['root ::= "a', /line 1, column 10/],
    ['root ::= "a"\nroot ::= "b"', /line 2, column 1: the rule root is there twice/],
    ["root ::= nothing", /line 1, column 10: there is no rule nothing/],
    ['root ::= ("a"', /line 1, column 10: a group is not closed/],
    ['top ::= "a"', /there is no rule "root"/],
    ['root ::= "a"{3,2}', /allows nothing/],
    ["root ::= [z-a]", /the range z-a is empty/],
    ['"a" ::= "b"', /a grammar begins with a rule/],
    ["", /a grammar begins with a rule/],
  ];
  for (const [grammar, message] of cases) {
    assert.throws(() => compileGrammar(ebnf(grammar)), (error) => {
      assert.ok(error instanceof GrammarError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("a choice is one of its texts", () => {
  check({ kind: "choice", choices: ["yes", "no", "yesterday", "日本"] }, ["yes", "no", "yesterday", "日本"], [
    "",
    "ye",
    "yesno",
  ]);
  assert.throws(() => compileGrammar({ kind: "choice", choices: [] }), { kind: "empty" });
});

Deno.test("sequences and alternatives of grammars of different kinds", () => {
  check(
    {
      kind: "sequence",
      parts: [
        { kind: "regex", pattern: "[a-z]+: " },
        {
          kind: "any_of",
          parts: [{ kind: "json_schema", schema: { type: "integer" } }, { kind: "json_object" }],
        },
        { kind: "choice", choices: [".", "!"] },
      ],
    },
    ["a: 1.", "abc: {}!", 'x: {"a": [1]}.'],
    ["a: 1", ": 1.", 'a: "x".', "a: .1."],
  );
});

const call = (name: string, schema: object): TagsSource["tags"][number] => ({
  begin: `<tool_call>\n{"name": "${name}", "arguments": `,
  content: { kind: "json_schema", schema: schema as never },
  end: "}\n</tool_call>",
});
const tags: TagsSource = {
  kind: "tags",
  triggers: ["<tool_call>"],
  tags: [
    call("add", {
      type: "object",
      properties: { a: { type: "integer" } },
      required: ["a"],
      additionalProperties: false,
    }),
    call("now", { type: "object", additionalProperties: false }),
  ],
};
const good = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>';

Deno.test("text is free until a trigger, and from there on the schema", () => {
  check(
    tags,
    [
      "",
      "hello <tool> <<tool_call",
      good,
      `Let me see. ${good} and ${good}`,
      `<${good}`,
      "any bytes: ü 日本",
    ],
    [
      "<tool_call>",
      "<tool_call> {",
      good.replace("add", "sub"),
      good.replace("1", '"1"'),
      `${good} <tool_call>`,
    ],
  );
});

Deno.test("a tag can be asked for, and be the last thing", () => {
  check({ ...tags, atLeastOne: true }, [good, `x ${good} y`], ["", "no call"]);
  check({ ...tags, atLeastOne: true, stopAfterFirst: true }, [good, `x ${good}`], [
    "",
    `${good} y`,
    good + good,
  ]);
});

Deno.test("a tag that no trigger begins is refused", () => {
  assert.throws(() => compileGrammar({ ...tags, triggers: ["<function"] }), {
    kind: "invalid",
    keyword: "tags",
  });
});

Deno.test("a grammar's source goes through a message port and is the same grammar on the other side", async () => {
  const channel = new MessageChannel();
  const received = new Promise<GrammarSource>((resolve) => {
    channel.port2.onmessage = ({ data }: MessageEvent<GrammarSource>) => resolve(data);
  });
  channel.port1.postMessage(compileGrammar(tags).source);
  check(await received, [good], ["<tool_call>"]);
  channel.port1.close();
  channel.port2.close();
});
