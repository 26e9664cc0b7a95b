// What only a real socket shows: bodies that stop half-way, connections that close, shutdown under load.

import assert from "node:assert/strict";
import { type App, createApp } from "../../../server/http/app.ts";
import type { ServerOptions } from "../../../server/http/options.ts";
import { listen, type RunningServer } from "../../../server/http/server.ts";
import { FakeEngine, type Script } from "./fake_engine.ts";

interface Started extends AsyncDisposable {
  readonly engine: FakeEngine;
  readonly app: App;
  readonly server: RunningServer;
  readonly port: number;
}

function start(script?: Script, options: Partial<ServerOptions> = {}): Started {
  const engine = new FakeEngine(script);
  const app = createApp(engine, { logFormat: "none", ...options });
  const server = listen(app, { hostname: "127.0.0.1", port: 0 });
  return {
    engine,
    app,
    server,
    port: Number(new URL(server.url).port),
    [Symbol.asyncDispose]: async () => void await server.shutdown(0),
  };
}

/** Sends bytes as they are and reads until the server closes, or until `until` is in the answer. */
async function raw(port: number, text: string, until?: string): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    await connection.write(new TextEncoder().encode(text));
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(65536);
    let answer = "";
    while (until === undefined || !answer.includes(until)) {
      const length = await connection.read(buffer).catch((error: unknown) => {
        if (error instanceof Deno.errors.ConnectionReset) return null;
        throw error;
      });
      if (length === null) break;
      answer += decoder.decode(buffer.subarray(0, length), { stream: true });
    }
    return answer;
  } finally {
    connection.close();
  }
}

const head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

function ask(server: RunningServer, body: unknown, signal?: AbortSignal): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("a body that never completes is a 408, and the server goes on", async () => {
  await using started = start(undefined, { bodyTimeoutMs: 50 });
  const answer = await raw(started.port, `${head}content-length: 100\r\n\r\n{"prompt": "x`, "body_timeout");
  assert.match(answer, /^HTTP\/1.1 408 /);
  assert.match(answer, /^connection: close\r$/m);
  assert.equal((await ask(started.server, { prompt: "x" }).then((r) => r.json())).choices.length, 1);
});

Deno.test("a connection that closes in the middle of a body harms nobody", async () => {
  await using started = start();
  for (let i = 0; i < 20; i++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: started.port });
    await connection.write(new TextEncoder().encode(`${head}content-length: 100\r\n\r\n${"{".repeat(i)}`));
    connection.close();
  }
  const response = await ask(started.server, { prompt: "x" });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.equal(started.engine.requests.length, 1);
});

Deno.test("a body larger than the limit is a 413, announced or not", async () => {
  await using started = start(undefined, { maxBodyBytes: 1000 });
  const announced = await raw(started.port, `${head}content-length: 1001\r\n\r\n`, "body_too_large");
  assert.match(announced, /^HTTP\/1.1 413 /);
  const chunk = `400\r\n${" ".repeat(0x400)}\r\n`;
  const chunked = await raw(
    started.port,
    `${head}transfer-encoding: chunked\r\n\r\n${chunk}`,
    "body_too_large",
  );
  assert.match(chunked, /^HTTP\/1.1 413 /);
});

Deno.test("what is no HTTP at all is refused, and the next request works", async () => {
  await using started = start();
  for (
    const nonsense of [
      "\0\0\0\0\r\n\r\n",
      "GET\r\n\r\n",
      "GET / HTTP/9.9\r\n\r\n",
      `GET / HTTP/1.1\r\n${"x".repeat(70000)}`,
    ]
  ) {
    assert.doesNotMatch(await raw(started.port, nonsense), /^HTTP\/1.1 (2|5)/);
  }
  const response = await ask(started.server, { prompt: "x" });
  assert.equal(response.status, 200);
  await response.body?.cancel();
});

Deno.test("a client that disconnects aborts its request, streaming or not", async () => {
  await using started = start(() => ({ silent: true }), { keepAliveMs: 5 });
  const controller = new AbortController();
  const whole = ask(started.server, { prompt: "x" }, controller.signal).catch(() => null);
  const stream = await ask(started.server, { prompt: "x", stream: true }, controller.signal);
  const reading = stream.text().catch(() => null);
  await until(() => started.engine.live.size === 2);
  controller.abort();
  await until(() => started.engine.live.size === 0);
  await Promise.all([whole, reading]);
  assert.equal((await started.engine.counters()).abortedTotal, 2);
});

Deno.test("a client that reads nothing holds up only itself", async () => {
  await using started = start(() => ({ forever: "0123456789".repeat(100) }));
  const lazy = await Deno.connect({ hostname: "127.0.0.1", port: started.port });
  const body = JSON.stringify({ prompt: "x", stream: true, max_tokens: 4000 });
  await lazy.write(new TextEncoder().encode(`${head}content-length: ${body.length}\r\n\r\n${body}`));
  const response = await ask(started.server, { prompt: "x", max_tokens: 1000 });
  assert.equal((await response.json()).choices[0].finish_reason, "length");
  lazy.close();
  await started.app.service.drain();
});

