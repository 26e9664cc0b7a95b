// `radish serve` as a process: how it starts, how it ends, and what it says.

import assert from "node:assert/strict";

const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);

interface Serving extends AsyncDisposable {
  readonly url: string;
  readonly child: Deno.ChildProcess;
  /** Standard error so far. */
  readonly log: () => string;
  /** Resolves when standard error has a match. */
  seen(pattern: RegExp): Promise<void>;
}

function serve(...args: string[]): Promise<Serving> {
  return serveWith({}, ...args);
}

async function serveWith(env: Record<string, string>, ...args: string[]): Promise<Serving> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "serve", "--port", "0", ...args],
    env,
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let log = "";
  let look = () => {};
  const reading = (async () => {
    for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
      log += part;
      look();
    }
    look();
  })();
  let ended = false;
  void child.status.then(() => ended = true);
  const seen = async (pattern: RegExp) => {
    while (!pattern.test(log)) {
      if (ended) throw new Error(`ended before ${pattern}: ${log}`);
      await new Promise<void>((resolve) => look = resolve);
    }
  };
  await seen(/listening on http:\S+/);
  return {
    url: /listening on (http:\S+)/.exec(log)![1]!,
    child,
    log: () => log,
    seen,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGKILL");
      await child.status;
      await reading;
    },
  };
}

function ask(url: string, body: Record<string, unknown>): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      messages: [{ role: "user", content: "Tell me a story about a fox named Ida." }],
      ...body,
    }),
  });
}

Deno.test("SIGTERM under load: running requests finish, new ones get 503, the exit code is 0", async () => {
  await using serving = await serve();
  await serving.seen(/ready: pocket/);
  const running = Array.from(
    { length: 4 },
    (_, i) => ask(serving.url, { ignore_eos: true, max_tokens: 300, stream: i % 2 === 0 }),
  );
  const stream = await running[0]!;
  const accepted = async () => {
    const metrics = await (await fetch(`${serving.url}/metrics`)).text();
    return Number(/^sglang:num_requests_total\S* (\d+)$/m.exec(metrics)![1]);
  };
  while (await accepted() < running.length) await new Promise((resolve) => setTimeout(resolve, 5));
  serving.child.kill("SIGTERM");
  await serving.seen(/finishing \d requests?/);
  const refused = await ask(serving.url, {});
  assert.equal(refused.status, 503);
  assert.equal((await refused.json()).error.code, "draining");
  const health = await fetch(`${serving.url}/health`);
  assert.equal(health.status, 503);
  await health.body?.cancel();
  assert.match(await stream.text(), /"finish_reason":"length"[^]*\[DONE\]/);
  for (const response of await Promise.all(running.slice(1))) {
    const text = await response.text();
    assert.match(text, /"finish_reason":"length"/);
  }
  assert.equal((await serving.child.status).code, 0);
});

Deno.test("a second signal ends at once", async () => {
  await using serving = await serve("--log-format", "none");
  await serving.seen(/ready: pocket/);
  const running = ask(serving.url, { ignore_eos: true, stream: true });
  const response = await running;
  serving.child.kill("SIGINT");
  await serving.seen(/finishing 1 request;/);
  serving.child.kill("SIGINT");
  assert.equal((await serving.child.status).code, 130);
  await response.text().catch(() => null);
});

Deno.test("when the drain timeout is over, what runs is aborted, and the exit code is still 0", async () => {
  await using serving = await serve("--drain-timeout", "0");
  await serving.seen(/ready: pocket/);
  const response = await ask(serving.url, { ignore_eos: true, stream: true });
  serving.child.kill("SIGTERM");
  assert.match(await response.text(), /"finish_reason":"abort"/);
  assert.equal((await serving.child.status).code, 0);
  assert.match(serving.log(), /some requests were aborted/);
});

Deno.test("a model that cannot be loaded ends the server with one line and exit code 1", async () => {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "serve", "--port", "0", "--quiet", "--model", "/nonexistent/model"],
    stderr: "piped",
  }).output();
  assert.equal(output.code, 1);
  assert.match(new TextDecoder().decode(output.stderr), /^radish: [^\n]*\/nonexistent\/model[^\n]*\n$/);
});

Deno.test("a public address without a key gives a warning, with a key none", async () => {
  await using open = await serve("--host", "0.0.0.0");
  await open.seen(/warning: anyone who can reach 0.0.0.0/);
  await using closed = await serve("--host", "0.0.0.0", "--api-key", "k");
  await closed.seen(/ready/);
  assert.doesNotMatch(closed.log(), /warning/);
  const port = new URL(closed.url).port;
  const response = await fetch(`http://127.0.0.1:${port}/v1/models`);
  assert.equal(response.status, 401);
  await response.body?.cancel();
});

Deno.test("--dp 2 serves two engines as one: both listed, and SIGTERM lets what runs on them finish", async () => {
  await using serving = await serve("--dp", "2", "--device", "cpu", "--threads", "1");
  await serving.seen(/in each of 2 replicas\n[^]*ready: pocket/);
  const { replicas } = await (await fetch(`${serving.url}/health`)).json();
  assert.deepEqual(replicas.map(({ dp_rank }: { dp_rank: number }) => dp_rank), [0, 1]);
  // Prompts with nothing in common, or one replica would get both.
  const running = ["Tell me a story about a fox named Ida.", "Count from 3 to 17, and do not stop there."]
    .map((content) =>
      ask(serving.url, { messages: [{ role: "user", content }], ignore_eos: true, max_tokens: 200 })
    );
  const busy = async () => {
    const metrics = await (await fetch(`${serving.url}/metrics`)).text();
    return [...metrics.matchAll(/^sglang:num_requests_total\{.*dp_rank="(\d)"\} 1$/gm)].map((match) =>
      match[1]
    );
  };
  while ((await busy()).length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  serving.child.kill("SIGTERM");
  await serving.seen(/finishing 2 requests/);
  for (const response of await Promise.all(running)) {
    assert.equal((await response.json()).choices[0].finish_reason, "length");
  }
  assert.equal((await serving.child.status).code, 0);
});

Deno.test("with --dp a replica that dies is told of and comes back; when none lives the server ends", async () => {
  // Each replica dies at its own 20th step.
  const env = { RADISH_TEST_DIE_AT_PLAN: "0:20" };
  await using serving = await serveWith(env, "--dp", "2", "--device", "cpu", "--threads", "1");
  await serving.seen(/ready: pocket/);
  const long = { ignore_eos: true, max_tokens: 400, stream: true };
  assert.match(await (await ask(serving.url, long)).text(), /"error".*told to die at plan 20/);
  await serving.seen(
    /radish: replica \d stopped: the executor has failed: told to die at plan 20; it is started again in 1 s /,
  );
  const answer = await (await ask(serving.url, { max_tokens: 2 })).json();
  assert.equal(answer.usage.completion_tokens, 2);
  await serving.seen(/radish: replica \d is back\n/);
  const response = await fetch(`${serving.url}/health`);
  assert.equal(response.status, 200);
  const { status, replicas } = await response.json();
  assert.equal(status, "ok");
  assert.deepEqual(replicas.map(({ status }: { status: string }) => status), ["ok", "ok"]);
  // One dies after the other, faster than they come back; on a busy machine not at the first attempt.
  const ended = serving.child.status.then(() => "ended");
  const again = async () => await (await ask(serving.url, long)).text();
  while (await Promise.race([ended, again().catch(() => "refused")]) !== "ended");
  assert.equal((await serving.child.status).code, 1);
  assert.match(serving.log(), /the engine stopped: replica \d, the last: the executor has failed/);
});
