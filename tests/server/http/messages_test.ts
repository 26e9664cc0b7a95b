// POST /v1/messages and /v1/messages/count_tokens with Anthropic's client, unchanged, over a socket.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { messagesAnswer } from "../../../server/http/schemas/agent_answers.ts";
import { get, post } from "./client.ts";
import { FakeEngine, type Script } from "./fake_engine.ts";
import { ended, onLoopback } from "./loopback.ts";
import { startPocket } from "./pocket.ts";

const weather: Anthropic.Tool = {
  name: "get_weather",
  description: "Get the weather in a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';
const ask = [{ role: "user" as const, content: "What is 23 plus 48?" }];

const client = (url: string, keys: { apiKey?: string; authToken?: string } = { apiKey: "none" }) =>
  new Anthropic({ apiKey: null, authToken: null, baseURL: url, maxRetries: 0, ...keys });

Deno.test("the official client gets an answer of the real engine, whole and streaming, and counts its tokens", async () => {
  await using pocket = await startPocket({ device: "cpu" });
  await using server = onLoopback(pocket.engine);
  const { messages } = client(server.url);
  const request = { model: "pocket", max_tokens: 64, messages: ask };
  const whole = await messages.create(request);
  assert.deepEqual(whole.content.map((block) => block.type === "text" ? block.text : block.type), [
    "23 plus 48 is 71.",
  ]);
  assert.equal(whole.stop_reason, "end_turn");
  assert.equal(whole.usage.input_tokens + (whole.usage.cache_read_input_tokens ?? 0), 18);
  messagesAnswer.parse(JSON.parse(JSON.stringify(whole)));
  const stream = messages.stream(request);
  let text = "";
  stream.on("text", (piece) => text += piece);
  const final = await stream.finalMessage();
  assert.equal(text, "23 plus 48 is 71.");
  assert.deepEqual(final.content, whole.content);
  assert.ok((final.usage.cache_read_input_tokens ?? 0) >= 16);
  const counted = await messages.countTokens({ model: "pocket", messages: ask });
  assert.equal(counted.input_tokens, 18);
});

Deno.test("a stream has Anthropic's sequence of events, with a ping, and thinking before text before tools", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["<think>\nhm", "m\n</think>\n\nHel", "lo\n", ...call] }), {
    chatTemplate: "<think> tools",
  });
  await using server = onLoopback(engine);
  const body = { model: "fake", max_tokens: 500, messages: ask, tools: [weather], stream: true };
  const response = await post(server.app, "/v1/messages", body);
  assert.equal(response.headers.get("request-id"), response.headers.get("x-request-id"));
  const names = [...(await response.text()).matchAll(/^event: (.*)$/gm)].map((found) => found[1]!);
  const block = ["content_block_start", "content_block_delta", "content_block_stop"];
  assert.deepEqual(names.filter((name, i) => name !== names[i - 1]), [
    "message_start",
    "ping",
    ...block,
    ...block,
    ...block,
    "message_delta",
    "message_stop",
  ]);
  const final = await client(server.url).messages.stream({ ...body, stream: undefined! }).finalMessage();
  const [thought, text, use] = final.content;
  assert.ok(thought?.type === "thinking" && thought.thinking === "hmm" && thought.signature !== "");
  assert.ok(text?.type === "text" && text.text === "Hello");
  assert.ok(use?.type === "tool_use" && use.name === "get_weather");
  assert.deepEqual(use.input, { city: "Paris" });
  assert.equal(final.stop_reason, "tool_use");
});

Deno.test("tools work over two turns, and the conversation reaches the template in its order", async () => {
  const script: Script = (prompt) =>
    prompt.includes("tool: sunny")
      ? { pieces: ["It is sunny."] }
      : { pieces: [`<think>look it up</think>${call}`] };
  const engine = new FakeEngine(script, { chatTemplate: "<think> tools" });
  await using server = onLoopback(engine);
  const anthropic = client(server.url);
  const messages: Anthropic.MessageParam[] = [{ role: "user", content: "Weather in Paris?" }];
  const request = {
    model: "fake",
    max_tokens: 500,
    system: [{ type: "text" as const, text: "You help.", cache_control: { type: "ephemeral" as const } }],
    tools: [weather],
    thinking: { type: "disabled" as const },
  };
  const first = await anthropic.messages.create({ ...request, messages });
  const use = first.content.find((block) => block.type === "tool_use")!;
  messages.push({ role: "assistant", content: first.content }, {
    role: "user",
    content: [
      { type: "tool_result", tool_use_id: use.id, content: [{ type: "text", text: "sunny" }] },
      { type: "text", text: "Well?" },
    ],
  });
  const second = await anthropic.messages.create({ ...request, messages });
  assert.deepEqual(second.content.map((block) => block.type), ["text"]);
  const sent = engine.requests.at(-1)!.input;
  assert.ok(sent.type === "ids");
  // The engine is asked with ids; the conversation is what was encoded last.
  const encoded = engine.encoded.at(-1)!;
  assert.ok(encoded.type === "chat");
  assert.deepEqual(encoded.messages, [
    { role: "system", content: "You help." },
    { role: "user", content: "Weather in Paris?" },
    {
      role: "assistant",
      content: "",
      reasoning_content: "look it up",
      tool_calls: [{
        id: use.id,
        type: "function",
        function: { name: "get_weather", arguments: { city: "Paris" } },
      }],
    },
    { role: "tool", content: "sunny", tool_call_id: use.id },
    { role: "user", content: "Well?" },
  ]);
  assert.deepEqual(encoded.templateArgs, { enable_thinking: false });
});

