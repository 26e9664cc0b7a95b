// POST /v1/responses with OpenAI's client, unchanged, over a socket.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { responsesAnswer } from "../../../server/http/schemas/agent_answers.ts";
import { errorOf, post } from "./client.ts";
import { FakeEngine, type Script } from "./fake_engine.ts";
import { ended, onLoopback } from "./loopback.ts";
import { startPocket } from "./pocket.ts";

const weather = {
  type: "function" as const,
  name: "get_weather",
  description: "Get the weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  strict: false,
};
const patch = { type: "custom" as const, name: "apply_patch", description: "Edit files" };
const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

const client = (url: string, apiKey = "none") => new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0 });

/** The events of a stream, and the response that the client adds up from them. */
async function streamed(openai: OpenAI, body: Parameters<OpenAI["responses"]["stream"]>[0]) {
  const stream = openai.responses.stream(body);
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  return { events, final: await stream.finalResponse() };
}

Deno.test("the official client gets a response of the real engine, whole and streaming, with the same output", async () => {
  await using pocket = await startPocket({ device: "cpu" });
  await using server = onLoopback(pocket.engine);
  const openai = client(server.url);
  const whole = await openai.responses.create({ model: "pocket", input: "What is 23 plus 48?" });
  assert.equal(whole.output_text, "23 plus 48 is 71.");
  assert.equal(whole.status, "completed");
  assert.equal(whole.usage?.input_tokens, 18);
  const { events, final } = await streamed(openai, { model: "pocket", input: "What is 23 plus 48?" });
  assert.equal(final.output_text, whole.output_text);
  assert.ok((final.usage?.input_tokens_details.cached_tokens ?? 0) >= 16);
  assert.ok(events.filter((event) => event.type === "response.output_text.delta").length > 1);
});

Deno.test("a stream has the full sequence of events, numbered, with the same ids as the final response", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["<think>\nhm", "m\n</think>\n\nHel", "lo\n", ...call] }), {
    chatTemplate: "<think> tools",
  });
  await using server = onLoopback(engine);
  const { events, final } = await streamed(client(server.url), {
    model: "fake",
    input: "x",
    tools: [weather],
    include: ["reasoning.encrypted_content"],
  });
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, i) => i));
  const types = events.map((event) => event.type).filter((type, i, all) => type !== all[i - 1]);
  const item = (kind: string, between: readonly string[]) => [
    "response.output_item.added",
    ...between.map((each) => each.replace("*", kind)),
    "response.output_item.done",
  ];
  const text = [
    "response.content_part.added",
    "response.*.delta",
    "response.*.done",
    "response.content_part.done",
  ];
  assert.deepEqual(types, [
    "response.created",
    "response.in_progress",
    ...item("reasoning_text", text),
    ...item("output_text", text),
    ...item("function_call_arguments", ["response.*.delta", "response.*.done"]),
    "response.completed",
  ]);
  const done = events.flatMap((event) => event.type === "response.output_item.done" ? [event.item] : []);
  const last = events.at(-1)!;
  assert.ok(last.type === "response.completed");
  assert.deepEqual(last.response.output, done);
  assert.deepEqual(final.output.map((each) => each.id), done.map((each) => each.id));
  assert.deepEqual(done.map((each) => each.type), ["reasoning", "message", "function_call"]);
  for (const event of events) {
    if ("item_id" in event && "output_index" in event) {
      assert.equal(event.item_id, done[event.output_index]!.id);
    }
  }
  assert.ok((final.usage?.output_tokens_details.reasoning_tokens ?? 0) > 5);
  responsesAnswer.parse(last.response);
});

