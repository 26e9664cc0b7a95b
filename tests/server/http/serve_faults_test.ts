// `radish serve` as a process whose surroundings fail: its disk is full, its descriptors are used up, its engine dies.

import assert from "node:assert/strict";

const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);
/** Where a shell can limit a process, and Linux tells what it has open. */
const linux = Deno.build.os === "linux";
const reason = linux ? "" : " (ignored: needs Linux)";

interface Serving extends AsyncDisposable {
  readonly url: string;
  readonly child: Deno.ChildProcess;
  readonly log: () => string;
}

/** Starts the server in a shell, behind `before`; standard error goes to `stderr`, or is read. */
async function serve(
  before: string,
  stderr: string | null,
  env: Record<string, string> = {},
): Promise<Serving> {
  const port = freePort();
  const command =
    `${before} exec "${Deno.execPath()}" run -A --no-check "${main}" serve --device cpu --port ${port}` +
    (stderr === null ? "" : ` 2>${stderr}`);
  const child = new Deno.Command("bash", {
    args: ["-c", command],
    stdout: "null",
    stderr: stderr === null ? "piped" : "null",
    env,
  }).spawn();
  let log = "";
  const reading = stderr === null
    ? (async () => {
      for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) log += part;
    })()
    : Promise.resolve();
  let ended = false;
  void child.status.then(() => ended = true);
  const url = `http://127.0.0.1:${port}`;
  while (true) {
    if (ended) throw new Error(`the server ended: ${log}`);
    const response = await fetch(`${url}/health`).catch(() => null);
    await response?.body?.cancel();
    if (response?.status === 200) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url,
    child,
    log: () => log,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGKILL");
      await child.status;
      await reading;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

function ask(url: string, more: Record<string, unknown> = {}): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "What is 23 plus 48?" }], ...more }),
  });
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\S* (\\S+)$`, "m").exec(text)![1]);
}

Deno.test({
  name:
    `with a full disk under its log the server serves, streams too, and counts what it could not write${reason}`,
  ignore: !linux,
  async fn() {
    await using serving = await serve("", "/dev/full");
    for (const stream of [false, true, true]) {
      const response = await ask(serving.url, { stream });
      assert.equal(response.status, 200);
      assert.match(await response.text(), /"finish_reason":"stop"/);
    }
    assert.equal((await fetch(`${serving.url}/health`)).status, 200);
    assert.ok(await metric(serving.url, "sglang:dropped_log_lines_total") >= 3);
    serving.child.kill("SIGTERM");
    assert.equal((await serving.child.status).code, 0);
  },
});

Deno.test({
  name: `150 idle connections under a limit of 128 open files keep nobody out, and the server lives${reason}`,
  ignore: !linux,
  async fn() {
    await using serving = await serve("ulimit -n 128;", null);
    const port = Number(new URL(serving.url).port);
    const idle: Deno.TcpConn[] = [];
    for (let i = 0; i < 150; i++) idle.push(await Deno.connect({ hostname: "127.0.0.1", port }));
    for (let i = 0; i < 3; i++) {
      const response = await ask(serving.url);
      assert.equal(response.status, 200);
      assert.match(await response.text(), /71/);
    }
    assert.equal(await metric(serving.url, "process_max_fds"), 128);
    assert.ok(await metric(serving.url, "sglang:evicted_connections_total") > 100);
    for (const connection of idle) connection.close();
  },
});

Deno.test({
  name: `without a single descriptor left, accepting fails and is tried again until there are some${reason}`,
  ignore: !linux,
  async fn() {
    await using serving = await serve("", null);
    const { pid } = serving.child;
    const limit = async (most: number) => {
      const { success } = await new Deno.Command("prlimit", {
        args: ["--pid", `${pid}`, `--nofile=${most}:20000`],
        stderr: "null",
      }).output();
      assert.ok(success);
    };
    const before = await metric(serving.url, "sglang:accept_errors_total");
    await limit(3);
    const port = Number(new URL(serving.url).port);
    using waiting = await Deno.connect({ hostname: "127.0.0.1", port });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await limit(10_000);
    await waiting.write(new TextEncoder().encode("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    const answer = new Uint8Array(1000);
    const length = await waiting.read(answer);
    assert.match(new TextDecoder().decode(answer.subarray(0, length!)), /^HTTP\/1.1 200 /);
    assert.ok(await metric(serving.url, "sglang:accept_errors_total") > before);
    assert.match(serving.log(), /radish: cannot accept connections: [^\n]*Too many open files/);
  },
});

Deno.test({
  name:
    `when the engine dies its requests fail with the reason, health says so, and the process ends with one line${reason}`,
  ignore: !linux,
  async fn() {
    await using serving = await serve("", null, { RADISH_TEST_DIE_AT_PLAN: "0:5" });
    const response = await ask(serving.url, { stream: true, ignore_eos: true });
    assert.match(await response.text(), /"error":\{"message":"[^"]*told to die/);
    const health = await fetch(`${serving.url}/health`);
    assert.equal(health.status, 503);
    assert.match((await health.json()).error.message, /told to die/);
    assert.equal((await serving.child.status).code, 1);
    assert.match(serving.log(), /^radish: the engine stopped: the executor has failed: told to die[^\n]*$/m);
  },
});
