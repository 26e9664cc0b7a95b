import assert from "node:assert/strict";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, events, openai, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;
const hello = { model: "fake", messages: [{ role: "user" as const, content: "hello" }] };
const weather = {
  type: "function" as const,
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

function split(text: string): string[] {
  return text.match(/[^]{1,3}/g) ?? [];
}

Deno.test("a chat answers with message, finish reason, usage, and the id of the header", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: ["Hi", " there"] })), silent);
  const response = await post(app, "/v1/chat/completions", hello);
  assert.equal(response.status, 200);
  const body = await response.json();
  assert.equal(body.object, "chat.completion");
  assert.equal(body.model, "fake");
  assert.equal(body.id, response.headers.get("x-request-id"));
  assert.match(body.id, /^chatcmpl-/);
  assert.deepEqual(body.choices[0].message, { role: "assistant", content: "Hi there" });
  assert.equal(body.choices[0].finish_reason, "stop");
  const prompt = "user: hello\nassistant: ".length;
  assert.deepEqual(body.usage, {
    prompt_tokens: prompt,
    completion_tokens: 9,
    total_tokens: prompt + 9,
    prompt_tokens_details: { cached_tokens: Math.floor(prompt / 2) },
  });
});

Deno.test("a stream is role, deltas, finish reason, usage, done", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: ["Hi", " there"] })), silent);
  const response = await post(app, "/v1/chat/completions", {
    ...hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const chunks = await events(response) as {
    id: string;
    choices: { delta: Record<string, unknown>; finish_reason: string | null }[];
    usage: unknown;
  }[];
  assert.equal(chunks.pop() as unknown, "[DONE]");
  const deltas = chunks.slice(0, -1).map((
    chunk,
  ) => [chunk.choices[0]!.delta, chunk.choices[0]!.finish_reason]);
  assert.deepEqual(deltas, [
    [{ role: "assistant", content: "" }, null],
    [{ content: "Hi" }, null],
    [{ content: " there" }, null],
    [{}, "stop"],
  ]);
  const last = chunks.at(-1)!;
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
});

Deno.test("a client's x-request-id comes back in header and body, unless it could break a line", async () => {
  const app = createApp(new FakeEngine(), silent);
  const good = await post(app, "/v1/chat/completions", hello, { "x-request-id": "mine-1" });
  assert.equal(good.headers.get("x-request-id"), "mine-1");
  assert.equal((await good.json()).id, "mine-1");
  const stream = await post(app, "/v1/chat/completions", { ...hello, stream: true }, {
    "x-request-id": "mine-2",
  });
  assert.equal(stream.headers.get("x-request-id"), "mine-2");
  assert.match(await stream.text(), /"id":"mine-2"/);
  const missing = await post(app, "/nowhere", hello, { "x-request-id": "mine-3" });
  assert.equal(missing.headers.get("x-request-id"), "mine-3");
  await missing.body?.cancel();
  const bad = await post(app, "/v1/chat/completions", hello, { "x-request-id": "two words" });
  assert.match(bad.headers.get("x-request-id")!, /^chatcmpl-/);
  await bad.body?.cancel();
});

Deno.test("the official client reads answers, streams, choices and log-probabilities", async () => {
  const app = createApp(new FakeEngine((_prompt, params) => ({ pieces: [`seed ${params.seed}`] })), silent);
  const client = openai(app);
  const answer = await client.chat.completions.create({
    ...hello,
    n: 2,
    seed: 5,
    logprobs: true,
    top_logprobs: 2,
  });
  assert.deepEqual(answer.choices.map((choice) => choice.message.content), ["seed 5", "seed 6"]);
  const first = answer.choices[0]!.logprobs!.content![0]!;
  assert.equal(first.token, "s");
  assert.deepEqual(first.bytes, [115]);
  assert.equal(first.top_logprobs.length, 2);

  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...hello, stream: true, seed: 1 })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  assert.equal(text, "seed 1");
});

Deno.test("closing a stream aborts its generation", async () => {
  const engine = new FakeEngine(() => ({ forever: "again " }));
  const app = createApp(engine, silent);
  const stream = await openai(app).chat.completions.create({ ...hello, stream: true, max_tokens: 4096 });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 3) break;
  await app.service.drain();
  assert.equal(engine.live.size, 0);
  assert.equal((await engine.counters()).abortedTotal, 1);
  assert.ok((await engine.counters()).generatedTokensTotal < 2000);
});

