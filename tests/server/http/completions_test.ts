import assert from "node:assert/strict";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, events, openai, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;
const bytes = (text: string) => [...new TextEncoder().encode(text)];

Deno.test("a completion goes on from a text, token ids, or several of either", async () => {
  const app = createApp(new FakeEngine((prompt) => ({ pieces: [`<${prompt}>`] })), silent);
  const client = openai(app);
  const texts = async (prompt: string | string[] | number[] | number[][]) =>
    (await client.completions.create({ model: "fake", prompt })).choices.map((choice) => choice.text);
  assert.deepEqual(await texts("ab"), ["<ab>"]);
  assert.deepEqual(await texts(bytes("ab")), ["<ab>"]);
  assert.deepEqual(await texts(["a", "b"]), ["<a>", "<b>"]);
  assert.deepEqual(await texts([bytes("a"), bytes("b")]), ["<a>", "<b>"]);
});

Deno.test("choices are numbered prompt by prompt, and the prompt is counted once for all of its choices", async () => {
  const app = createApp(
    new FakeEngine((prompt, params) => ({ pieces: [`${prompt}${params.seed}`] })),
    silent,
  );
  const answer = await openai(app).completions.create({ model: "fake", prompt: ["a", "b"], n: 2, seed: 1 });
  assert.deepEqual(answer.choices.map((choice) => choice.text), ["a1", "a2", "b1", "b2"]);
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2, 3]);
  assert.equal(answer.usage!.prompt_tokens, 2);
  assert.equal(answer.usage!.completion_tokens, 12);
});

Deno.test("a stream of several choices gives each its text and its finish reason", async () => {
  const app = createApp(new FakeEngine((prompt) => ({ pieces: [prompt, "-", prompt] })), silent);
  const sums: Record<number, string> = {};
  const ends: Record<number, string | null> = {};
  const stream = await openai(app).completions.create({
    model: "fake",
    prompt: ["a", "b"],
    stream: true,
    stream_options: { include_usage: true },
  });
  let usage = null;
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      sums[choice.index] = (sums[choice.index] ?? "") + choice.text;
      if (choice.finish_reason) ends[choice.index] = choice.finish_reason;
    }
  }
  assert.deepEqual(sums, { 0: "a-a", 1: "b-b" });
  assert.deepEqual(ends, { 0: "stop", 1: "stop" });
  assert.equal(usage?.completion_tokens, 8);
});

Deno.test("stop strings and max_tokens end the text with the true reason", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: ["one", " two", " three", " four"] })), silent);
  const client = openai(app);
  const stopped = await client.completions.create({ model: "fake", prompt: "x", stop: [" three"] });
  assert.equal(stopped.choices[0]!.text, "one two");
  assert.equal(stopped.choices[0]!.finish_reason, "stop");
  const cut = await client.completions.create({ model: "fake", prompt: "x", max_tokens: 3 });
  assert.equal(cut.choices[0]!.text, "one");
  assert.equal(cut.choices[0]!.finish_reason, "length");
});

Deno.test("echo puts the prompt before the completion, and log-probabilities cover both", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: [..."cd"] })), silent);
  for (const prompt of ["ab", bytes("ab")]) {
    const body = await (await post(app, "/v1/completions", { prompt, echo: true, logprobs: 1 })).json();
    const choice = body.choices[0];
    assert.equal(choice.text, "abcd");
    assert.deepEqual(choice.logprobs.tokens, ["a", "b", "c", "d", "<end>"]);
    assert.deepEqual(choice.logprobs.text_offset, [0, 1, 2, 3, 4]);
    assert.equal(choice.logprobs.token_logprobs[0], null);
    assert.equal(choice.logprobs.token_logprobs[1], -Math.log(2));
    assert.deepEqual(choice.logprobs.top_logprobs[0], null);
    assert.deepEqual(choice.logprobs.top_logprobs[1], { b: -Math.log(2) });
  }
});

Deno.test("max_tokens 0 with echo scores the prompt and generates nothing", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: [..."cd"] })), silent);
  const body =
    await (await post(app, "/v1/completions", { prompt: "ab", echo: true, logprobs: 0, max_tokens: 0 }))
      .json();
  assert.equal(body.choices[0].text, "ab");
  assert.equal(body.choices[0].finish_reason, "length");
  assert.deepEqual(body.choices[0].logprobs.tokens, ["a", "b"]);
  assert.equal(body.usage.completion_tokens, 0);
  assert.equal(body.usage.total_tokens, 2);
});

Deno.test("a token that is half a character is named by its bytes", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: ["é"] })), silent);
  const body = await (await post(app, "/v1/completions", { prompt: "x", logprobs: 0 })).json();
  assert.deepEqual(body.choices[0].logprobs.tokens.slice(0, 2), ["bytes:\\xc3", "bytes:\\xa9"]);
});

Deno.test("when one generation of several fails, the request fails and the others are aborted", async () => {
  const engine = new FakeEngine((prompt) =>
    prompt === "bad"
      ? { pieces: [], finish: { type: "error", code: "too_long", message: "9 tokens, 4 fit" } }
      : { forever: "x" }
  );
  const app = createApp(engine, silent);
  const response = await post(app, "/v1/completions", { prompt: ["good", "bad"] });
  assert.equal(response.status, 400);
  assert.equal((await errorOf(response)).code, "context_length_exceeded");
  await app.service.drain();
  assert.equal(engine.live.size, 0);
});

Deno.test("wrong prompts and combinations are 400s that name the field", async () => {
  const app = createApp(new FakeEngine(), silent);
  const cases: [Record<string, unknown>, string][] = [
    [{}, "prompt"],
    [{ prompt: [] }, "prompt"],
    [{ prompt: [1.5] }, "prompt[0]"],
    [{ prompt: [1, "a"] }, "prompt[0]"],
    [{ prompt: [99999] }, "prompt"],
    [{ prompt: [[]] }, "prompt[0]"],
    [{ prompt: "x", suffix: "y" }, "suffix"],
    [{ prompt: "x", best_of: 3 }, "best_of"],
    [{ prompt: "x", max_tokens: 0 }, "max_tokens"],
    [{ prompt: "x", logprobs: 21 }, "logprobs"],
    [{ prompt: Array(100).fill("x"), n: 100 }, "n"],
    [{ prompt: "x", guided_json: 5 }, "guided_json"],
    [{ prompt: "x", structured_outputs: { json: {}, regex: "a" } }, "structured_outputs.regex"],
  ];
  for (const [body, param] of cases) {
    const response = await post(app, "/v1/completions", body);
    const error = await errorOf(response);
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.equal(error.param, param, `${JSON.stringify(body)}: ${error.message}`);
  }
});

Deno.test("an aborted generation says so", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const pending = post(app, "/v1/completions", { prompt: "x", stream: true }, { "x-request-id": "r1" });
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(app.service.abort("other", "address -"), 0);
  assert.equal(app.service.abort("r1", "address -"), 1);
  const chunks = await events(await pending) as { choices: { finish_reason: string | null }[] }[];
  assert.equal(chunks.at(-2)!.choices[0]!.finish_reason, "abort");
});