Deno.test("tools work over two turns: the call, its output, and reasoning come back to the template", async () => {
  const script: Script = (prompt) =>
    prompt.includes("tool: sunny")
      ? { pieces: ["It is sunny."] }
      : { pieces: [`<think>look it up</think>${call}`] };
  const engine = new FakeEngine(script, { chatTemplate: "<think> tools" });
  await using server = onLoopback(engine);
  const openai = client(server.url);
  for (const include of [[], ["reasoning.encrypted_content" as const]]) {
    const input: OpenAI.Responses.ResponseInputItem[] = [
      { role: "developer", content: "Be brief." },
      { role: "user", content: "Weather in Paris?" },
    ];
    const request = { model: "fake", instructions: "You help.", tools: [weather], include };
    const first = await openai.responses.create({ ...request, input });
    const [thought, made] = first.output;
    assert.ok(thought?.type === "reasoning" && made?.type === "function_call");
    assert.deepEqual(JSON.parse(made.arguments), { city: "Paris" });
    // A client that keeps nothing but the encrypted content, as Codex does.
    const { content: _, ...kept } = thought;
    input.push(include.length > 0 ? kept : thought, made, {
      type: "function_call_output",
      call_id: made.call_id,
      output: "sunny",
    });
    const second = await openai.responses.create({ ...request, input });
    assert.equal(second.output_text, "It is sunny.");
    const sent = engine.requests.at(-1)!.input;
    assert.ok(sent.type === "chat");
    assert.deepEqual(sent.messages, [
      { role: "system", content: "You help.\n\nBe brief." },
      { role: "user", content: "Weather in Paris?" },
      {
        role: "assistant",
        content: "",
        reasoning_content: "look it up",
        tool_calls: [{
          id: made.call_id,
          type: "function",
          function: { name: "get_weather", arguments: { city: "Paris" } },
        }],
      },
      { role: "tool", content: "sunny", tool_call_id: made.call_id },
    ]);
  }
});

Deno.test("a custom tool is a function with one text for the model, and free text for the client", async () => {
  const text = "*** Begin Patch\n*** End Patch";
  const written = `<tool_call>\n${
    JSON.stringify({ name: "apply_patch", arguments: { input: text } })
  }\n</tool_call>`;
  const engine = new FakeEngine(() => ({ pieces: [...written] }));
  await using server = onLoopback(engine);
  const grammar = { type: "grammar" as const, syntax: "regex" as const, definition: "[*] [^]*" };
  const { events, final } = await streamed(client(server.url), {
    model: "fake",
    input: "x",
    tools: [{ ...patch, format: grammar }],
  });
  const [made] = final.output;
  assert.ok(made?.type === "custom_tool_call");
  assert.equal(made.input, text);
  assert.ok(
    events.some((event) => event.type === "response.custom_tool_call_input.done" && event.input === text),
  );
  const sent = engine.requests[0]!.input;
  assert.ok(sent.type === "chat" && JSON.stringify(sent.tools).includes('"pattern":"^(?:[*] [^]*)$"'));
  const answered = await client(server.url).responses.create({
    model: "fake",
    input: [{ role: "user", content: "x" }, made, {
      type: "custom_tool_call_output",
      call_id: made.call_id,
      output: "done",
    }],
    tools: [patch],
  });
  assert.equal(answered.status, "completed");
});

Deno.test("a grammar that cannot be enforced is refused by name", async () => {
  await using server = onLoopback(new FakeEngine());
  const format = { type: "grammar", syntax: "lark", definition: "start: /x/" };
  const tools = [{ ...patch, format }];
  const refused = await post(server.app, "/v1/responses", { input: "x", tools });
  assert.equal(refused.status, 400);
  const { message, param } = await errorOf(refused);
  assert.equal(param, "tools[0].format.syntax");
  assert.match(message, /lark cannot be enforced here, only regex/);
});

Deno.test("tools in a namespace keep it, in the call and when the call comes back", async () => {
  const engine = new FakeEngine(() => ({ pieces: [...call.replace("get_weather", "sky.get_weather")] }));
  await using server = onLoopback(engine);
  const tools = [{ type: "namespace", name: "sky", description: "Of the sky", tools: [weather] }];
  const input: unknown[] = [{ role: "user", content: "x" }];
  for (const turn of [1, 2]) {
    const { output } = await (await post(server.app, "/v1/responses", { input, tools })).json();
    const [made] = output;
    assert.deepEqual([made.type, made.namespace, made.name], ["function_call", "sky", "get_weather"]);
    const sent = engine.requests.at(-1)!.input;
    assert.ok(sent.type === "chat");
    assert.equal(JSON.stringify(sent.messages).includes("sky.get_weather"), turn === 2);
    assert.ok(JSON.stringify(sent.tools).includes("sky.get_weather"));
    input.push(made, { type: "function_call_output", call_id: made.call_id, output: "sunny" });
  }
});

Deno.test("an answer that reaches its length is incomplete, and says so in both forms", async () => {
  await using server = onLoopback(new FakeEngine(() => ({ forever: "la" })));
  const request = { model: "fake", input: "x", max_output_tokens: 8 };
  const whole = await client(server.url).responses.create(request);
  assert.equal(whole.status, "incomplete");
  assert.equal(whole.incomplete_details?.reason, "max_output_tokens");
  const { events } = await streamed(client(server.url), request);
  assert.equal(events.at(-1)!.type, "response.incomplete");
});