Deno.test("shutdown under load: what runs finishes, new requests get 503, then the port is free", async () => {
  const started = start(() => ({ silent: true }), { keepAliveMs: 5 });
  const whole = ask(started.server, { prompt: "x" });
  const stream = await ask(started.server, { prompt: "x", stream: true });
  await until(() => started.engine.live.size === 2);
  const done = started.server.shutdown(60_000);
  const refused = await ask(started.server, { prompt: "x" });
  assert.equal(refused.status, 503);
  await refused.body?.cancel();
  for (const generation of [...started.engine.live]) generation.fail({ type: "stop", matched: 256 });
  assert.equal((await (await whole).json()).choices[0].finish_reason, "stop");
  assert.match(await stream.text(), /"finish_reason":"stop"[^]*\[DONE\]/);
  assert.equal(await done, true);
  await assert.rejects(ask(started.server, { prompt: "x" }));
});

Deno.test("when the time to drain is over, what still runs is aborted and told so", async () => {
  const started = start(() => ({ silent: true }));
  const whole = ask(started.server, { prompt: "x" });
  await until(() => started.engine.live.size === 1);
  assert.equal(await started.server.shutdown(10), false);
  assert.equal((await (await whole).json()).choices[0].finish_reason, "abort");
});

Deno.test("a port in use is one line that says what to do", async () => {
  await using started = start();
  assert.throws(
    () => listen(started.app, { hostname: "127.0.0.1", port: started.port }),
    /^Error: port \d+ of 127.0.0.1 is in use; choose another with --port/,
  );
});

Deno.test("headers that never come to an end are a 408 after their time, and the server goes on", async () => {
  await using started = start(undefined, { headerTimeoutMs: 60 });
  for (const beginning of ["", "GET / HTTP/1.1\r\nhost: lo"]) {
    const answer = await raw(started.port, beginning, "request_timeout");
    assert.match(answer, /^HTTP\/1.1 408 [^]*"code":"request_timeout"/);
  }
  assert.equal((await ask(started.server, { prompt: "x" }).then((r) => r.json())).choices.length, 1);
});

Deno.test("what has arrived while the process itself was away is not late", async () => {
  await using started = start(undefined, { headerTimeoutMs: 200, bodyTimeoutMs: 200 });
  const body = JSON.stringify({ prompt: "x" });
  const request = new TextEncoder().encode(`${head}content-length: ${body.length}\r\n\r\n${body}`);
  for (const seen of [0, head.length / 2, request.length - body.length / 2].map(Math.ceil)) {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: started.port });
    await connection.write(request.subarray(0, seen));
    await new Promise((resolve) => setTimeout(resolve, 50)); // the server has begun to wait for the rest
    const written = connection.write(request.subarray(seen));
    const end = performance.now() + 1_000;
    while (performance.now() < end); // away, as after a SIGSTOP: longer than both deadlines
    await written;
    const buffer = new Uint8Array(65_536);
    const answer = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
    assert.match(answer, /^HTTP\/1.1 200 /, `${seen} of ${request.length} bytes were there before`);
  }
});

Deno.test("a connection more than there is room for takes the place of the one idle longest", async () => {
  await using started = start(undefined, { maxConnections: 4 });
  const idle = [];
  for (let i = 0; i < 12; i++) {
    idle.push(await Deno.connect({ hostname: "127.0.0.1", port: started.port }));
  }
  assert.equal((await ask(started.server, { prompt: "x" }).then((r) => r.json())).choices.length, 1);
  assert.ok(started.server.listener.connections <= 4);
  assert.ok(started.server.listener.evicted >= 8);
  for (const connection of idle) connection.close();
});

Deno.test("where all connections are busy a further one is told to come back", async () => {
  await using started = start(() => ({ silent: true }), { maxConnections: 2 });
  const controller = new AbortController();
  const busy = [0, 1].map(() => ask(started.server, { prompt: "x" }, controller.signal).catch(() => null));
  await until(() => started.engine.live.size === 2);
  const answer = await raw(started.port, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
  assert.match(answer, /^HTTP\/1.1 503 [^]*retry-after: 1\r\n[^]*"code":"too_many_connections"/);
  controller.abort();
  await Promise.all(busy);
  await until(() => started.engine.live.size === 0);
});

Deno.test("a client that has closed its side gets its answer, whole or streamed", async () => {
  await using started = start();
  for (const stream of [false, true]) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: started.port });
    const body = JSON.stringify({ prompt: "hello", stream });
    await connection.write(new TextEncoder().encode(`${head}content-length: ${body.length}\r\n\r\n${body}`));
    await connection.closeWrite();
    const answer = await new Response(connection.readable).text();
    assert.match(answer, /HTTP\/1.1 200 /);
    assert.match(answer, /"finish_reason":"stop"/);
  }
});

Deno.test("a client that closed its side and then went away is noticed, streaming or not", async () => {
  await using started = start(() => ({ silent: true }));
  for (const stream of [false, true]) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: started.port });
    const body = JSON.stringify({ prompt: "hello", stream });
    await connection.write(new TextEncoder().encode(`${head}content-length: ${body.length}\r\n\r\n${body}`));
    await until(() => started.engine.live.size === 1);
    await connection.closeWrite();
    await new Promise((resolve) => setTimeout(resolve, 20));
    connection.close();
    await until(() => started.engine.live.size === 0);
  }
});
