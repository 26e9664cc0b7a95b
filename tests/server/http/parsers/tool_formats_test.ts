// Forms of tool calls: every form gives the same calls, however its text is cut, and the template tells which one.

import assert from "node:assert/strict";
import { toolFormat, toolFormats } from "../../../../server/http/parsers/tool_formats.ts";
import type { ToolFormat, ToolParserName, ToolPiece } from "../../../../server/http/parsers/tool_format.ts";

const specs = [
  {
    name: "get_weather",
    parameters: { properties: { city: { type: "string" }, days: { type: "integer" } } },
  },
  { name: "ping", parameters: {} },
];

interface Result {
  content: string;
  calls: { name: string; arguments: string; ended: boolean }[];
}

function parse(format: ToolFormat, pieces: readonly string[], start = "", cut = false): Result {
  const parser = format.parser(specs);
  const result: Result = { content: "", calls: [] };
  const take = (found: readonly ToolPiece[]) => {
    for (const piece of found) {
      if (piece.type === "content") result.content += piece.text;
      else if (piece.type === "call") result.calls.push({ name: piece.name, arguments: "", ended: false });
      else if (piece.type === "arguments") result.calls[piece.index]!.arguments += piece.text;
      else if (piece.type === "called") result.calls[piece.index]!.ended = true;
    }
  };
  take(parser.push(start));
  for (const piece of pieces) take(parser.push(piece));
  take(parser.end(cut));
  return result;
}

/** Two calls in each form, after a word where the form has room for one. */
const texts: Readonly<Record<string, string>> = {
  hermes:
    'Sure.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}\n</tool_call>\n' +
    '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>',
  llama:
    '{"name": "get_weather", "parameters": {"city": "Paris", "days": 3}}; {"name": "ping", "parameters": {}}',
  mistral: 'Sure. [TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}, ' +
    '{"name": "ping", "arguments": {}}]',
  deepseek: "Sure.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" +
    '{"city": "Paris", "days": 3}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n' +
    "{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
  // Its messages are all in channels; see harmony_test.ts.
  harmony:
    '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris", "days": 3}' +
    "<|call|><|start|>assistant<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}<|call|>",
  "qwen3-coder": "Sure.\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n" +
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=ping>\n</function>\n</tool_call>",
};
const newer: readonly [string, string][] = [
  ["mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris", "days": 3}[TOOL_CALLS]ping[ARGS]{}'],
  [
    "mistral",
    '[TOOL_CALLS]get_weather[CALL_ID]abc123def[ARGS]{"city": "Paris", "days": 3}[TOOL_CALLS]ping{}',
  ],
  [
    "deepseek",
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris", "days": 3}' +
    "<｜tool▁call▁end｜><｜tool▁call▁begin｜>ping<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
  ],
];

Deno.test("every form of two calls gives both, with arguments as JSON, and the text before them", () => {
  for (const [name, text] of [...Object.entries(texts), ...newer]) {
    const { content, calls } = parse(toolFormat(name as ToolFormat["name"], "")!, [text]);
    assert.equal(content, text.startsWith("Sure.") ? "Sure." : "", name);
    assert.deepEqual(calls.map((call) => [call.name, JSON.parse(call.arguments), call.ended]), [
      ["get_weather", { city: "Paris", days: 3 }, true],
      ["ping", {}, true],
    ], name);
  }
});

Deno.test("however a text is cut, the same comes out", () => {
  const odd = [
    '[TOOL_CALLS] [{"name": "other", "arguments": {}}] x',
    '{"name": "other", "parameters": {}}',
    '{"a": 1}',
    "<tool_call> no <function=other>\n<parameter=a>\n1",
    "<function=ping>\n</function> and more",
    "a < b <｜tool▁calls▁begin｜> c",
    '<tool_call>\n<function=get_weather>\n<parameter=city>\nLe "Mans" 😀\n\n</parameter>\n</function>',
    '{"name": "ping", "parameters": {}} trailing',
  ];
  for (const format of toolFormats) {
    for (const text of [...Object.values(texts), ...newer.map(([, each]) => each), ...odd]) {
      const whole = parse(format, [text]);
      assert.deepEqual(parse(format, [...text]), whole, `${format.name}: ${text}`);
      for (let at = 1; at < text.length; at++) {
        assert.deepEqual(
          parse(format, [text.slice(0, at), text.slice(at)]),
          whole,
          `${format.name} ${at}: ${text}`,
        );
      }
    }
  }
});

