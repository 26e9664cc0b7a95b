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