Deno.test("the billing line is cut off, and instructions in mid-conversation stay where they stand", async () => {
  const engine = new FakeEngine();
  await using server = onLoopback(engine);
  const rendered = async (hash: string) => {
    const body = {
      model: "fake",
      system: [
        { type: "text", text: `x-anthropic-billing-header: cc_version=2; cch=${hash};` },
        { type: "text", text: "You help." },
      ],
      messages: [
        { role: "user", content: "one" },
        { role: "assistant", content: "two" },
        { role: "system", content: "Be brief." },
        { role: "user", content: "three" },
      ],
    };
    const counted = await post(server.app, "/v1/messages/count_tokens?beta=true", body);
    assert.equal(counted.status, 200);
    return engine.encoded.at(-1);
  };
  const sent = await rendered("a1");
  assert.ok(sent?.type === "chat");
  assert.deepEqual(sent.messages, [
    { role: "system", content: "You help." },
    { role: "user", content: "one" },
    { role: "assistant", content: "two" },
    { role: "user", content: "Be brief.\n\nthree" },
  ]);
  assert.deepEqual(await rendered("b2"), sent);
});

Deno.test("names that a search for tools found reach the model as text", async () => {
  const engine = new FakeEngine();
  await using server = onLoopback(engine);
  const body = {
    messages: [
      { role: "user", content: "find" },
      { role: "assistant", content: [{ type: "tool_use", id: "toolu_1", name: "ToolSearch", input: {} }] },
      {
        role: "user",
        content: [{
          type: "tool_result",
          tool_use_id: "toolu_1",
          content: [{ type: "tool_reference", tool_name: "get_weather" }],
        }],
      },
    ],
    tools: [{ ...weather, defer_loading: true }],
  };
  assert.equal((await post(server.app, "/v1/messages/count_tokens", body)).status, 200);
  const sent = engine.encoded.at(-1)!;
  assert.ok(sent.type === "chat");
  assert.match(sent.messages.at(-1)!.content!, /get_weather/);
});

Deno.test("stop sequences, length and a full context have their own stop reasons", async () => {
  const engine = new FakeEngine(
    (prompt) => prompt.includes("count") ? { pieces: [..."1 2 3 4"] } : { forever: "la" },
    {
      contextLength: 64,
    },
  );
  await using server = onLoopback(engine);
  const { messages } = client(server.url);
  const stopped = await messages.create({
    model: "fake",
    max_tokens: 32,
    messages: [{ role: "user", content: "count" }],
    stop_sequences: ["3"],
  });
  assert.equal(stopped.stop_reason, "stop_sequence");
  assert.equal(stopped.stop_sequence, "3");
  const sing = [{ role: "user" as const, content: "sing" }];
  assert.equal(
    (await messages.create({ model: "fake", max_tokens: 4, messages: sing })).stop_reason,
    "max_tokens",
  );
  const full = await messages.create({ model: "fake", max_tokens: 20_000, messages: sing });
  assert.equal(full.stop_reason, "model_context_window_exceeded");
});