Deno.test("what calls no known tool is given back as text, to the last letter", () => {
  const cases: [string, string][] = [
    ["llama", '{"name": "other", "parameters": {"a": 1}}'],
    ["llama", '  {"a": 1}'],
    ["llama", 'See {"name": "ping", "parameters": {}}'],
    ["mistral", '[TOOL_CALLS][{"name": "other", "arguments": {}}]'],
    ["deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>other<｜tool▁sep｜>{}<｜tool▁call▁end｜>"],
    [
      "qwen3-coder",
      "<tool_call>\n<function=other>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
    ],
  ];
  for (const [name, text] of cases) {
    assert.deepEqual(parse(toolFormat(name as ToolFormat["name"], "")!, [...text]), {
      content: text,
      calls: [],
    }, text);
  }
});

Deno.test("a demanded call goes on from its beginning, in every form", () => {
  const templates = ["", "[ARGS]", "```json"];
  for (const format of toolFormats) {
    for (const template of templates) {
      for (const name of [null, "ping"]) {
        const start = format.start(name, template);
        const samples = [
          texts[format.name]!,
          ...newer.filter(([each]) => each === format.name).map(([, t]) => t),
        ];
        // The rest of a sample from where the demanded beginning ends, with the tool's name put in.
        const rests = samples.map((sample) =>
          sample.replace("Sure.", "").trim().replaceAll("get_weather", "ping")
        )
          .map((sample) => sample.replace("] [{", "][{"))
          .filter((sample) => sample.startsWith(start)).map((sample) => sample.slice(start.length));
        assert.ok(rests.length > 0, `${format.name} ${start}`);
        for (const rest of rests) {
          const { calls, content } = parse(format, [...rest], start);
          assert.equal(calls[0]?.name, "ping", `${format.name} ${start}`);
          assert.equal(content, "");
        }
      }
    }
  }
});

Deno.test("arguments come out while they are written", () => {
  const heads: Readonly<Record<string, string>> = {
    llama: '{"name": "get_weather", "parameters": {"city": "Par',
    mistral: '[TOOL_CALLS]get_weather[ARGS]{"city": "Par',
    deepseek: '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Par',
    "qwen3-coder": "<tool_call>\n<function=get_weather>\n<parameter=city>\nPar",
    hermes: '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
    harmony: '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Par',
  };
  for (const format of toolFormats) {
    const pieces = format.parser(specs).push(heads[format.name]!);
    const text = pieces.map((piece) => piece.type === "arguments" ? piece.text : "").join("");
    assert.equal(text, '{"city": "Par', format.name);
  }
});

Deno.test("Qwen3-Coder's bare values become what the schema says", () => {
  const parameter = (key: string, value: string) => `<parameter=${key}>\n${value}\n</parameter>\n`;
  const text = "<function=edit>\n" + parameter("path", "42") + parameter("text", 'a "b"\n\n c\\n') +
    parameter("count", "42") + parameter("list", '["x", 1]') + parameter("on", "True") +
    parameter("odd", "x y") +
    parameter("free", "7") + "</function>";
  const types = {
    path: "string",
    text: "string",
    count: "integer",
    list: "array",
    on: "boolean",
    odd: "number",
  };
  const properties = Object.fromEntries(Object.entries(types).map(([key, type]) => [key, { type }]));
  const format = toolFormat("qwen3-coder", "")!;
  const pieces = format.parser([{ name: "edit", parameters: { properties } }]).push(text);
  const args = pieces.map((piece) => piece.type === "arguments" ? piece.text : "").join("");
  assert.deepEqual(JSON.parse(args), {
    path: "42",
    text: 'a "b"\n\n c\\n',
    count: 42,
    list: ["x", 1],
    on: true,
    odd: "x y",
    free: "7",
  });
});

Deno.test("the chat template tells the form, and a name overrides it", () => {
  const of = (template: string, name: ToolParserName = "auto") => toolFormat(name, template)?.name ?? null;
  assert.equal(
    of('<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'),
    "hermes",
  );
  assert.equal(of("<tool_call>\n<function=example>\n<parameter=a>"), "qwen3-coder");
  assert.equal(of("{{- '[TOOL_CALLS][' }}"), "mistral");
  assert.equal(of("'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type']"), "deepseek");
  assert.equal(of("{{- '<|python_tag|>' + tool_call.name }}"), "llama");
  assert.equal(of("{{ messages }}"), "hermes");
  assert.equal(of("[TOOL_CALLS]", "llama"), "llama");
  assert.equal(of("[TOOL_CALLS]", "none"), null);
});
