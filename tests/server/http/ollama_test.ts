// Ollama's API with its own client, unchanged, over a socket.

import assert from "node:assert/strict";
import { type ChatResponse, Ollama } from "ollama";
import { z } from "zod";
import * as answers from "../../../server/http/schemas/agent_answers.ts";
import { get, post } from "./client.ts";
import { FakeEngine, type Script } from "./fake_engine.ts";
import { ended, onLoopback } from "./loopback.ts";
import { startPocket } from "./pocket.ts";

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather in a city",
    parameters: {
      type: "object",
      required: ["city"],
      properties: { city: { type: "string", description: "city" } },
    },
  },
};
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';
const ask = [{ role: "user", content: "What is 23 plus 48?" }];

Deno.test("the official client chats and generates with the real engine, whole and streaming", async () => {
  await using pocket = await startPocket({ device: "cpu" });
  await using server = onLoopback(pocket.engine);
  const ollama = new Ollama({ host: server.url });
  const whole = await ollama.chat({ model: "pocket", messages: ask });
  assert.equal(whole.message.content, "23 plus 48 is 71.");
  assert.equal(whole.done_reason, "stop");
  assert.equal(whole.prompt_eval_count, 18);
  assert.ok(whole.eval_count > 5 && whole.total_duration > 0);
  let text = "", parts = 0;
  let last: ChatResponse | null = null;
  for await (const part of await ollama.chat({ model: "pocket:latest", messages: ask, stream: true })) {
    text += part.message.content;
    parts++;
    last = part;
  }
  assert.equal(text, "23 plus 48 is 71.");
  assert.ok(parts > 2 && last!.done && last!.eval_count === whole.eval_count);
  const generated = await ollama.generate({ model: "pocket", prompt: "What is 23 plus 48?" });
  assert.equal(generated.response, "23 plus 48 is 71.");
  const raw = await ollama.generate({
    model: "pocket",
    prompt: "Once upon a time",
    raw: true,
    options: { num_predict: 5, temperature: 0 },
  });
  assert.equal(raw.eval_count, 5);
  assert.equal(raw.done_reason, "length");
});

Deno.test("tools work over two turns, and thinking comes apart", async () => {
  const script: Script = (prompt) =>
    prompt.includes("tool: sunny")
      ? { pieces: ["It is sunny."] }
      : { pieces: [`<think>look it up</think>${call}`] };
  const engine = new FakeEngine(script, { chatTemplate: "<think> tools" });
  await using server = onLoopback(engine);
  const ollama = new Ollama({ host: server.url });
  const messages = [...ask];
  const first = await ollama.chat({ model: "fake", messages, tools: [weather], think: true });
  assert.equal(first.message.thinking, "look it up");
  assert.deepEqual(first.message.tool_calls?.map(({ function: made }) => [made.name, made.arguments]), [[
    "get_weather",
    { city: "Paris" },
  ]]);
  const calls: unknown[] = [];
  for await (const part of await ollama.chat({ model: "fake", messages, tools: [weather], stream: true })) {
    calls.push(...part.message.tool_calls ?? []);
  }
  assert.equal(calls.length, 1);
  const second = await ollama.chat({
    model: "fake",
    messages: [...messages, first.message, { role: "tool", tool_name: "get_weather", content: "sunny" }],
    tools: [weather],
    think: false,
  });
  assert.equal(second.message.content, "It is sunny.");
  const sent = engine.encoded.at(-1) ?? engine.requests.at(-1)!.input;
  assert.ok(sent.type === "chat");
  assert.equal(sent.messages[1]!["reasoning_content"], "look it up");
  assert.deepEqual(sent.messages[2], { role: "tool", content: "sunny", name: "get_weather" });
  assert.deepEqual(sent.templateArgs, { enable_thinking: false });
});

Deno.test("the model is listed, shown and running, in the form of the documents", async () => {
  await using server = onLoopback(new FakeEngine(undefined, { chatTemplate: "{% if tools %}<think>" }));
  const ollama = new Ollama({ host: server.url });
  assert.deepEqual((await ollama.list()).models.map((model) => model.name), ["fake:latest"]);
  const shown = await ollama.show({ model: "fake" });
  assert.deepEqual(shown.capabilities, ["completion", "tools", "thinking"]);
  assert.equal(Reflect.get(shown.model_info, "qwen3.context_length"), 4096);
  assert.equal((await ollama.ps()).models[0]!.model, "fake:latest");
  assert.match((await ollama.version()).version, /^\d+\.\d+\.\d+$/);
  const loaded = await ollama.generate({ model: "fake", prompt: "" });
  assert.ok(loaded.done && loaded.response === "");

  const exactly = (schema: z.ZodType, value: unknown) => assert.deepEqual(schema.parse(value), value);
  const gets = {
    tags: answers.ollamaTagsAnswer,
    ps: answers.ollamaPsAnswer,
    version: answers.ollamaVersionAnswer,
  };
  for (const [path, schema] of Object.entries(gets)) {
    exactly(schema, await (await get(server.app, `/api/${path}`)).json());
  }
  exactly(answers.ollamaShowAnswer, await (await post(server.app, "/api/show", { model: "fake" })).json());
  const chat = { model: "fake", messages: ask, stream: false };
  exactly(answers.ollamaChatAnswer, await (await post(server.app, "/api/chat", chat)).json());
  const generate = { model: "fake", prompt: "x", stream: false };
  exactly(answers.ollamaGenerateAnswer, await (await post(server.app, "/api/generate", generate)).json());
});

Deno.test("errors have Ollama's shape: before an answer, and in the middle of one", async () => {
  const engine = new FakeEngine((prompt) =>
    prompt.includes("break")
      ? { pieces: ["a", "b"], finish: { type: "error", code: "unavailable", message: "a worker ended" } }
      : { pieces: ["fine"] }
  );
  await using server = onLoopback(engine);
  const ollama = new Ollama({ host: server.url });
  const failure = (request: Promise<unknown>) => request.then(() => null, (error) => error);
  const missing = await failure(ollama.chat({ model: "other", messages: ask }));
  assert.equal(missing.status_code, 404);
  assert.match(missing.message, /other/);
  const formed = await failure(ollama.chat({ model: "fake", messages: ask, format: "xml" }));
  assert.match(formed.message, /format: /);
  const images = await failure(ollama.chat({
    model: "fake",
    messages: [{ role: "user", content: "x", images: ["aGk="] }],
  }));
  assert.match(images.message, /no images/);
  const wide = await failure(ollama.embed({ model: "fake", input: "x", dimensions: 9 }));
  assert.match(wide.message, /dimensions is 9, but this model's embeddings have 8/);
  const stream = await ollama.chat({
    model: "fake",
    messages: [{ role: "user", content: "break" }],
    stream: true,
  });
  const broken = await failure((async () => {
    for await (const _ of stream);
  })());
  assert.match(broken.message, /a worker ended/);
});

Deno.test("a client that aborts a stream ends its generation", async () => {
  const engine = new FakeEngine(() => ({ forever: "la " }), { contextLength: 2 ** 20 });
  await using server = onLoopback(engine);
  const ollama = new Ollama({ host: server.url });
  const stream = await ollama.chat({
    model: "fake",
    messages: ask,
    stream: true,
    options: { num_predict: 1_000_000 },
  });
  const read = async () => {
    let seen = 0;
    for await (const _ of stream) if (++seen === 3) stream.abort();
  };
  await assert.rejects(read, { name: "AbortError" });
  await ended(engine);
});
