// Answers of gpt-oss, written by hand from the format that was published with it: reasoning, content and calls, however
// the text is cut.

import assert from "node:assert/strict";
import { AnswerParser } from "../../../../server/http/answer_parser.ts";
import { harmony } from "../../../../server/http/parsers/harmony.ts";

const specs = [{ name: "get_weather", parameters: {} }, { name: "now", parameters: {} }];

interface Answer {
  reasoning: string;
  content: string;
  calls: { name: string; arguments: string; ended: boolean }[];
}

/** An answer that comes in pieces. */
function parse(pieces: readonly string[], { start = "", merged = false } = {}): Answer {
  const reasoning = merged ? null : { open: false };
  const parser = new AnswerParser({
    reasoning,
    tools: { format: harmony, specs },
    start,
    parallelToolCalls: true,
  });
  const answer: Answer = { reasoning: "", content: "", calls: [] };
  const parts = pieces.flatMap((piece) => parser.push(piece, null));
  parts.push(...parser.push("", { type: "stop", matched: 0 }));
  for (const part of parts) {
    if (part.type === "call") answer.calls.push({ name: part.name, arguments: "", ended: false });
    else if (part.type === "arguments") answer.calls[part.index]!.arguments += part.text;
    else if (part.type === "called") answer.calls[part.index]!.ended = true;
    else answer[part.type] += part.text;
  }
  return answer;
}

const analysis = "<|channel|>analysis<|message|>User asks about 2 + 2.\nEasy: 2 < 3 <| 4.<|end|>";
const final = "<|start|>assistant<|channel|>final<|message|>2 + 2 = 4.\n\nSure.<|return|>";
const thought = "User asks about 2 + 2.\nEasy: 2 < 3 <| 4.";
const call = "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" +
  '{"city": "Paris <3"}<|call|>';
const called = { name: "get_weather", arguments: '{"city": "Paris <3"}', ended: true };

const recorded: readonly (readonly [title: string, text: string, expected: Answer])[] = [
  ["thoughts and an answer", analysis + final, {
    reasoning: thought,
    content: "2 + 2 = 4.\n\nSure.",
    calls: [],
  }],
  ["an answer alone, not ended", "<|channel|>final<|message|>Hi", {
    reasoning: "",
    content: "Hi",
    calls: [],
  }],
  ["thoughts and a call", analysis + call, { reasoning: thought, content: "", calls: [called] }],
  [
    "the recipient in front of the channel",
    call.replace(/<\|channel\|>commentary to=(\S+) /, " to=$1<|channel|>commentary"),
    {
      reasoning: "",
      content: "",
      calls: [called],
    },
  ],
  [
    "a preamble, then two calls",
    "<|channel|>commentary<|message|>I will look.<|end|>" + call + call.replace("get_weather", "now"),
    { reasoning: "", content: "I will look.", calls: [called, { ...called, name: "now" }] },
  ],
  ["a message without an end", analysis.replace("<|end|>", "") + final, {
    reasoning: thought,
    content: "2 + 2 = 4.\n\nSure.",
    calls: [],
  }],
  [
    "a call of an unknown tool is content",
    "<|channel|>commentary to=browser.open json<|message|>{}<|call|>",
    {
      reasoning: "",
      content: "{}",
      calls: [],
    },
  ],
  ["a text without channels", "Hello <b>you</b>", { reasoning: "", content: "Hello <b>you</b>", calls: [] }],
  ["a header that is cut", "<|channel|>anal", { reasoning: "", content: "", calls: [] }],
  ["nothing", "", { reasoning: "", content: "", calls: [] }],
];

for (const [title, text, expected] of recorded) {
  Deno.test(`harmony: ${title}, in one piece, by letters, and cut anywhere`, () => {
    assert.deepEqual(parse([text]), expected);
    assert.deepEqual(parse([...text]), expected);
    for (let at = 1; at < text.length; at++) {
      assert.deepEqual(parse([text.slice(0, at), text.slice(at)]), expected);
    }
  });
}

Deno.test("harmony: text is given out as it comes, and reasoning tokens are counted", () => {
  const tools = { format: harmony, specs };
  const parser = new AnswerParser({ reasoning: { open: false }, tools, start: "", parallelToolCalls: true });
  assert.deepEqual(parser.push("<|channel|>analysis<|message|>Think", null, 4), [{
    type: "reasoning",
    text: "Think",
  }]);
  assert.deepEqual(parser.push(" hard<|e", null, 2), [{ type: "reasoning", text: " hard" }]);
  assert.deepEqual(parser.push("nd|><|start|>assistant<|channel|>final<|message|>A", null, 5), [
    { type: "content", text: "A" },
  ]);
  assert.equal(parser.reasoningTokens, 6);
});

Deno.test("harmony: reasoning that is not to be split off is content", () => {
  assert.deepEqual(parse([analysis + final], { merged: true }), {
    reasoning: "",
    content: thought + "2 + 2 = 4.\n\nSure.",
    calls: [],
  });
});

Deno.test("harmony: a demanded call, and an answer without thoughts, begin in the prompt", () => {
  const args = '{"city": "Paris"}';
  assert.deepEqual(parse([`${args}<|call|>`], { start: harmony.start("get_weather", "") }).calls, [
    { name: "get_weather", arguments: args, ended: true },
  ]);
  const rest = ` now <|constrain|>json<|message|>{}<|call|>`.trimStart();
  assert.deepEqual(parse([rest], { start: harmony.start(null, "") }).calls, [
    { name: "now", arguments: "{}", ended: true },
  ]);
  assert.equal(parse(["[1]"], { start: harmony.answerStart! }).content, "[1]");
});
