// What published chat templates write for a past call, the form that they are taken for reads as that call. The
// templates are other people's and not kept here: $RADISH_CHAT_TEMPLATES names a folder of them (see
// tests/engine/tokenizer/published_templates_test.ts).

import assert from "node:assert/strict";
import { ChatTemplate } from "../../../../engine/tokenizer/chat_template.ts";
import { toolFormat } from "../../../../server/http/parsers/tool_formats.ts";

const folder = Deno.env.get("RADISH_CHAT_TEMPLATES");

const expected: Readonly<Record<string, string>> = {
  "Bielik-11B-v3.0-Instruct": "hermes",
  "ByteDance-Seed-OSS": "qwen3-coder",
  "MiMo-VL": "hermes",
  "Mistral-Small-3.2-24B-Instruct-2506": "mistral",
  "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen3-coder",
  "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes",
  "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
  "Qwen-QwQ-32B": "hermes",
  "Qwen-Qwen2.5-7B-Instruct": "hermes",
  "Qwen-Qwen3-0.6B": "hermes",
  "Qwen3-Coder": "qwen3-coder",
  "Qwen3.5-4B": "qwen3-coder",
  "Reka-Edge": "hermes",
  "StepFun3.5-Flash": "qwen3-coder",
  "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "deepseek",
  "deepseek-ai-DeepSeek-V3.1": "deepseek",
  "ibm-granite-granite-4.0": "hermes",
  "ibm-granite-granite-4.1": "hermes",
  "meta-llama-Llama-3.1-8B-Instruct": "llama",
  "meta-llama-Llama-3.2-3B-Instruct": "llama",
  "meta-llama-Llama-3.3-70B-Instruct": "llama",
  "mistralai-Ministral-3-14B-Reasoning-2512": "mistral",
  "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
  "unsloth-mistral-Devstral-Small-2507": "mistral",
};

const name = "get_weather";
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};
const tools = [{
  type: "function",
  function: { name, description: "Get the weather in a city", parameters },
}];
const args = { city: "Paris", days: 3 };

/** What the template adds for a call and its result, from the beginning of the tag in which the texts part. */
function renderedCall(source: string): string {
  const template = new ChatTemplate(source, source, { bos_token: "<s>", eos_token: "</s>" });
  const question = [{ role: "user", content: "Weather in Paris?" }];
  const call = { id: "abcdefghi", type: "function", function: { name, arguments: args } };
  const answered = [
    ...question,
    { role: "assistant", content: "", tool_calls: [call] },
    { role: "tool", content: "sunny", name, tool_call_id: "abcdefghi" },
  ];
  const before = template.render(question, { tools }).value,
    after = template.render(answered, { tools }).value;
  let at = 0;
  while (at < before.length && before[at] === after[at]) at++;
  const tag = after.lastIndexOf("<", at - 1);
  return after.slice(tag >= 0 && !after.slice(tag, at).includes(">") ? tag : at);
}

Deno.test({
  name: `calls that published templates write are read in the form that is chosen by them${
    folder === undefined ? " (ignored: $RADISH_CHAT_TEMPLATES names no folder of templates)" : ""
  }`,
  ignore: folder === undefined,
  fn() {
    for (const [file, form] of Object.entries(expected)) {
      const source = Deno.readTextFileSync(`${folder}/${file}.jinja`);
      const format = toolFormat("auto", source)!;
      assert.equal(format.name, form, file);
      const parser = format.parser([{ name, parameters }]);
      const text = renderedCall(source);
      const pieces = [...[...text].flatMap((char) => parser.push(char)), ...parser.end()];
      assert.equal(pieces.filter(({ type }) => type === "call").length, 1, `${file}: ${text}`);
      const read = pieces.map((piece) => piece.type === "arguments" ? piece.text : "").join("");
      assert.deepEqual(JSON.parse(read), args, file);
    }
  },
});