Deno.test("what would need memory, built-in tools or images is a 400 that names it", async () => {
  await using server = onLoopback(new FakeEngine());
  const refused = async (body: Record<string, unknown>) => {
    const response = await post(server.app, "/v1/responses", { input: "x", ...body });
    assert.equal(response.status, 400, JSON.stringify(body));
    return await errorOf(response);
  };
  const cases: [Record<string, unknown>, string, RegExp][] = [
    [{ previous_response_id: "resp_1" }, "previous_response_id", /nothing is stored/],
    [{ store: true }, "store", /nothing is stored/],
    [{ conversation: "c" }, "conversation", /nothing is stored/],
    [{ background: true }, "background", /not supported/],
    [{ tools: [{ type: "web_search" }] }, "tools[0].type", /no built-in tools/],
    [{ text: { format: { type: "grammar" } } }, "text.format.type", /Invalid/],
    [
      { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] },
      "input[0].content[0].type",
      /no images/,
    ],
    [{ input: [{ type: "item_reference", id: "x" }] }, "input[0].type", /nothing is stored/],
    [{ truncation: "auto" }, "truncation", /disabled/],
  ];
  for (const [body, param, message] of cases) {
    const error = await refused(body);
    assert.equal(error.param, param);
    assert.match(error.message, message);
  }
});

Deno.test("errors have the client's classes, and one in mid-stream is a failed response", async () => {
  const engine = new FakeEngine((prompt) =>
    prompt.includes("break")
      ? { pieces: ["a", "b"], finish: { type: "error", code: "unavailable", message: "a worker ended" } }
      : { pieces: ["fine"] }
  );
  await using server = onLoopback(engine, { apiKeys: ["s3cret"] });
  const failure = (key: string, body: Record<string, unknown>) =>
    client(server.url, key).responses.create({ model: "fake", input: "x", ...body }).then(
      () => null,
      (e) => e,
    );
  assert.ok(await failure("wrong", {}) instanceof OpenAI.AuthenticationError);
  assert.ok(await failure("s3cret", { model: "other" }) instanceof OpenAI.NotFoundError);
  assert.ok(await failure("s3cret", { temperature: 9 }) instanceof OpenAI.BadRequestError);
  assert.equal((await failure("s3cret", { input: "x".repeat(5000) })).code, "context_length_exceeded");
  const stream = await client(server.url, "s3cret").responses.create({
    model: "fake",
    input: "break",
    stream: true,
  });
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of stream) events.push(event);
  const last = events.at(-1)!;
  assert.ok(last.type === "response.failed");
  assert.equal(last.response.error?.message, "a worker ended");
});

Deno.test("a client that aborts a stream ends its generation", async () => {
  const engine = new FakeEngine(() => ({ forever: "la " }), { contextLength: 2 ** 20 });
  await using server = onLoopback(engine);
  const stream = await client(server.url).responses.create({
    model: "fake",
    input: "x",
    max_output_tokens: 1_000_000,
    stream: true,
  });
  let seen = 0;
  for await (const event of stream) {
    if (event.type === "response.output_text.delta" && ++seen === 3) break;
  }
  await ended(engine);
});

Deno.test("gpt-oss's channels become items, whole and streaming", async () => {
  const text =
    "<|channel|>analysis<|message|>Paris, then.<|end|><|start|>assistant<|channel|>final<|message|>" +
    "I look.<|end|><|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>" +
    '{"city": "Paris"}<|call|>';
  const pieces = text.match(/[^]{1,5}/g)!;
  const engine = new FakeEngine(() => ({ pieces }), { chatTemplate: "<|start|>assistant<|channel|>" });
  await using server = onLoopback(engine);
  const openai = client(server.url), body = { model: "fake", input: "x", tools: [weather] };
  const whole = await openai.responses.create(body);
  const { final } = await streamed(openai, body);
  for (const { output, output_text } of [whole, final]) {
    assert.deepEqual(output.map(({ type }) => type), ["reasoning", "message", "function_call"]);
    assert.equal(output_text, "I look.");
    const [reasoning, , call] = output as [
      OpenAI.Responses.ResponseReasoningItem,
      unknown,
      OpenAI.Responses.ResponseFunctionToolCall,
    ];
    assert.equal(reasoning.content![0]!.text, "Paris, then.");
    assert.deepEqual([call.name, call.arguments], ["get_weather", '{"city": "Paris"}']);
  }
});
