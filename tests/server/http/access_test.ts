import assert from "node:assert/strict";
import { createApp } from "../../../server/http/app.ts";
import { errorOf, get, openai, post } from "./client.ts";
import { FakeEngine } from "./fake_engine.ts";

const silent = { logFormat: "none" } as const;

async function status(response: Promise<Response>): Promise<number> {
  const { status, body } = await response;
  await body?.cancel();
  return status;
}

Deno.test("with a key everything but /health needs it", async () => {
  const app = createApp(new FakeEngine(), { ...silent, apiKeys: ["s3cret"] });
  const { paths } = await (await get(app, "/openapi.json", { authorization: "Bearer s3cret" })).json();
  for (const path of [...Object.keys(paths), "/openapi.json", "/get_server_info", "/nothing"]) {
    const expected = path === "/health" ? 200 : 401;
    assert.equal(await status(get(app, path)), expected, path);
    assert.equal(await status(get(app, path, { authorization: "Bearer wrong" })), expected, path);
    assert.equal(await status(get(app, path, { authorization: "s3cret" })), expected, path);
    assert.notEqual(await status(get(app, path, { authorization: "Bearer s3cret" })), 401, path);
  }
  const chat = post(app, "/v1/chat/completions", { messages: [{ role: "user", content: "x" }] });
  assert.equal(await status(chat), 401);
});

Deno.test("the official client gets in with the key and an AuthenticationError without", async () => {
  const app = createApp(new FakeEngine(), { ...silent, apiKeys: ["s3cret"] });
  assert.equal((await openai(app, { apiKey: "s3cret" }).models.list()).data.length, 1);
  const error = await openai(app, { apiKey: "s3cre" }).models.list().then(() => null, (e) => e);
  assert.equal(error?.constructor.name, "AuthenticationError");
});

Deno.test("a browser opens the page with the key as the password it is asked for", async () => {
  const app = createApp(new FakeEngine(), { ...silent, apiKeys: ["s3:cret"] });
  const asked = await get(app, "/");
  assert.match(asked.headers.get("www-authenticate")!, /^Basic /);
  await asked.body?.cancel();
  assert.equal(await status(get(app, "/", { authorization: `Basic ${btoa("anyone:s3:cret")}` })), 200);
  assert.equal(await status(get(app, "/", { authorization: `Basic ${btoa("anyone:other")}` })), 401);
});

Deno.test("on loopback a foreign Host is refused, whatever it is", async () => {
  const app = createApp(new FakeEngine(), { ...silent, allowedHosts: ["proxy.example"] });
  const hosts = (host: string) => status(get(app, "/health", { host }));
  for (
    const host of [
      "localhost",
      "localhost:1919",
      "127.0.0.1:1919",
      "127.8.8.8",
      "[::1]:1919",
      "LOCALHOST",
      "proxy.example",
    ]
  ) {
    assert.equal(await hosts(host), 200, host);
  }
  for (
    const host of [
      "evil.example",
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "10.0.0.1",
      "proxy.example.org",
    ]
  ) {
    assert.equal(await hosts(host), 403, host);
  }
  const open = createApp(new FakeEngine(), { ...silent, loopback: false });
  assert.equal(await status(get(open, "/health", { host: "any.example" })), 200);
});

Deno.test("a page of another origin is refused unless it is named", async () => {
  const engine = new FakeEngine();
  const app = createApp(engine, silent);
  const headers = { origin: "http://evil.example", host: "localhost:1919" };
  const refused = await post(app, "/v1/completions", { prompt: "x" }, headers);
  assert.equal(refused.status, 403);
  assert.equal(refused.headers.get("access-control-allow-origin"), null);
  assert.equal((await errorOf(refused)).code, "forbidden_origin");
  assert.equal(await status(post(app, "/flush_cache", "", { ...headers, origin: "null" })), 403);
  assert.equal(engine.requests.length, 0);
  const own = { origin: "http://localhost:1919", host: "localhost:1919" };
  assert.equal(await status(post(app, "/v1/completions", { prompt: "x" }, own)), 200);

  const named = createApp(new FakeEngine(), { ...silent, corsOrigins: ["http://good.example"] });
  const good = { ...headers, origin: "http://good.example" };
  const allowed = await post(named, "/v1/completions", { prompt: "x" }, good);
  assert.equal(allowed.status, 200);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "http://good.example");
  assert.equal(allowed.headers.get("access-control-allow-credentials"), null);
  await allowed.body?.cancel();
  assert.equal(await status(post(named, "/v1/completions", { prompt: "x" }, headers)), 403);
});

