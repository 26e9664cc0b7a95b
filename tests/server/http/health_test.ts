import assert from "node:assert/strict";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, events, get, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;

Deno.test("while the model loads everything is 503, then it works", async () => {
  const loading = Promise.withResolvers<FakeEngine>();
  const app = createApp(loading.promise, silent);
  for (const path of ["/health", "/v1/models", "/metrics", "/server_info"]) {
    const response = await get(app, path);
    assert.equal(response.status, 503, path);
    assert.equal(response.headers.get("retry-after"), "1");
    assert.equal((await errorOf(response)).code, "loading");
  }
  loading.resolve(new FakeEngine());
  await loading.promise;
  const response = await get(app, "/health");
  assert.equal(response.status, 200);
  await response.body?.cancel();
});

Deno.test("health is 503 while a worker does not answer, and 200 while it is only busy", async () => {
  const engine = new FakeEngine();
  const app = createApp(engine, silent);
  engine.life = { state: "unresponsive", what: "the scheduler has not answered", milliseconds: 3000 };
  const error = await errorOf(await get(app, "/health"));
  assert.deepEqual([error.code, error.message], [
    "unresponsive",
    "the scheduler has not answered for 3000 ms",
  ]);
  engine.life = { state: "busy", what: "the executor has not answered", milliseconds: 2000 };
  assert.deepEqual(await (await get(app, "/health")).json(), { status: "busy" });
  engine.life = { state: "ok" };
  assert.deepEqual(await (await get(app, "/health")).json(), { status: "ok" });
});

Deno.test("health_generate makes one token", async () => {
  const engine = new FakeEngine(() => ({ forever: "x" }));
  const response = await get(createApp(engine, silent), "/health_generate");
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.equal((await engine.counters()).generatedTokensTotal, 1);
});

Deno.test("when a worker dies requests in flight get an error, and health turns 503 with the reason", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, { ...silent, keepAliveMs: 1 });
  const request = { messages: [{ role: "user", content: "x" }] };
  const whole = post(app, "/v1/chat/completions", request);
  const stream = await post(app, "/v1/chat/completions", { ...request, stream: true });
  engine.kill("executor 0 ended: out of memory");
  assert.equal((await whole).status, 503);
  assert.match((await errorOf(await whole)).message, /out of memory/);
  const chunks = await events(stream) as { error?: { message: string } }[];
  assert.match(chunks.at(-2)!.error!.message, /out of memory/);
  for (const path of ["/health", "/health_generate", "/metrics", "/v1/loads", "/v1/models"]) {
    const response = await get(app, path);
    assert.equal(response.status, 503);
    assert.match((await errorOf(response)).message, /out of memory/);
  }
});

Deno.test("a draining server finishes what runs, refuses new work and says so in its health", async () => {
  let finish = () => {};
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const running = post(app, "/v1/completions", { prompt: "x" });
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  let drained = false;
  const done = app.service.drain().then(() => drained = true);
  for (const response of [await get(app, "/health"), await post(app, "/v1/completions", { prompt: "x" })]) {
    assert.equal(response.status, 503);
    assert.equal((await errorOf(response)).code, "draining");
  }
  assert.equal((await get(app, "/metrics")).status, 200);
  assert.equal(drained, false);
  finish = () => [...engine.live][0]!.fail({ type: "stop", matched: 256 });
  finish();
  await done;
  const body = await (await running).json();
  assert.equal(body.choices[0].finish_reason, "stop");
});