Deno.test("a client that goes away before a whole answer aborts it", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const controller = new AbortController();
  const response = app.fetch(
    new Request("http://localhost/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(hello),
      signal: controller.signal,
    }),
  );
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  controller.abort();
  await (await response).body?.cancel();
  await app.service.drain();
  assert.equal((await engine.counters()).abortedTotal, 1);
});

Deno.test("thoughts become reasoning_content, streaming and not", async () => {
  const script = () => ({ pieces: split("<think>\n2 and 2\n</think>\n\nIt is 4.") });
  const app = createApp(new FakeEngine(script), silent);
  const whole = await (await post(app, "/v1/chat/completions", hello)).json();
  assert.deepEqual(whole.choices[0].message, {
    role: "assistant",
    content: "It is 4.",
    reasoning_content: "2 and 2",
  });
  const raw = await (await post(app, "/v1/chat/completions", { ...hello, separate_reasoning: false })).json();
  assert.equal(raw.choices[0].message.content, "<think>\n2 and 2\n</think>\n\nIt is 4.");

  const sums = { content: "", reasoning_content: "" };
  for (const chunk of await events(await post(app, "/v1/chat/completions", { ...hello, stream: true }))) {
    if (typeof chunk !== "object") continue;
    const { delta } = (chunk as { choices: { delta: Partial<typeof sums> }[] }).choices[0]!;
    sums.content += delta.content ?? "";
    sums.reasoning_content += delta.reasoning_content ?? "";
  }
  assert.deepEqual(sums, { content: "It is 4.", reasoning_content: "2 and 2" });
});

Deno.test("a template that opens the block makes the answer begin with reasoning", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["hm", "</think>", "yes"] }), {
    chatTemplate: "...<think>\n",
  });
  const app = createApp(engine, silent);
  const body = await (await post(app, "/v1/chat/completions", {
    messages: [{ role: "assistant", content: "<think>\n" }],
    continue_final_message: true,
  })).json();
  assert.equal(body.choices[0].message.reasoning_content, "hm");
  assert.equal(body.choices[0].message.content, "yes");
});

const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>';

Deno.test("tool calls come out as such, streaming and not, and end with tool_calls", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: split(call) })), silent);
  const client = openai(app);
  const answer = await client.chat.completions.create({ ...hello, tools: [weather] });
  const choice = answer.choices[0]!;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, null);
  const made = choice.message.tool_calls![0]!;
  assert.equal(made.type, "function");
  assert.ok(made.type === "function");
  assert.equal(made.function.name, "get_weather");
  assert.deepEqual(JSON.parse(made.function.arguments), { city: "Paris" });
  assert.match(made.id, /^call_[0-9a-f]{24}$/);

  const stream = client.chat.completions.stream({ ...hello, tools: [weather] });
  let argumentChunks = 0;
  stream.on("tool_calls.function.arguments.delta", () => argumentChunks++);
  const final = await stream.finalChatCompletion();
  const streamed = final.choices[0]!.message.tool_calls![0]!;
  assert.ok(streamed.type === "function");
  assert.equal(streamed.function.arguments, '{"city": "Paris"}');
  assert.equal(final.choices[0]!.finish_reason, "tool_calls");
  assert.ok(argumentChunks > 2);
});

Deno.test("a template with tags that are special tokens keeps them in the text, and its calls are parsed", async () => {
  const written = '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]';
  const engine = new FakeEngine(() => ({ pieces: [...written] }), { chatTemplate: "tools [TOOL_CALLS]" });
  const app = createApp(engine, { logFormat: "none" });
  const messages = [{ role: "user", content: "x" }];
  const tools = [{ type: "function", function: { name: "get_weather", parameters: {} } }];
  const body = await (await post(app, "/v1/chat/completions", { messages, tools })).json();
  assert.deepEqual(JSON.parse(body.choices[0].message.tool_calls[0].function.arguments), { city: "Paris" });
  assert.equal(engine.requests[0]!.params.skipSpecialTokens, false);
  await (await post(app, "/v1/chat/completions", { messages })).body?.cancel();
  assert.equal(engine.requests[1]!.params.skipSpecialTokens, true);
});

Deno.test("tool_choice none keeps the tools from the prompt, and blocks in the text", async () => {
  const engine = new FakeEngine(() => ({ pieces: [call] }));
  const app = createApp(engine, silent);
  const body =
    await (await post(app, "/v1/chat/completions", { ...hello, tools: [weather], tool_choice: "none" }))
      .json();
  assert.equal(body.choices[0].message.content, call);
  const input = engine.requests[0]!.input;
  assert.ok(input.type === "chat" && input.tools === undefined);
});

