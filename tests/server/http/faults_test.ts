// The fault matrix: every worker made to fail in every way in every phase of a request, on the real server with the
// embedded model, over loopback. After each fault either the server serves on (what was in flight has ended, with its
// answer or with a reason, and a new request is answered rightly), or health is 503 and the engine ends with a reason;
// either within five seconds on a machine that is not busy with other things (the table that is printed says how long
// it took; only a multiple of it fails the test). What each cell must be stands in `expected`.

import assert from "node:assert/strict";
import { Engine } from "../../../engine/engine.ts";
import { defaultEngineOptions } from "../../../engine/options.ts";
import type { Fault } from "../../../engine/workers/fault.ts";
import { createApp } from "../../../server/http/app.ts";
import { listen } from "../../../server/http/server.ts";
import { pocketDir } from "./pocket.ts";

const workers = ["tokenizer", "detokenizer", "scheduler", "executor"] as const;
const faults = ["die", "stall", "close", "garble"] as const;
const phases = ["loading", "idle", "prefill", "decode", "streaming", "draining"] as const;
type WorkerName = typeof workers[number];
type Phase = typeof phases[number];

/** "serves on" and "503", as above; while loading or draining the server need only come to its end, with a reason. */
type Outcome = "serves on" | "503" | "refuses to start" | "drains";

/** Tokenizer and detokenizer are started again; without scheduler or executor there is no engine. */
function expected(worker: WorkerName, fault: Fault, phase: Phase): Outcome {
  const replaceable = worker === "tokenizer" || worker === "detokenizer";
  if (phase === "loading") {
    // Before it has its ports a worker has none to lose.
    return fault === "close" || fault === "garble" ? "serves on" : "refuses to start";
  }
  if (phase === "draining") return "drains";
  return replaceable ? "serves on" : "503";
}

/** A fault that is not dealt with after so many milliseconds is a failure on any machine. */
const deadline = 20_000;
/** A request that has no answer by then will have none, however busy or suspended the machine is. */
const patience = 180_000;
/** Cells that are tried at a time: most of the time is spent waiting. */
const atATime = 6;

interface Seen {
  readonly outcome: Outcome;
  /** Until the server served on, or until health was 503. */
  readonly milliseconds: number;
  /** How the request in flight ended. */
  readonly request: string;
  /** Why the engine ended, or did not start. */
  readonly reason: string;
}

interface Started extends AsyncDisposable {
  readonly engine: Engine;
  readonly url: string;
  readonly inject: (worker: string, fault: Fault) => void;
  shutdown(): Promise<boolean>;
}

async function start(loading: { worker: WorkerName; fault: Fault } | null = null): Promise<Started> {
  let inject: Started["inject"] = () => {};
  const engine = await Engine.start({
    ...defaultEngineOptions,
    modelDir: pocketDir,
    device: "cpu",
    threads: 1,
    maxPrefillTokens: 16,
  }, {
    modelId: "pocket",
    stallSeconds: 5,
    startSilenceSeconds: loading?.fault === "stall" ? 4 : 600,
    onWorkers: (each) => {
      inject = each;
      if (loading) each(loading.worker, loading.fault);
    },
  });
  const app = createApp(engine, { logFormat: "none" });
  const server = listen(app, { hostname: "127.0.0.1", port: 0 });
  return {
    engine,
    url: server.url,
    inject,
    shutdown: () => server.shutdown(20_000),
    async [Symbol.asyncDispose]() {
      await server.shutdown(0);
      await engine[Symbol.asyncDispose]();
    },
  };
}

function post(url: string, body: unknown, milliseconds: number): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(milliseconds),
  });
}

const question = { messages: [{ role: "user", content: "What is 23 plus 48?" }], temperature: 0 };
const endless = { ...question, ignore_eos: true, max_tokens: 400 };
const long = {
  messages: [{ role: "user", content: "word ".repeat(900) }],
  max_tokens: 300,
  ignore_eos: true,
};

