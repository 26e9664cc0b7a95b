// The official OpenAI client and Vercel's AI SDK, unchanged, against the real engine and the embedded model.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";
import { listen } from "../../../server/http/server.ts";
import { get, openai, post } from "./client.ts";
import { startPocket } from "./pocket.ts";

const sum = [{ role: "user" as const, content: "What is 23 plus 48?" }];
const story = [{ role: "user" as const, content: "Tell me a story about a fox named Ida." }];
const getWeather = {
  type: "function" as const,
  function: {
    name: "get_weather",
    description: "Get the weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

Deno.test("the official client chats: whole, streaming, usage, n, stop, seed, log-probabilities", async () => {
  await using pocket = await startPocket();
  const { chat } = openai(pocket.app);
  const whole = await chat.completions.create({ model: "pocket", messages: sum });
  assert.equal(whole.choices[0]!.message.content, "23 plus 48 is 71.");
  assert.equal(whole.choices[0]!.finish_reason, "stop");
  const { usage } = whole;
  assert.ok(usage && usage.prompt_tokens === 18 && usage.total_tokens === 18 + usage.completion_tokens);

  let text = "";
  let streamed: typeof usage | null = null;
  for await (
    const chunk of await chat.completions.create({
      model: "pocket",
      messages: sum,
      stream: true,
      stream_options: { include_usage: true },
    })
  ) {
    text += chunk.choices[0]?.delta.content ?? "";
    streamed = chunk.usage ?? streamed;
  }
  assert.equal(text, "23 plus 48 is 71.");
  assert.equal(streamed?.completion_tokens, usage.completion_tokens);
  assert.ok((streamed?.prompt_tokens_details?.cached_tokens ?? 0) >= 16);

  const drawn = { model: "pocket", messages: story, temperature: 1.2, seed: 11, n: 3, max_tokens: 24 };
  const [first, second] = [await chat.completions.create(drawn), await chat.completions.create(drawn)];
  const contents = (answer: OpenAI.ChatCompletion) => answer.choices.map((choice) => choice.message.content);
  assert.deepEqual(contents(first), contents(second));
  assert.equal(new Set(contents(first)).size, 3);
  assert.equal(first.choices[0]!.finish_reason, "length");
  assert.equal(first.usage?.completion_tokens, 3 * 24);

  const stopped = await chat.completions.create({ model: "pocket", messages: story, stop: [" named"] });
  assert.match(stopped.choices[0]!.message.content!, /^Once upon a time there was an? \w+ fox$/);
  assert.equal(stopped.choices[0]!.finish_reason, "stop");

  const scored = await chat.completions.create({
    model: "pocket",
    messages: sum,
    logprobs: true,
    top_logprobs: 3,
  });
  const tokens = scored.choices[0]!.logprobs!.content!;
  assert.equal(tokens.map((token) => token.token).join("").replace("<|im_end|>", ""), "23 plus 48 is 71.");
  for (const token of tokens) {
    assert.ok(token.logprob <= 0 && token.logprob > -1, `${token.token}: ${token.logprob}`);
    assert.equal(token.top_logprobs.length, 3);
    assert.equal(token.top_logprobs[0]!.token, token.token);
    assert.ok(token.top_logprobs[0]!.logprob >= token.top_logprobs[1]!.logprob);
  }
});

Deno.test("the official client completes text: whole, streaming, several prompts, echo", async () => {
  await using pocket = await startPocket();
  const { completions } = openai(pocket.app);
  const prompt = "Once upon a time there was a";
  const whole = await completions.create({ model: "pocket", prompt, max_tokens: 12, temperature: 0 });
  assert.equal(whole.usage?.completion_tokens, 12);
  let text = "";
  for await (
    const chunk of await completions.create({
      model: "pocket",
      prompt,
      max_tokens: 12,
      temperature: 0,
      stream: true,
    })
  ) text += chunk.choices[0]?.text ?? "";
  assert.equal(text, whole.choices[0]!.text);
  const both = await completions.create({
    model: "pocket",
    prompt: [prompt, "The capital of"],
    max_tokens: 12,
    temperature: 0,
    echo: true,
  });
  assert.equal(both.choices[0]!.text, prompt + text);
  assert.ok(both.choices[1]!.text.startsWith("The capital of"));
});

Deno.test("the official client sees reasoning apart from the answer, and calls tools and gets their results in", async () => {
  await using pocket = await startPocket();
  const client = openai(pocket.app);
  const thought = await client.chat.completions.create({
    model: "pocket",
    messages: [{ role: "user", content: "Think, then answer: what is 3 plus 4 plus 5?" }],
  });
  const { message } = thought.choices[0]!;
  assert.equal(message.content, "The answer is 12.");
  assert.equal(Reflect.get(message, "reasoning_content"), "3 plus 4 is 7. 7 plus 5 is 12.");

  const question = { role: "user" as const, content: "What is the weather in Paris?" };
  const asked = await client.chat.completions.create({
    model: "pocket",
    messages: [question],
    tools: [getWeather],
  });
  assert.equal(asked.choices[0]!.finish_reason, "tool_calls");
  const call = asked.choices[0]!.message.tool_calls![0]!;
  assert.ok(call.type === "function" && call.function.name === "get_weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
  const told = await client.chat.completions.create({
    model: "pocket",
    messages: [question, asked.choices[0]!.message, {
      role: "tool",
      tool_call_id: call.id,
      content: '{"weather": "rainy"}',
    }],
    tools: [getWeather],
  });
  assert.equal(told.choices[0]!.message.content, "The weather in Paris is rainy.");

  for (const tool_choice of ["required", { type: "function", function: { name: "get_weather" } }] as const) {
    const stream = client.chat.completions.stream({
      model: "pocket",
      messages: [question],
      tools: [getWeather],
      tool_choice,
    });
    const forced = (await stream.finalChatCompletion()).choices[0]!.message.tool_calls![0]!;
    assert.ok(forced.type === "function");
    assert.deepEqual(JSON.parse(forced.function.arguments), { city: "Paris" });
  }
});

Deno.test("closing a stream of the official client frees what the request held", async () => {
  await using pocket = await startPocket();
  const stream = await openai(pocket.app).chat.completions.create({
    model: "pocket",
    messages: story,
    stream: true,
    max_tokens: 1500,
    // An end of text would end the story before the client does.
    ...{ ignore_eos: true },
  });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 5) break;
  await pocket.app.service.drain();
  let counters = await pocket.engine.counters();
  // The last step in flight still holds the request's row.
  while (counters.runningRequests > 0) counters = await pocket.engine.counters();
  assert.equal(counters.lockedTokens, 0);
  assert.equal(counters.abortedTotal, 1);
  assert.ok(counters.generatedTokensTotal < 1000);
});

Deno.test("the official client lists and retrieves the model, and its errors have the right class", async () => {
  await using pocket = await startPocket();
  const client = openai(pocket.app);
  assert.deepEqual((await client.models.list()).data.map((model) => model.id), ["pocket"]);
  assert.equal((await client.models.retrieve("pocket")).id, "pocket");
  const failure = (body: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>) =>
    client.chat.completions.create({ model: "pocket", messages: sum, ...body }).then(
      () => null,
      (error) => error,
    );
  assert.ok(await failure({ temperature: 9 }) instanceof OpenAI.BadRequestError);
  assert.ok(await failure({ model: "other" }) instanceof OpenAI.NotFoundError);
  const long = await failure({ messages: [{ role: "user", content: "word ".repeat(3000) }] });
  assert.ok(long instanceof OpenAI.BadRequestError);
  assert.equal(long.code, "context_length_exceeded");
  assert.match(long.message, /2048 tokens.* 3011/);
  assert.match(long.message, /2,?048/, "says how long it may be");
});

Deno.test("the AI SDK streams a chat, and calls a tool by itself", async () => {
  await using pocket = await startPocket();
  const server = listen(pocket.app, { hostname: "127.0.0.1", port: 0 });
  const model = createOpenAICompatible({ name: "radish", baseURL: `${server.url}/v1`, includeUsage: true })(
    "pocket",
  );
  const { textStream, usage } = streamText({ model, prompt: "What is 23 plus 48?" });
  let text = "", pieces = 0;
  for await (const piece of textStream) {
    text += piece;
    pieces++;
  }
  assert.equal(text, "23 plus 48 is 71.");
  assert.ok(pieces > 1);
  assert.equal((await usage).inputTokens, 18);

  const { toolCalls } = await generateText({
    model,
    prompt: "What is the weather in Paris?",
    tools: {
      get_weather: tool({
        description: "Get the weather in a city",
        inputSchema: z.object({ city: z.string() }),
      }),
    },
  });
  assert.deepEqual(toolCalls.map((call) => [call.toolName, call.input]), [["get_weather", {
    city: "Paris",
  }]]);
  await server.shutdown(1000);
});

Deno.test("SGLang's native API gives ids, meta_info and log-probabilities, with and without a tokenizer", async () => {
  const prompt = [2042, 299, 198, 355, 293, 220, 17, 18, 416, 220, 19, 23, 30, 2043, 198, 2042, 307, 198];
  const request = {
    input_ids: prompt,
    sampling_params: { max_new_tokens: 32, temperature: 0 },
    return_logprob: true,
    top_logprobs_num: 2,
    logprob_start_len: 0,
  };
  const outputs: number[][] = [];
  for (const skipTokenizer of [false, true]) {
    await using pocket = await startPocket({ skipTokenizer });
    const body = await (await post(pocket.app, "/generate", request)).json();
    outputs.push(body.output_ids);
    assert.equal(body.text, skipTokenizer ? undefined : "23 plus 48 is 71.");
    const meta = body.meta_info;
    assert.deepEqual(meta.finish_reason, { type: "stop", matched: 2043 });
    assert.equal(meta.prompt_tokens, prompt.length);
    assert.equal(meta.completion_tokens, body.output_ids.length);
    assert.equal(meta.output_token_logprobs.length, body.output_ids.length);
    for (const [i, [logprob, id]] of meta.output_token_logprobs.entries()) {
      assert.equal(id, body.output_ids[i]);
      assert.ok(logprob <= 0 && logprob > -1);
      assert.equal(meta.output_top_logprobs[i].length, 2);
    }
    assert.deepEqual(meta.input_token_logprobs.map((entry: unknown[]) => entry[1]), prompt);
    assert.ok(meta.input_token_logprobs.slice(1).every(([logprob]: [number]) => logprob <= 0));
    const health = await get(pocket.app, "/health_generate");
    assert.equal(health.status, 200);
    await health.body?.cancel();
  }
  assert.deepEqual(outputs[0], outputs[1]);
});

Deno.test("tokenizing a conversation gives the ids that generation uses, and back the rendered text", async () => {
  await using pocket = await startPocket();
  const { tokens } = await (await post(pocket.app, "/tokenize", { messages: sum })).json();
  assert.equal(tokens.length, 18);
  const text = await (await post(pocket.app, "/detokenize", { tokens, skip_special_tokens: false })).json();
  assert.equal(text.text, "<|im_start|>user\nWhat is 23 plus 48?<|im_end|>\n<|im_start|>assistant\n");
});

Deno.test("a full queue is a 429 with Retry-After, and what was accepted is answered", async () => {
  await using pocket = await startPocket({ maxRunningRequests: 1, maxQueuedRequests: 1 });
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => post(pocket.app, "/v1/chat/completions", { messages: story })),
  );
  const statuses = answers.map((response) => response.status);
  assert.ok(statuses.includes(200) && statuses.includes(429), String(statuses));
  for (const response of answers) {
    const body = await response.json();
    if (response.status === 200) {
      assert.equal(body.choices[0].finish_reason, "stop");
      continue;
    }
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("retry-after"), "1");
    assert.equal(body.error.code, "queue_full");
  }
});

Deno.test("when the executor dies requests in flight get an error, and health turns 503", async () => {
  await using pocket = await startPocket({ dieAtPlan: { rank: 0, plan: 3 } });
  const server = listen(pocket.app, { hostname: "127.0.0.1", port: 0 });
  const requests = [false, true].map((stream) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messages: story, stream }),
    }).then(async (response) => ({ status: response.status, text: await response.text() }))
  );
  for (const { status, text } of await Promise.all(requests)) {
    assert.ok(status === 503 || text.includes('"error"'), `${status}: ${text}`);
  }
  const health = await fetch(`${server.url}/health`);
  assert.equal(health.status, 503);
  await health.body?.cancel();
  await server.shutdown(1000);
});