Deno.test("without a parser tools are offered, calls stay text, and none can be demanded", async () => {
  const engine = new FakeEngine(() => ({ pieces: [call] }));
  const app = createApp(engine, { ...silent, toolParser: "none" });
  const body = await (await post(app, "/v1/chat/completions", { ...hello, tools: [weather] })).json();
  assert.equal(body.choices[0].message.content, call);
  const input = engine.requests[0]!.input;
  assert.ok(input.type === "chat" && input.tools?.length === 1);
  const refused = await post(app, "/v1/chat/completions", {
    ...hello,
    tools: [weather],
    tool_choice: "required",
  });
  assert.equal((await errorOf(refused)).param, "tool_choice");
});

Deno.test("a demanded call is begun in the prompt and finished by the model", async () => {
  const engine = new FakeEngine((prompt) => {
    const [, start] = prompt.split("assistant: ");
    return { pieces: split(call.slice(start!.length)) };
  });
  const app = createApp(engine, silent);
  const named = { type: "function", function: { name: "get_weather" } };
  for (const tool_choice of ["required", named]) {
    const body = await (await post(app, "/v1/chat/completions", { ...hello, tools: [weather], tool_choice }))
      .json();
    assert.equal(body.choices[0].finish_reason, "tool_calls");
    assert.equal(body.choices[0].message.tool_calls[0].function.name, "get_weather");
    assert.equal(body.choices[0].message.tool_calls[0].function.arguments, '{"city": "Paris"}');
  }
  const input = engine.requests[1]!.input;
  assert.ok(input.type === "chat"); // the conversation is rendered as any other, so messages stay ordinary text
  assert.equal(input.answerStart, '<tool_call>\n{"name": "get_weather", "arguments":');
});

Deno.test("without parallel tool calls the answer ends behind the first one", async () => {
  const engine = new FakeEngine(() => ({ pieces: split(call + call) }));
  const app = createApp(engine, silent);
  const body = await (await post(app, "/v1/chat/completions", {
    ...hello,
    tools: [weather],
    parallel_tool_calls: false,
  })).json();
  assert.equal(body.choices[0].message.tool_calls.length, 1);
  assert.equal(body.choices[0].finish_reason, "tool_calls");
  assert.equal((await engine.counters()).abortedTotal, 1);
});

Deno.test("messages reach the template with text content, parsed arguments and known roles", async () => {
  const engine = new FakeEngine();
  const app = createApp(engine, silent);
  const response = await post(app, "/v1/chat/completions", {
    messages: [
      { role: "developer", content: "be kind" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      {
        role: "assistant",
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"x": 1}' } }],
      },
      { role: "tool", tool_call_id: "c1", content: "done" },
    ],
    chat_template_kwargs: { enable_thinking: false },
  });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  const input = engine.requests[0]!.input;
  assert.ok(input.type === "chat");
  assert.deepEqual(input.messages, [
    { role: "system", content: "be kind" },
    { role: "user", content: "ab" },
    {
      role: "assistant",
      content: "",
      tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: { x: 1 } } }],
    },
    { role: "tool", content: "done", tool_call_id: "c1" },
  ]);
  assert.deepEqual(input.templateArgs, { enable_thinking: false });
});

Deno.test("sampling fields arrive in the engine, missing ones as the model's defaults", async () => {
  const engine = new FakeEngine(undefined, { generationDefaults: { temperature: 0.6, topK: 20 } });
  const app = createApp(engine, silent);
  const send = async (fields: Record<string, unknown>) => {
    const response = await post(app, "/v1/chat/completions", { ...hello, ...fields });
    assert.equal(response.status, 200, await response.clone().text());
    await response.body?.cancel();
    return engine.requests.at(-1)!;
  };
  const bare = (await send({})).params;
  assert.equal(bare.temperature, 0.6);
  assert.equal(bare.topK, 20);
  assert.equal(bare.maxTokens, null);
  assert.equal(bare.logprobs, null);
  const { params, salt } = await send({
    temperature: 0,
    top_p: 0.5,
    top_k: -1,
    min_p: 0.1,
    presence_penalty: 1,
    frequency_penalty: -1,
    repetition_penalty: 1.2,
    logit_bias: { "7": -100 },
    stop: "x",
    stop_token_ids: [3],
    ignore_eos: true,
    skip_special_tokens: false,
    min_tokens: 2,
    max_tokens: 9,
    max_completion_tokens: 8,
    priority: 3,
    seed: -1,
    cache_salt: "tenant",
    user: "someone",
    something_unknown: { a: 1 },
  });
  assert.deepEqual(params, {
    maxTokens: 8,
    minTokens: 2,
    temperature: 0,
    topK: 0,
    topP: 0.5,
    minP: 0.1,
    presencePenalty: 1,
    frequencyPenalty: -1,
    repetitionPenalty: 1.2,
    logitBias: [[7, -100]],
    seed: Number.MAX_SAFE_INTEGER - 1,
    stop: ["x"],
    stopTokenIds: [3],
    grammar: null,
    ignoreEos: true,
    skipSpecialTokens: false,
    logprobs: null,
    promptLogprobs: null,
    promptLogprobsStart: 0,
    pooling: null,
    priority: 3,
  });
  assert.equal(salt, "tenant");
});

