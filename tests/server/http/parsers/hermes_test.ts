import assert from "node:assert/strict";
import fc from "fast-check";
import { hermes } from "../../../../server/http/parsers/hermes.ts";
import type { ToolPiece } from "../../../../server/http/parsers/tool_format.ts";

interface Parsed {
  content: string;
  calls: { name: string; arguments: string; ended: boolean }[];
}

const parserOf = (names: readonly string[]) => hermes.parser(names.map((name) => ({ name, parameters: {} })));

function parse(parts: readonly string[], names = ["get_weather", "get_time"]): Parsed {
  const parser = parserOf(names);
  const out: Parsed = { content: "", calls: [] };
  const take = (pieces: readonly ToolPiece[]) => {
    for (const piece of pieces) {
      switch (piece.type) {
        case "content":
          out.content += piece.text;
          break;
        case "call":
          assert.equal(piece.index, out.calls.length);
          out.calls.push({ name: piece.name, arguments: "", ended: false });
          break;
        case "arguments":
          out.calls[piece.index]!.arguments += piece.text;
          break;
        case "called":
          out.calls[piece.index]!.ended = true;
      }
    }
  };
  for (const part of parts) take(parser.push(part));
  take(parser.end());
  return out;
}

const paris = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

Deno.test("a block becomes a call with the arguments as they were written", () => {
  assert.deepEqual(parse([paris]), {
    content: "",
    calls: [{ name: "get_weather", arguments: '{"city": "Paris"}', ended: true }],
  });
});

Deno.test("text around calls stays, white space between them goes", () => {
  const { content, calls } = parse([`Let me look.\n${paris}\n${paris}\n`]);
  assert.equal(content, "Let me look.");
  assert.equal(calls.length, 2);
});

Deno.test("text without calls stays exactly as it is", () => {
  for (const text of ["", "hello \n", "a < b", "<tool", "<tool_calls>", "1\n\n2 "]) {
    assert.deepEqual(parse([text]), { content: text, calls: [] });
  }
});

Deno.test("a block that calls no known tool, or is no JSON, is given back as text", () => {
  for (
    const block of [
      '<tool_call>\n{"name": "rm", "arguments": {}}\n</tool_call>',
      "<tool_call>hello</tool_call>",
      "<tool_call>{}</tool_call>",
      "<tool_call>[1,",
      '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
      "<tool_call>",
    ]
  ) assert.deepEqual(parse([block]), { content: block, calls: [] });
});

Deno.test("other forms of a call are understood: keys in another order, parameters, no arguments, text", () => {
  const form = (json: string) => parse([`<tool_call>${json}</tool_call>`]).calls[0];
  assert.equal(form('{"arguments": {"a": 1}, "name": "get_time"}')?.arguments, '{"a":1}');
  assert.equal(form('{"name": "get_time", "parameters": {"a": 1}}')?.arguments, '{"a":1}');
  assert.equal(form('{"name": "get_time"}')?.arguments, "{}");
  assert.equal(form('{"name": "get_time", "arguments": "{\\"a\\": 1}"}')?.arguments, '{"a": 1}');
});

Deno.test("a closing tag or braces inside a string do not end the call", () => {
  const args = '{"city": "a}\\"</tool_call>{"}';
  const { calls, content } = parse([`<tool_call>{"name": "get_time", "arguments": ${args}}</tool_call>`]);
  assert.equal(content, "");
  assert.deepEqual(calls, [{ name: "get_time", arguments: args, ended: true }]);
});

Deno.test("a call that is cut off has the arguments that came", () => {
  const { calls } = parse([paris.slice(0, paris.indexOf("ris"))]);
  assert.deepEqual(calls, [{ name: "get_weather", arguments: '{"city": "Pa', ended: true }]);
});

Deno.test("arguments come out while they are written", () => {
  const parser = parserOf(["get_weather"]);
  const pieces = paris.match(/[^]{1,4}/g)!.map((part) => parser.push(part));
  const argumentPieces = pieces.flat().filter((piece) => piece.type === "arguments");
  assert.ok(argumentPieces.length > 3);
  assert.equal(pieces.flat().findIndex((piece) => piece.type === "call"), 0);
});

Deno.test("every split of a text gives the same content and calls", () => {
  const atom = fc.constantFrom(
    "<tool_call>",
    "</tool_call>",
    '{"name": "get_weather", "arguments": {"city": "Paris"}}',
    '{"name": "get_weather", "arguments": ',
    '{"name": "unknown", "arguments": {}}',
    '{"arguments": {}, "name": "get_time"}',
    '{"a": "}\\""}',
    "{",
    "}",
    '"',
    "<tool",
    "\n",
    " ",
    "word",
    "😀",
  );
  fc.assert(
    fc.property(
      fc.array(atom, { maxLength: 12 }).map((atoms) => atoms.join("")),
      fc.infiniteStream(fc.integer({ min: 1, max: 6 })),
      (text, lengths) => {
        const parts: string[] = [];
        for (let at = 0; at < text.length;) {
          const length = lengths.next().value as number;
          parts.push(text.slice(at, at + length));
          at += length;
        }
        const parsed = parse(parts);
        assert.deepEqual(parsed, parse([text]));
        if (parsed.calls.length === 0) assert.equal(parsed.content, text);
      },
    ),
    { seed: 11, numRuns: 3000 },
  );
});

Deno.test("a call that the token limit cuts off in its head leaves no tag in the content", () => {
  const cut = (text: string) => {
    const parser = parserOf(["get_weather"]);
    return [...parser.push(text), ...parser.end(true)];
  };
  for (const text of ["<tool_call>", '<tool_call>\n{"name": "get_w', '<tool_call>\n{"na']) {
    assert.deepEqual(cut(text), [], text);
  }
  assert.deepEqual(cut('<tool_call>\n{"name": "get_weather", "argu'), [
    { type: "call", index: 0, name: "get_weather" },
    { type: "called", index: 0 },
  ]);
  // What is no beginning of a call is text, cut off or not.
  assert.deepEqual(cut("<tool_call>later"), [{ type: "content", text: "<tool_call>later" }]);
});
