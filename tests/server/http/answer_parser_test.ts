import assert from "node:assert/strict";
import { AnswerParser } from "../../../server/http/answer_parser.ts";
import { toolFormats } from "../../../server/http/parsers/tool_formats.ts";

/** What models write behind the beginning of a demanded call. */
const rests: Readonly<Record<string, string>> = {
  hermes: ' {"a": 1}}\n</tool_call>',
  llama: ' {"a": 1}}',
  mistral: ' {"a": 1}}]',
  deepseek: '{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
  harmony: '{"a": 1}<|call|>',
  "qwen3-coder": "<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
};

Deno.test("a demanded call whose name stands in the prompt is announced, in every form", () => {
  const specs = [{ name: "f", parameters: { properties: { a: { type: "integer" } } } }];
  for (const format of toolFormats) {
    const start = format.start("f", "");
    const parser = new AnswerParser({
      reasoning: null,
      tools: { format, specs },
      start,
      parallelToolCalls: true,
    });
    const parts = [...rests[format.name]!].flatMap((letter) => parser.push(letter, null));
    parts.push(...parser.push("", { type: "stop", matched: 0 }));
    assert.deepEqual(parts[0], { type: "call", index: 0, name: "f" }, format.name);
    const json = parts.map((part) => part.type === "arguments" ? part.text : "").join("");
    assert.deepEqual(JSON.parse(json), { a: 1 }, format.name);
    assert.deepEqual(parts.at(-1), { type: "called", index: 0 }, format.name);
    assert.equal(parser.calls, 1);
  }
});