Deno.test("a field of the wrong type or out of range is a 400 that names it", async () => {
  const engine = new FakeEngine();
  const app = createApp(engine, silent);
  const cases: [Record<string, unknown>, string][] = [
    [{ messages: undefined }, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "king", content: "x" }] }, "messages[0].role"],
    [{ messages: [{ role: "user", content: 3 }] }, "messages[0].content"],
    [
      { messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] },
      "messages[0].content[0].type",
    ],
    [{ temperature: "hot" }, "temperature"],
    [{ temperature: 2.1 }, "temperature"],
    [{ top_p: 0 }, "top_p"],
    [{ top_k: 1.5 }, "top_k"],
    [{ n: 0 }, "n"],
    [{ n: 1e9 }, "n"],
    [{ max_tokens: -1 }, "max_tokens"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ max_tokens: 1e6 }, "max_tokens"],
    [{ max_tokens: 2, min_tokens: 3 }, "min_tokens"],
    [{ stop: Array(17).fill("x") }, "stop"],
    [{ stop: [""] }, "stop[0]"],
    [{ stop: ["y".repeat(257)] }, "stop[0]"],
    [{ logit_bias: { x: 1 } }, "logit_bias.x"],
    [{ logit_bias: { "5": 101 } }, "logit_bias.5"],
    [{ logit_bias: { "99999": 1 } }, "logit_bias"],
    [{ stop_token_ids: [99999] }, "stop_token_ids"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ logprobs: true, top_logprobs: 21 }, "top_logprobs"],
    [{ stream: "yes" }, "stream"],
    [{ stream_options: { include_usage: true } }, "stream_options"],
    [{ tools: [{ type: "function", function: { name: "a b" } }] }, "tools[0].function.name"],
    [{ tool_choice: "required" }, "tool_choice"],
    [{ tools: [weather], tool_choice: { type: "function", function: { name: "other" } } }, "tool_choice"],
    [{ response_format: { type: "yaml" } }, "response_format.type"],
    [{ response_format: { type: "json_object" }, guided_regex: "a" }, "guided_regex"],
    [{ guided_json: "{" }, "guided_json"],
    [{ continue_final_message: true }, "continue_final_message"],
    [{ seed: 1.5 }, "seed"],
    [{ seed: 1e300 }, "seed"],
  ];
  for (const [fields, param] of cases) {
    const response = await post(app, "/v1/chat/completions", { ...hello, ...fields });
    const error = await errorOf(response);
    assert.equal(response.status, 400, `${JSON.stringify(fields)}: ${error.message}`);
    assert.equal(error.param, param, error.message);
    assert.equal(error.type, "invalid_request_error");
    assert.ok(error.message.includes(param.split(/[.[]/)[0]!), error.message);
  }
  assert.equal(engine.requests.length, 0);
});

Deno.test("refusals of the engine have the right status and class in the official client, streaming or not", async () => {
  const cases = [
    ["too_long", 400, "BadRequestError"],
    ["invalid", 400, "BadRequestError"],
    ["queue_full", 429, "RateLimitError"],
    ["unavailable", 503, "InternalServerError"],
    ["internal", 500, "InternalServerError"],
  ] as const;
  for (const [code, status, name] of cases) {
    const app = createApp(
      new FakeEngine(() => ({ pieces: [], finish: { type: "error", code, message: "no" } })),
      silent,
    );
    for (const stream of [false, true]) {
      const response = await post(app, "/v1/chat/completions", { ...hello, stream });
      assert.equal(response.status, status);
      assert.equal(response.headers.has("retry-after"), status === 429 || status === 503);
      await response.body?.cancel();
      const error = await openai(app).chat.completions.create({ ...hello, stream }).then(
        () => null,
        (e) => e,
      );
      assert.equal(error?.constructor.name, name);
    }
  }
});

