import assert from "node:assert/strict";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, events, post } from "./client.ts";
import { END_OF_TEXT, FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;
const bytes = (text: string) => [...new TextEncoder().encode(text)];

Deno.test("generate answers text with text, token ids and meta_info", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: [..."ok"] })), silent);
  const response = await post(app, "/generate", {
    text: "hey",
    sampling_params: { max_new_tokens: 9 },
    rid: "r7",
  });
  const body = await response.json();
  assert.equal(body.text, "ok");
  assert.deepEqual(body.output_ids, [...bytes("ok"), END_OF_TEXT]);
  const { e2e_latency, ...meta } = body.meta_info;
  assert.ok(e2e_latency >= 0);
  assert.deepEqual(meta, {
    id: "r7",
    finish_reason: { type: "stop", matched: END_OF_TEXT },
    prompt_tokens: 3,
    completion_tokens: 3,
    cached_tokens: 1,
  });
});

Deno.test("generate takes ids and returns log-probabilities, also without a tokenizer", async () => {
  const engine = new FakeEngine(() => ({ pieces: [..."ok"] }), {
    hasTokenizer: false,
    hasChatTemplate: false,
  });
  const app = createApp(engine, silent);
  const body = await (await post(app, "/generate", {
    input_ids: [1, 2, 3],
    sampling_params: { max_new_tokens: 2, ignore_eos: true },
    return_logprob: true,
    top_logprobs_num: 2,
    logprob_start_len: 0,
  })).json();
  assert.equal("text" in body, false);
  assert.deepEqual(body.output_ids, bytes("ok"));
  const meta = body.meta_info;
  assert.deepEqual(meta.finish_reason, { type: "length", length: 2 });
  assert.deepEqual(meta.output_token_logprobs, bytes("ok").map((id) => [-Math.log(2), id, null]));
  assert.equal(meta.output_top_logprobs[0].length, 2);
  assert.deepEqual(meta.input_token_logprobs[0], [null, 1, null]);
  assert.deepEqual(meta.input_token_logprobs[1], [-Math.log(2), 2, null]);
  assert.equal(meta.input_top_logprobs[0], null);
});

Deno.test("without a tokenizer text and stop strings are refused, and chat and completions say what to do", async () => {
  const app = createApp(new FakeEngine(undefined, { hasTokenizer: false, hasChatTemplate: false }), silent);
  const cases: [string, unknown][] = [
    ["/generate", { text: "x" }],
    ["/generate", { input_ids: [1], sampling_params: { stop: "x" } }],
    ["/v1/completions", { prompt: "x" }],
    ["/v1/chat/completions", { messages: [{ role: "user", content: "x" }] }],
    ["/tokenize", { prompt: "x" }],
    ["/detokenize", { tokens: [1] }],
  ];
  for (const [path, body] of cases) {
    const response = await post(app, path, body);
    assert.equal(response.status, 400);
    assert.match((await errorOf(response)).message, /tokenizer/);
  }
});

Deno.test("several prompts with their own parameters give a list, in order", async () => {
  const app = createApp(new FakeEngine((prompt) => ({ pieces: [...`${prompt}${prompt}`] })), silent);
  const body = await (await post(app, "/generate", {
    text: ["ab", "c"],
    sampling_params: [{ max_new_tokens: 3 }, {}],
    rid: ["one", "two"],
  })).json();
  assert.deepEqual(body.map((each: { text: string }) => each.text), ["aba", "cc"]);
  assert.deepEqual(body.map((each: { meta_info: { id: string } }) => each.meta_info.id), ["one", "two"]);
});

Deno.test("n gives a list even of one prompt", async () => {
  const app = createApp(new FakeEngine((_, params) => ({ pieces: [`${params.seed}`] })), silent);
  const body =
    await (await post(app, "/generate", { text: "x", sampling_params: { n: 2, sampling_seed: 4 } }))
      .json();
  assert.deepEqual(body.map((each: { text: string }) => each.text), ["4", "5"]);
});

Deno.test("every event of a stream has the whole text so far, the last the finish reason", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: ["a", "b", "c"] })), silent);
  const response = await post(app, "/generate", { text: "x", stream: true });
  const chunks = await events(response) as {
    text: string;
    output_ids: number[];
    meta_info: { finish_reason: unknown; completion_tokens: number };
  }[];
  assert.equal(chunks.pop() as unknown, "[DONE]");
  assert.deepEqual(chunks.map((chunk) => chunk.text), ["a", "ab", "abc", "abc"]);
  assert.deepEqual(chunks.map((chunk) => chunk.output_ids.length), [1, 2, 3, 4]);
  assert.deepEqual(chunks.at(-1)!.meta_info.finish_reason, { type: "stop", matched: END_OF_TEXT });
  assert.equal(chunks[0]!.meta_info.finish_reason, null);
});

Deno.test("abort_request ends the request with that id, or all of them", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const pending = ["a", "b", "c"].map((rid) => post(app, "/generate", { text: "x", rid }));
  while (engine.live.size < 3) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal((await post(app, "/abort_request", {})).status, 400);
  assert.deepEqual(await (await post(app, "/abort_request", { rid: "nobody" })).json(), { aborted: 0 });
  assert.deepEqual(await (await post(app, "/abort_request", { rid: "b" })).json(), { aborted: 1 });
  const ended = await (await pending[1]!).json();
  assert.equal(ended.meta_info.finish_reason.type, "abort");
  assert.equal(engine.live.size, 2);
  assert.deepEqual(await (await post(app, "/abort_request", { abort_all: true })).json(), { aborted: 2 });
  for (const response of await Promise.all([pending[0]!, pending[2]!])) await response.body?.cancel();
  assert.equal(app.service.runningRequests, 0);
});

Deno.test("wrong native requests are 400s that name the field", async () => {
  const app = createApp(new FakeEngine(), silent);
  const cases: [Record<string, unknown>, string][] = [
    [{}, "text"],
    [{ text: "a", input_ids: [1] }, "input_ids"],
    [{ input_ids: [] }, "input_ids"],
    [{ input_ids: [260] }, "input_ids"],
    [{ text: ["a", "b"], sampling_params: [{}] }, "sampling_params"],
    [{ text: ["a", "b"], sampling_params: [{ n: 1 }, { n: 2 }] }, "sampling_params"],
    [{ text: "a", sampling_params: { temperature: -1 } }, "sampling_params.temperature"],
    [{ text: "a", sampling_params: { regex: 5 } }, "sampling_params.regex"],
    [{ text: "a", top_logprobs_num: 21 }, "top_logprobs_num"],
    [{ text: "a", rid: "" }, "rid"],
  ];
  for (const [body, param] of cases) {
    const response = await post(app, "/generate", body);
    const error = await errorOf(response);
    assert.equal(response.status, 400, JSON.stringify(body));
    assert.equal(error.param, param, error.message);
  }
});