/** Whether a new request is answered rightly. */
async function serves(url: string, milliseconds = 3_000): Promise<boolean> {
  try {
    const response = await post(url, question, milliseconds);
    const body = await response.json();
    return response.ok && body.choices[0].message.content === "23 plus 48 is 71.";
  } catch {
    return false; // it was not answered in time
  }
}

async function health(url: string): Promise<number> {
  try {
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1_000) });
    await response.body?.cancel();
    return response.status;
  } catch {
    return 0; // a health that does not answer is neither
  }
}

/** In words: how a request ended. */
async function endOf(response: Promise<Response>): Promise<string> {
  try {
    const answer = await response;
    const text = await answer.text();
    const error = /"error":\{"message":"((?:[^"\\]|\\.)*)"/.exec(text);
    if (error) return `${answer.status} ${error[1]}`;
    const finish = [...text.matchAll(/"finish_reason":"(\w+)"/g)].at(-1);
    return finish ? finish[1]! : `${answer.status} cut off`;
  } catch (error) {
    return `no answer: ${(error as Error).message}`;
  }
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Brings a request into the phase; `end` resolves with how it ends. */
async function enter(phase: Phase, { engine, url }: Started): Promise<{ end: Promise<string> }> {
  switch (phase) {
    case "loading":
    case "idle":
      return { end: Promise.resolve("none") };
    case "prefill": {
      const { prefillTokensTotal: before } = await engine.counters();
      const end = endOf(post(url, long, patience));
      await until(async () => (await engine.counters()).prefillTokensTotal > before);
      return { end };
    }
    case "decode": {
      const { generatedTokensTotal: before } = await engine.counters();
      const end = endOf(post(url, endless, patience));
      await until(async () => (await engine.counters()).generatedTokensTotal > before + 3);
      return { end };
    }
    case "streaming":
    case "draining": {
      const response = await post(url, { ...endless, stream: true }, patience);
      const [ours, rest] = response.body!.tee();
      const reader = ours.getReader();
      for (let i = 0; i < 3; i++) await reader.read();
      void reader.cancel();
      return { end: endOf(Promise.resolve(new Response(rest, { status: response.status }))) };
    }
  }
}

async function tryFault(worker: WorkerName, fault: Fault, phase: Phase): Promise<Seen> {
  if (phase === "loading") {
    const began = performance.now();
    try {
      await using started = await start({ worker, fault });
      assert.ok(await serves(started.url, deadline), "does not serve");
      return { outcome: "serves on", milliseconds: 0, request: "none", reason: "" };
    } catch (error) {
      const milliseconds = performance.now() - began;
      return { outcome: "refuses to start", milliseconds, request: "none", reason: (error as Error).message };
    }
  }
  await using started = await start();
  const { engine, url, inject } = started;
  assert.ok(await serves(url, deadline), "does not serve before the fault");
  const { end } = await enter(phase, started);
  const drained = phase === "draining" ? started.shutdown() : null;
  const began = performance.now();
  inject(worker, fault);
  if (drained) {
    const request = await end;
    await drained;
    const milliseconds = performance.now() - began;
    return { outcome: "drains", milliseconds, request, reason: "" };
  }
  // An injected message takes a moment to arrive; a healthy answer before that proves nothing.
  await new Promise((resolve) => setTimeout(resolve, 100));
  let outcome: Outcome | null = null;
  let milliseconds = 0;
  while (outcome === null && performance.now() - began < deadline) {
    const status = await health(url);
    milliseconds = performance.now() - began;
    if (worker === "scheduler" || worker === "executor") {
      if (status === 503) outcome = "503";
      else await new Promise((resolve) => setTimeout(resolve, 50));
      continue;
    }
    if (status === 200 && await serves(url)) {
      outcome = "serves on";
      milliseconds = performance.now() - began;
    }
  }
  // What was in flight ends too, if only because it is done.
  const request = await end;
  const reason = outcome === "503" ? (await engine.dead).message : "";
  return { outcome: outcome ?? "503", milliseconds, request, reason };
}