Deno.test("pages of other origins may not look at the scheduler, even where they may chat", async () => {
  const app = createApp(new FakeEngine(), { ...silent, corsOrigins: ["*"] });
  const look = (origin?: string) =>
    status(get(app, "/debug/scheduler", origin === undefined ? {} : { origin, host: "127.0.0.1:1919" }));
  assert.equal(await look(), 200);
  assert.equal(await look("http://127.0.0.1:1919"), 200);
  for (const origin of ["https://elsewhere.example", "http://127.0.0.1:8080", "null"]) {
    assert.equal(await look(origin), 403, origin);
  }
});

Deno.test("a preflight of a named origin is answered without a key, and its errors can be read", async () => {
  const app = createApp(new FakeEngine(), { ...silent, apiKeys: ["k"], corsOrigins: ["*"] });
  const headers = {
    origin: "http://any.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
  };
  const preflight = await app.fetch(
    new Request("http://localhost/v1/chat/completions", { method: "OPTIONS", headers }),
  );
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "*");
  assert.match(preflight.headers.get("access-control-allow-headers")!, /authorization/);
  const headersOfStream = { origin: "http://any.example", authorization: "Bearer k" };
  const stream = await post(app, "/v1/completions", { prompt: "x", stream: true }, headersOfStream);
  assert.equal(stream.headers.get("access-control-allow-origin"), "*");
  await stream.body?.cancel();
  const refused = await get(app, "/v1/models", { origin: "http://any.example" });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), "*");
  await refused.body?.cancel();
});

Deno.test("a preflight with the headers of OpenAI's client in a browser is allowed", async () => {
  const app = createApp(new FakeEngine(), { ...silent, corsOrigins: ["http://good.example"] });
  const wanted = "authorization, content-type, x-stainless-arch, x-stainless-lang, x-stainless-os, " +
    "x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version";
  const preflight = await app.fetch(
    new Request("http://localhost/v1/chat/completions", {
      method: "OPTIONS",
      headers: {
        origin: "http://good.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
      },
    }),
  );
  assert.equal(preflight.status, 204);
  const allowed = preflight.headers.get("access-control-allow-headers")!.split(/\s*,\s*/);
  for (const header of wanted.split(", ")) assert.ok(allowed.includes(header), header);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "http://good.example");
});

Deno.test("each of several keys gets in, and ends only the requests made with it", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, { ...silent, apiKeys: ["alice", "bob"] });
  const as = (key: string) => ({ authorization: `Bearer ${key}` });
  const running = post(app, "/generate", { text: "x", rid: "r1" }, as("alice"));
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const abort = async (key: string, body: unknown) =>
    (await (await post(app, "/abort_request", body, as(key))).json()).aborted;
  assert.equal(await abort("bob", { rid: "r1" }), 0);
  assert.equal(await abort("bob", { abort_all: true }), 0);
  assert.equal(engine.live.size, 1);
  assert.equal(await abort("alice", { rid: "r1" }), 1);
  assert.equal((await (await running).json()).meta_info.finish_reason.type, "abort");
  assert.equal(await status(get(app, "/v1/models", as("carol"))), 401);
});

Deno.test("without keys a request can be ended from its own address only", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, silent);
  const send = (path: string, body: unknown, remote: string) =>
    app.fetch(
      new Request(`http://localhost${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
      { remote },
    );
  const running = send("/generate", { text: "x", rid: "r1" }, "10.0.0.1");
  while (engine.live.size === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const aborted = async (remote: string) =>
    (await (await send("/abort_request", { rid: "r1" }, remote)).json()).aborted;
  assert.equal(await aborted("10.0.0.2"), 0);
  assert.equal(await aborted("10.0.0.1"), 1);
  await (await running).body?.cancel();
  assert.equal(engine.requests[0]!.client, "address 10.0.0.1");
});