Deno.test("a failure in mid-stream is an error event, and the stream ends properly", async () => {
  const app = createApp(
    new FakeEngine(() => ({
      pieces: ["half "],
      finish: { type: "error", code: "unavailable", message: "executor 0 ended" },
    })),
    silent,
  );
  const response = await post(app, "/v1/chat/completions", { ...hello, stream: true });
  assert.equal(response.status, 200);
  const chunks = await events(response) as { error?: { message: string } }[];
  assert.equal(chunks.at(-2)!.error?.message, "executor 0 ended");
  assert.equal(chunks.at(-1) as unknown, "[DONE]");
});

Deno.test("a stream sends comment lines while nothing is ready", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, { ...silent, keepAliveMs: 5 });
  const response = await post(app, "/v1/chat/completions", { ...hello, stream: true });
  assert.equal(response.status, 200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, ": keep-alive\n\n");
  assert.equal((await reader.read()).value, ": keep-alive\n\n");
  await reader.cancel();
  await app.service.drain();
  assert.equal(engine.live.size, 0);
});

Deno.test("a model without tokenizer or template refuses chat with advice", async () => {
  for (const model of [{ hasTokenizer: false }, { hasChatTemplate: false }]) {
    const response = await post(
      createApp(new FakeEngine(undefined, model), silent),
      "/v1/chat/completions",
      hello,
    );
    assert.equal(response.status, 400);
    assert.match((await errorOf(response)).message, /use POST/);
  }
});

Deno.test("an unknown model is a 404", async () => {
  const client = openai(createApp(new FakeEngine(), silent));
  const error = await client.chat.completions.create({ ...hello, model: "gpt-9" }).then(() => null, (e) => e);
  assert.equal(error?.constructor.name, "NotFoundError");
  assert.equal(error.code, "model_not_found");
});

Deno.test("gpt-oss's channels become reasoning, content and calls, streaming and not", async () => {
  const text =
    "<|channel|>analysis<|message|>Paris, then.<|end|><|start|>assistant<|channel|>commentary<|message|>" +
    "I look.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" +
    '{"city": "Paris"}<|call|>';
  const engine = new FakeEngine(() => ({ pieces: split(text) }), {
    chatTemplate: "<|start|>assistant<|channel|>",
  });
  const app = createApp(engine, silent);
  const whole =
    (await (await post(app, "/v1/chat/completions", { ...hello, tools: [weather] })).json()).choices[0];
  const { content, reasoning_content, tool_calls: [call] } = whole.message;
  assert.deepEqual([content, reasoning_content, whole.finish_reason], [
    "I look.",
    "Paris, then.",
    "tool_calls",
  ]);
  assert.deepEqual(call.function, { name: "get_weather", arguments: '{"city": "Paris"}' });
  // Its tags are special tokens.
  assert.equal(engine.requests[0]!.params.skipSpecialTokens, false);

  const sums = { content: "", reasoning_content: "", arguments: "" };
  const body = { ...hello, tools: [weather], stream: true };
  for (const chunk of await events(await post(app, "/v1/chat/completions", body))) {
    if (typeof chunk !== "object") continue;
    const { delta } = (chunk as {
      choices: { delta: Partial<typeof sums> & { tool_calls?: { function: { arguments?: string } }[] } }[];
    }).choices[0]!;
    sums.content += delta.content ?? "";
    sums.reasoning_content += delta.reasoning_content ?? "";
    sums.arguments += delta.tool_calls?.[0]?.function.arguments ?? "";
  }
  assert.deepEqual(sums, {
    content: "I look.",
    reasoning_content: "Paris, then.",
    arguments: '{"city": "Paris"}',
  });
});

Deno.test("what is asked of gpt-oss's answer is enforced behind the beginning of its final message", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["[1", ", 2]<|return|>"] }), {
    chatTemplate: "<|channel|>",
  });
  const app = createApp(engine, silent);
  const answer = await (await post(app, "/v1/chat/completions", {
    ...hello,
    response_format: { type: "json_object" },
  })).json();
  assert.deepEqual(answer.choices[0].message, { role: "assistant", content: "[1, 2]" });
  const { input, params } = engine.requests[0]!;
  assert.ok(JSON.stringify(input).includes("<|channel|>final<|message|>"));
  assert.notEqual(params.grammar, null);
});