Deno.test("the fault matrix: every fault in every phase ends as it must", async () => {
  const cells = workers.flatMap((worker) =>
    faults.flatMap((fault) => phases.map((phase) => ({ worker, fault, phase })))
  );
  const seen = new Map<string, Seen>();
  const waiting = [...cells];
  const key = (cell: typeof cells[number]) => `${cell.worker} ${cell.fault} ${cell.phase}`;
  await Promise.all(Array.from({ length: atATime }, async () => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
      seen.set(
        key(cell),
        await tryFault(cell.worker, cell.fault, cell.phase).catch((error: Error) => {
          throw new Error(`${key(cell)}: ${error.message}`, { cause: error });
        }),
      );
    }
  }));
  console.log(table(cells.map((cell) => ({ ...cell, ...seen.get(key(cell))! }))));
  const wrong = cells.flatMap((cell) => {
    const { outcome, milliseconds, reason, request } = seen.get(key(cell))!;
    const right = outcome === expected(cell.worker, cell.fault, cell.phase) &&
      milliseconds < deadline && !request.startsWith("no answer") &&
      (outcome === "serves on" || outcome === "drains" || reason !== "");
    return right
      ? []
      : [`${key(cell)}: ${outcome} after ${Math.round(milliseconds)} ms, request: ${request}`];
  });
  assert.deepEqual(wrong, []);
});

Deno.test("the grammar worker: what it had fails with the reason, others go on, the next grammar is answered", async () => {
  const constrained = { ...question, regex: "[ab]{300}", max_tokens: 290 };
  const rows: string[] = [];
  for (const fault of ["die", "stall"] as const) {
    for (const phase of ["idle", "decode"] as const) {
      await using started = await start();
      const { engine, url, inject } = started;
      const answers = async () => {
        const response = await post(url, { ...question, regex: "x{3}" }, patience);
        return response.ok && (await response.json()).choices[0].message.content === "xxx";
      };
      assert.ok(await answers(), "no answer before the fault");
      const other = endOf(post(url, endless, patience));
      const { generatedTokensTotal: before } = await engine.counters();
      const end = phase === "idle" ? null : endOf(post(url, constrained, patience));
      await until(async () => (await engine.counters()).generatedTokensTotal > before + 6);
      const began = performance.now();
      inject("grammar worker", fault);
      const request = await end ?? "none";
      if (end) {
        assert.match(
          request,
          /^503 the grammar worker has failed: (told to die|it has not answered for 3 s)/,
        );
      }
      while (!await answers()) assert.ok(performance.now() - began < patience, `${fault} ${phase}`);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      assert.equal(await other, "length", "a request without a grammar is not touched");
      assert.equal(engine.health, "ready");
      rows.push(`| grammar worker | ${fault} | ${phase} | serves on | ${seconds} s | ${request} | |`);
    }
  }
  console.log(rows.join("\n"));
});

Deno.test("a worker that dies while it is being started again is started once more", async () => {
  for (const worker of ["tokenizer", "detokenizer"] as const) {
    await using started = await start();
    const { engine, url, inject } = started;
    inject(worker, "die");
    await until(() => engine.stats.restarts[worker] === 1);
    inject(worker, "die");
    await until(() => engine.stats.restarts[worker] === 2);
    // What is sent meanwhile may be lost with the second one.
    const began = performance.now();
    while (!await serves(url)) assert.ok(performance.now() - began < deadline, `no ${worker}`);
    assert.equal(engine.health, "ready");
  }
});

function table(rows: readonly (Seen & { worker: string; fault: string; phase: string })[]): string {
  return rows.map(({ worker, fault, phase, outcome, milliseconds, request, reason }) =>
    `| ${worker} | ${fault} | ${phase} | ${outcome} | ${
      (milliseconds / 1000).toFixed(1)
    } s | ${request} | ${reason} |`
  ).join("\n");
}
