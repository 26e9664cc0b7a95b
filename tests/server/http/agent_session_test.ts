// A session of an agent: twenty turns, each of which sends everything again. Whatever API it speaks, the prefix cache
// has to find nearly all of what it could find.

import assert from "node:assert/strict";
import type { Engine } from "../../../engine/engine.ts";
import { post } from "./client.ts";
import { startPocket } from "./pocket.ts";

interface Call {
  readonly id: string;
  readonly name: string;
}

/** A conversation as one API's client keeps it. */
interface Talk {
  readonly path: string;
  /** What is sent in turn `n`. */
  body(n: number): unknown;
  say(text: string): void;
  /** Keeps the answer; gives the call in it and the tokens that came from the cache. */
  keep(answer: Answer): { readonly call: Call | null; readonly cached: number };
  result(call: Call, text: string): void;
}

type Item = Readonly<Record<string, unknown>>;

interface ToolCall {
  readonly id: string;
  readonly function: { readonly name: string };
}

/** What is read of the answers, whichever API they are of. */
interface Answer {
  readonly choices: readonly { readonly message: Item & { readonly tool_calls?: readonly ToolCall[] } }[];
  readonly message: Item & { readonly tool_calls?: readonly ToolCall[] };
  readonly output:
    readonly (Item & { readonly type: string; readonly call_id: string; readonly name: string })[];
  readonly content: readonly (Call & { readonly type: string })[];
  readonly usage: {
    readonly prompt_tokens_details: { readonly cached_tokens: number };
    readonly input_tokens_details: { readonly cached_tokens: number };
    readonly cache_read_input_tokens: number;
  };
}

const system = "You are a careful assistant. Use the tools where they help, and answer in one sentence. "
  .repeat(4);
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const description = "Get the weather in a city";
const name = "get_weather";
const chatTool = { type: "function", function: { name, description, parameters } };

function chat(): Talk {
  const messages: Item[] = [{ role: "system", content: system }];
  return {
    path: "/v1/chat/completions",
    body: () => ({ messages, tools: [chatTool], max_tokens: 48, temperature: 0 }),
    say: (content) => messages.push({ role: "user", content }),
    keep(answer: Answer) {
      const { message } = answer.choices[0]!;
      messages.push(message);
      const call = message.tool_calls?.[0];
      const cached = answer.usage.prompt_tokens_details.cached_tokens;
      return { call: call ? { id: call.id, name: call.function.name } : null, cached };
    },
    result: ({ id }, content) => messages.push({ role: "tool", tool_call_id: id, content }),
  };
}

function responses(): Talk {
  const input: Item[] = [];
  const tool = { type: "function", name, description, parameters };
  return {
    path: "/v1/responses",
    body: () => ({
      instructions: system,
      input,
      tools: [tool],
      max_output_tokens: 48,
      temperature: 0,
      store: false,
    }),
    say: (content) => input.push({ type: "message", role: "user", content }),
    keep(answer: Answer) {
      input.push(...answer.output);
      const call = answer.output.find((item) => item.type === "function_call");
      const cached = answer.usage.input_tokens_details.cached_tokens;
      return { call: call ? { id: call.call_id, name: call.name } : null, cached };
    },
    result: ({ id }, output) => input.push({ type: "function_call_output", call_id: id, output }),
  };
}

function messagesApi(): Talk {
  const messages: Item[] = [];
  return {
    path: "/v1/messages",
    body: (n) => ({
      model: "pocket",
      max_tokens: 48,
      temperature: 0,
      system: [
        { type: "text", text: `x-anthropic-billing-header: cc_version=2.1; cch=${(n * 7919).toString(16)};` },
        { type: "text", text: system, cache_control: { type: "ephemeral" } },
      ],
      messages,
      tools: [{ name, description, input_schema: parameters }],
    }),
    say: (text) => messages.push({ role: "user", content: [{ type: "text", text }] }),
    keep(answer: Answer) {
      messages.push({ role: "assistant", content: answer.content });
      const call = answer.content.find((block) => block.type === "tool_use");
      return { call: call ?? null, cached: answer.usage.cache_read_input_tokens };
    },
    result: ({ id }, content) =>
      messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: id, content }] }),
  };
}

function ollama(): Talk {
  const messages: Item[] = [{ role: "system", content: system }];
  return {
    path: "/api/chat",
    body: () => ({
      model: "pocket",
      messages,
      tools: [chatTool],
      stream: false,
      options: { temperature: 0, num_predict: 48 },
    }),
    say: (content) => messages.push({ role: "user", content }),
    keep(answer: Answer) {
      const { message } = answer;
      messages.push(message);
      const call = message.tool_calls?.[0];
      return { call: call ? { id: call.id, name: call.function.name } : null, cached: NaN };
    },
    result: (call, content) => messages.push({ role: "tool", tool_name: call.name, content }),
  };
}

/** What was computed: prompt and output of each request. */
function record(
  engine: Engine,
): { readonly prompts: number[][]; readonly outputs: number[][]; cached: number[] } {
  const log = { prompts: [] as number[][], outputs: [] as number[][], cached: [] as number[] };
  const submit = engine.submit.bind(engine);
  engine.submit = (request) => {
    const generation = submit(request);
    const output: number[] = [];
    const { follow } = generation;
    generation.follow = (listener) =>
      follow.call(generation, (delta) => {
        output.push(...delta.tokens);
        if (delta.finish) {
          log.outputs.push(output);
          log.cached.push(delta.cachedTokens);
          void generation.promptIds.then((ids) => log.prompts.push([...ids]));
        }
        listener(delta);
      });
    return generation;
  };
  return log;
}

for (const make of [chat, responses, messagesApi, ollama]) {
  const talk = make();
  Deno.test(`twenty turns over ${talk.path} find at least 95 % of what the cache could have`, async () => {
    await using pocket = await startPocket({ device: "cpu" });
    const log = record(pocket.engine);
    let call: Call | null = null;
    let calls = 0;
    for (let turn = 0; turn < 20; turn++) {
      if (call) talk.result(call, `Sunny, ${10 + turn} degrees.`);
      else talk.say(turn % 4 === 0 ? "What is the weather in Paris?" : `What is ${turn + 20} plus 48?`);
      const response = await post(pocket.app, talk.path, talk.body(turn));
      assert.equal(response.status, 200);
      const kept = talk.keep(await response.json());
      if (!Number.isNaN(kept.cached)) assert.equal(kept.cached, log.cached.at(-1));
      call = kept.call;
      if (call) calls++;
    }
    assert.ok(calls >= 3, `${calls} calls`);
    let possible = 0, cached = 0;
    for (let turn = 1; turn < 20; turn++) {
      const before = [...log.prompts[turn - 1]!, ...log.outputs[turn - 1]!];
      const prompt = log.prompts[turn]!;
      let shared = 0;
      while (shared < prompt.length && prompt[shared] === before[shared]) shared++;
      // All that was computed before could be reused if the client sent it back as it was.
      possible += Math.max(shared, Math.min(before.length, prompt.length) - 1);
      cached += log.cached[turn]!;
    }
    const share = cached / possible;
    assert.ok(share >= 0.95, `${cached} of ${possible}: ${share}`);
    assert.ok(share <= 1, `${cached} of ${possible}: ${share}`);
  });
}
