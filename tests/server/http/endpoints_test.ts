import assert from "node:assert/strict";
import type { TaskOption } from "../../../server/http/model_task.ts";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, get, openai, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;

Deno.test("models are listed and retrieved, with what SGLang's gateway looks for", async () => {
  const app = createApp(new FakeEngine(undefined, { id: "org/model-1" }), silent);
  const client = openai(app);
  const models = (await client.models.list()).data;
  assert.equal(models.length, 1);
  assert.deepEqual({ ...models[0], created: 0, created_at: "" }, {
    id: "org/model-1",
    object: "model",
    created: 0,
    owned_by: "sglang",
    root: "models/fake",
    parent: null,
    max_model_len: 4096,
    context_length: 4096,
    capabilities: ["completion"],
    type: "model",
    display_name: "org/model-1",
    created_at: "",
  });
  assert.equal((await client.models.retrieve("org/model-1")).id, "org/model-1");
  assert.equal((await get(app, "/v1/models/org/model-1")).status, 200);
  const error = await client.models.retrieve("other").then(() => null, (e) => e);
  assert.equal(error?.constructor.name, "NotFoundError");
});

Deno.test("models has the list that Codex decodes, with the context's length, for a model that generates", async () => {
  const models = async (task: TaskOption) => {
    const app = createApp(new FakeEngine(undefined, { id: "org/model-1" }), { ...silent, task });
    return (await (await get(app, "/v1/models")).json()).models;
  };
  const [model, ...others] = await models("auto");
  assert.deepEqual(others, []);
  assert.deepEqual([model.slug, model.context_window, model.input_modalities], ["org/model-1", 4096, [
    "text",
  ]]);
  assert.match(model.base_instructions, /^You are a coding agent/);
  assert.deepEqual(await models("embed"), []);
});

Deno.test("a served model name replaces the model's id, which is still understood", async () => {
  const app = createApp(new FakeEngine(), { ...silent, servedModelName: "mine" });
  const body = await (await post(app, "/v1/completions", { model: "fake", prompt: "x" })).json();
  assert.equal(body.model, "mine");
});

Deno.test("tokenize and detokenize are inverse, for one text and several", async () => {
  const app = createApp(new FakeEngine(), silent);
  const one = await (await post(app, "/tokenize", { prompt: "é!" })).json();
  assert.deepEqual(one, { tokens: [0xc3, 0xa9, 0x21], count: 3, max_model_len: 4096 });
  assert.deepEqual(await (await post(app, "/detokenize", { tokens: one.tokens })).json(), { text: "é!" });
  const two = await (await post(app, "/v1/tokenize", { prompt: ["a", "bc"] })).json();
  assert.deepEqual([two.tokens, two.count], [[[97], [98, 99]], [1, 2]]);
  assert.deepEqual(await (await post(app, "/v1/detokenize", { tokens: two.tokens })).json(), {
    text: ["a", "bc"],
  });
  const messages = [{ role: "user", content: "x" }];
  const chat = await (await post(app, "/tokenize", { messages })).json();
  assert.equal(chat.count, "user: x\nassistant: ".length);
  for (const body of [{}, { prompt: "x", messages }]) {
    const refused = await post(app, "/tokenize", body);
    assert.equal((await errorOf(refused)).param, "prompt");
  }
});

Deno.test("server and model describe themselves, under both names", async () => {
  const app = createApp(new FakeEngine(), silent);
  for (const prefix of ["", "get_"]) {
    const server = await (await get(app, `/${prefix}server_info`)).json();
    assert.equal(server.served_model_name, "fake");
    assert.equal(server.max_total_tokens, 256 * 16);
    assert.equal(server.context_length, 4096);
    const model = await (await get(app, `/${prefix}model_info`)).json();
    assert.equal(model.is_generation, true);
    assert.deepEqual(model.architectures, ["Qwen3ForCausalLM"]);
  }
});

Deno.test("loads and metrics tell how busy the engine is", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const pending = post(app, "/generate", { text: "x" });
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  const { loads } = await (await get(app, "/v1/loads?include=core,queues")).json();
  assert.equal(loads[0].num_running_reqs, 1);
  assert.equal(loads[0].num_total_reqs, 1);
  assert.equal(loads[0].token_usage, 1 / 256);
  const metrics = await (await get(app, "/metrics")).text();
  assert.match(metrics, /^sglang:num_running_reqs\{model_name="fake"\} 1$/m);
  assert.match(metrics, /^sglang:token_usage\{model_name="fake"\} 0.00390625$/m);
  app.service.abortAll();
  await (await pending).body?.cancel();
});