Deno.test("both kinds of key get in, and errors have Anthropic's shape and the client's classes", async () => {
  const engine = new FakeEngine((prompt) =>
    prompt.includes("break")
      ? { pieces: ["a", "b"], finish: { type: "error", code: "unavailable", message: "a worker ended" } }
      : { pieces: ["fine"] }
  );
  await using server = onLoopback(engine, { apiKeys: ["s3cret"] });
  const create = (keys: Parameters<typeof client>[1], body: Record<string, unknown> = {}) =>
    client(server.url, keys).messages.create({ model: "fake", max_tokens: 10, messages: ask, ...body })
      .then(() => null, (e) => e);
  assert.equal(await create({ apiKey: "s3cret" }), null);
  assert.equal(await create({ authToken: "s3cret" }), null);
  assert.ok(await create({ apiKey: "wrong" }) instanceof Anthropic.AuthenticationError);
  const good = { apiKey: "s3cret" };
  const missing = await create(good, { model: "other" });
  assert.ok(missing instanceof Anthropic.NotFoundError);
  assert.equal(missing.type, "not_found_error");
  const long = await create(good, { messages: [{ role: "user", content: "x".repeat(5000) }] });
  assert.ok(long instanceof Anthropic.BadRequestError);
  assert.match(long.message, /prompt is too long/);
  assert.match(long.message, /4096/);
  const stream = client(server.url, good).messages.stream({
    model: "fake",
    max_tokens: 10,
    messages: [{ role: "user", content: "break" }],
  });
  const broken = await stream.finalMessage().then(() => null, (e) => e);
  assert.ok(broken instanceof Anthropic.APIError);
  assert.match(broken.message, /a worker ended/);
  const unknown = await get(server.app, "/v1/messages/batches", { "x-api-key": "s3cret" });
  assert.equal(unknown.status, 404);
  assert.equal((await unknown.json()).type, "error");
});

Deno.test("images, documents, server tools and unknown forms are a 400 that names them", async () => {
  await using server = onLoopback(new FakeEngine());
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data: "" } };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ messages: [{ role: "user", content: [image] }] }, /messages\[0\]\.content\[0\]\.type: .*no images/],
    [{ messages: [{ role: "user", content: [{ type: "document" }] }] }, /no images, documents/],
    [{ tools: [{ type: "web_search_20250305", name: "web_search" }] }, /tools\[0\].*no server tools/],
    [{ output_config: { format: { type: "grammar" } } }, /output_config\.format\.type: /],
    [{ mcp_servers: [{ type: "url", url: "x", name: "x" }] }, /mcp_servers: not supported/],
    [{ max_tokens: undefined }, /max_tokens: /],
  ];
  for (const [body, message] of cases) {
    const response = await post(server.app, "/v1/messages", {
      model: "fake",
      max_tokens: 5,
      messages: ask,
      ...body,
    });
    assert.equal(response.status, 400, String(message));
    const { type, error, request_id } = await response.json();
    assert.equal(type, "error");
    assert.equal(error.type, "invalid_request_error");
    assert.equal(request_id, response.headers.get("request-id"));
    assert.match(error.message, message);
  }
});

Deno.test("an assistant message at the end is gone on with, and tool choices do what they say", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["x"] }));
  await using server = onLoopback(engine);
  const { messages } = client(server.url);
  await messages.create({
    model: "fake",
    max_tokens: 5,
    messages: [...ask, { role: "assistant", content: "23 plus" }],
  });
  const prefilled = engine.encoded.at(-1)!;
  assert.ok(prefilled.type === "chat" && prefilled.continueFinal === true);
  const choose = async (tool_choice: Anthropic.ToolChoice) => {
    await messages.create({ model: "fake", max_tokens: 5, messages: ask, tools: [weather], tool_choice });
    const sent = engine.encoded.at(-1)!;
    assert.ok(sent.type === "chat");
    return sent;
  };
  assert.match((await choose({ type: "any" })).answerStart!, /<tool_call>\n\{"name": "$/);
  assert.match(
    (await choose({ type: "tool", name: "get_weather" })).answerStart!,
    /"get_weather", "arguments":$/,
  );
  assert.equal((await choose({ type: "none" })).tools, undefined);
});

Deno.test("a client that aborts a stream ends its generation", async () => {
  const engine = new FakeEngine(() => ({ forever: "la " }), { contextLength: 2 ** 20 });
  await using server = onLoopback(engine);
  const stream = client(server.url).messages.stream({ model: "fake", max_tokens: 1_000_000, messages: ask });
  let seen = 0;
  const read = async () => {
    for await (const event of stream) {
      if (event.type === "content_block_delta" && ++seen === 3) stream.abort();
    }
  };
  await assert.rejects(read, Anthropic.APIUserAbortError);
  await ended(engine);
});

Deno.test("the official client lists the model", async () => {
  await using server = onLoopback(new FakeEngine());
  const { models } = client(server.url);
  const list = await models.list();
  assert.deepEqual(list.data.map((model) => [model.id, model.type, model.display_name]), [[
    "fake",
    "model",
    "fake",
  ]]);
  assert.equal((await models.retrieve("fake")).id, "fake");
});