Deno.test("metrics are valid exposition text with every promised name, and histograms that add up", async () => {
  const app = createApp(new FakeEngine(() => ({ pieces: [..."abc"] }), { id: 'a"b' }), silent);
  for (let i = 0; i < 3; i++) await (await post(app, "/v1/completions", { prompt: "x" })).text();
  const response = await get(app, "/metrics");
  assert.equal(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  const lines = (await response.text()).trimEnd().split("\n");
  for (const line of lines) {
    assert.match(
      line,
      /^(# (HELP|TYPE) \S+ .+|[a-z:_0-9]+\{model_name="a\\"b"(,\w+="[^"]*")*\} [0-9.e+-]+)$/,
    );
  }
  const promised = ["num_running_reqs", "num_queue_reqs", "num_used_tokens", "token_usage", "cache_hit_rate"];
  promised.push("gen_throughput", "prompt_tokens_total", "generation_tokens_total", "cached_tokens_total");
  promised.push("num_requests_total", "num_aborted_requests_total", "cache_config_info");
  for (const name of promised) assert.ok(lines.some((line) => line.startsWith(`sglang:${name}{`)), name);
  const value = (start: string) => Number(lines.find((line) => line.startsWith(start))?.split(" ").at(-1));
  const labels = 'model_name="a\\"b"';
  assert.equal(value(`sglang:time_to_first_token_seconds_count{${labels}}`), 3);
  assert.equal(value(`sglang:e2e_request_latency_seconds_count{${labels}}`), 3);
  assert.equal(value(`sglang:e2e_request_latency_seconds_bucket{${labels},le="+Inf"}`), 3);
  assert.equal(value(`sglang:inter_token_latency_seconds_count{${labels}}`), 3 * 3);
});

Deno.test("flushing the cache works when idle and is refused when busy", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  assert.equal((await post(app, "/flush_cache", "")).status, 200);
  const pending = post(app, "/generate", { text: "x" });
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  const refused = await post(app, "/flush_cache", "");
  assert.equal(refused.status, 400);
  assert.equal((await errorOf(refused)).code, "busy");
  app.service.abortAll();
  await (await pending).body?.cancel();
});

Deno.test("the API describes itself: every route is in openapi.json, with the fields of its body", async () => {
  const app = createApp(new FakeEngine(), silent);
  const document = await (await get(app, "/openapi.json")).json();
  assert.equal(document.openapi, "3.1.0");
  const chat = document.paths["/v1/chat/completions"].post.requestBody.content["application/json"].schema;
  for (
    const field of ["messages", "temperature", "tools", "stream_options", "chat_template_kwargs", "min_p"]
  ) {
    assert.ok(field in chat.properties, field);
  }
  assert.deepEqual(chat.required, ["messages"]);
  for (const [path, methods] of Object.entries(document.paths as Record<string, Record<string, unknown>>)) {
    for (const method of Object.keys(methods)) {
      const url = `http://localhost${path.replace("{id}", "fake")}`;
      const response = await app.fetch(new Request(url, { method: method.toUpperCase() }));
      assert.ok(![404, 405, 500].includes(response.status), `${method} ${path}: ${response.status}`);
      await response.body?.cancel();
    }
  }
});

Deno.test("every reference of openapi.json leads to a schema in it", async () => {
  const document = await (await get(createApp(new FakeEngine(), silent), "/openapi.json")).json();
  const references = [
    ...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"|"\$ref":"([^"]*)"/g),
  ];
  assert.ok(references.some(([, name]) => name === "StructuralFormat"));
  for (const [text, name] of references) assert.ok(name && name in document.components.schemas, text);
});

Deno.test("an unknown path is a 404, a known one with another method a 405 that names the right one", async () => {
  const app = createApp(new FakeEngine(), silent);
  assert.equal((await errorOf(await get(app, "/nothing"))).code, "not_found");
  for (const [path, allow] of [["/v1/chat/completions", "POST"], ["/generate", "POST"]] as const) {
    const response = await get(app, path);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), allow);
    await response.body?.cancel();
  }
  const wrong = await post(app, "/v1/models/a/b", "{}");
  assert.equal(wrong.status, 405);
  await wrong.body?.cancel();
});

Deno.test("the page is served whole, and its policy lets it load nothing from elsewhere", async () => {
  const response = await get(createApp(new FakeEngine(), silent), "/");
  assert.match(response.headers.get("content-type")!, /^text\/html/);
  assert.match(response.headers.get("content-security-policy")!, /^default-src 'none'; script-src 'sha256-/);
  const html = await response.text();
  assert.match(html, /<title>radish<\/title>/);
  const outside = html.match(/(src|href)="(?!data:)[^"]*"/g);
  assert.equal(outside, null);
});

Deno.test("one line of access log per request, with id, status, tokens and outcome", async () => {
  const lines: string[] = [];
  const app = createApp(new FakeEngine(() => ({ pieces: ["a"] })), {
    logFormat: "json",
    log: (line) => lines.push(line),
  });
  const headers = { "x-request-id": "id-1" };
  await (await post(app, "/v1/completions", { prompt: "x" }, headers)).text();
  await (await post(app, "/v1/completions", { prompt: "x", stream: true }, headers)).text();
  await (await post(app, "/v1/completions", { prompt: 3 }, headers)).text();
  await app.service.drain();
  const entries = lines.map((line) => JSON.parse(line));
  assert.deepEqual(entries.map((entry) => entry.status), [200, 200, 400]);
  for (const entry of entries) {
    assert.equal(entry.id, "id-1");
    assert.equal(entry.path, "/v1/completions");
    assert.ok(entry.milliseconds >= 0);
  }
  assert.equal(entries[0].usage.completion_tokens, 2);
  assert.equal(entries[1].outcome, "stop");
  assert.match(entries[2].outcome, /prompt/);

  const text: string[] = [];
  const second = createApp(new FakeEngine(() => ({ pieces: ["a"] })), { log: (line) => text.push(line) });
  await (await post(second, "/v1/completions", { prompt: "x" }, headers)).text();
  assert.match(
    text[0]!,
    /^\S+Z - POST \/v1\/completions 200 [\d.]+ms prompt=1 cached=0 completion=2 outcome="stop" id=id-1$/,
  );
});
