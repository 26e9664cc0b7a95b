// Three servers behind SGLang's router, under load all the time: one is killed, one joins, and all are restarted one
// after the other. Whatever is answered must be right; only what was in flight on the killed one may fail.

import assert from "node:assert/strict";
import { hasPython } from "../../python.ts";
import { freePort, startProgram } from "./processes.ts";

const hasRouter = await hasPython("sglang_router");
if (!hasRouter) console.warn("no fleet is tested: SGLang's router is not here (pip install sglang-router)");

const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);

/** `radish serve` with the embedded model; SIGTERM drains it, SIGKILL is the end at once. */
function startServer(port: number) {
  const args = ["run", "-A", "--no-check", main, "serve", "--device", "cpu", "--threads", "1"];
  return startProgram(
    Deno.execPath(),
    [...args, "--port", String(port), "--log-format", "none"],
    `http://127.0.0.1:${port}`,
    "/health",
  );
}

function startRouter(workers: readonly string[]) {
  const port = freePort();
  const options = {
    "--host": "127.0.0.1",
    "--port": port,
    "--policy": "cache_aware",
    // All prompts begin alike: without these one server would get them all.
    "--balance-abs-threshold": 1,
    "--balance-rel-threshold": 1.1,
    "--health-check-interval-secs": 1,
    "--health-failure-threshold": 1,
    "--health-success-threshold": 1,
    // Its own breaker would leave a restarted server out for a minute.
    "--cb-timeout-duration-secs": 1,
    "--cb-success-threshold": 1,
    "--prometheus-port": freePort(),
  };
  const args = Object.entries(options).flatMap(([name, value]) => [name, String(value)]);
  return startProgram(
    "python3",
    ["-m", "sglang_router.launch_router", ...args, "--worker-urls", ...workers],
    `http://127.0.0.1:${port}`,
    "/v1/models",
  );
}

/** What became of a request; times of `performance.now()`. */
interface Outcome {
  readonly began: number;
  readonly ended: number;
  readonly result: "right" | "wrong" | "failed";
  readonly said: string;
}

/** A request without an answer for so many milliseconds has failed. */
const patience = 20_000;

/** Clients that ask one sum after the other until they are told to stop; every third reads a stream. */
class Load {
  readonly outcomes: Outcome[] = [];
  readonly #url: string;
  readonly #clients: Promise<void>[];
  #stopped = false;

  constructor(url: string, clients: number) {
    this.#url = url;
    this.#clients = Array.from({ length: clients }, (_, i) => this.#run(i));
  }

  /** Resolves when there are so many right answers more than there were at the call. */
  async more(count: number): Promise<void> {
    const right = () => this.outcomes.filter(({ result }) => result === "right").length;
    const wanted = right() + count;
    while (right() < wanted) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#clients);
  }

  async #run(client: number): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const a = 20 + (client * 13 + n * 7) % 40, stream = (client + n) % 3 === 0;
      const began = performance.now();
      const said = await this.#ask(a, stream).catch((error: Error) => `failed: ${error.message}`);
      const result = said === `${a} plus 48 is ${a + 48}.`
        ? "right"
        : said.startsWith("failed: ")
        ? "failed"
        : "wrong";
      this.outcomes.push({ began, ended: performance.now(), result, said });
      await new Promise((resolve) => setTimeout(resolve, 20)); // leaves servers room to start
    }
  }

  async #ask(a: number, stream: boolean): Promise<string> {
    const response = await fetch(`${this.#url}/v1/chat/completions`, {
      method: "POST",
      signal: AbortSignal.timeout(patience),
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "pocket",
        temperature: 0,
        stream,
        messages: [{ role: "user", content: `What is ${a} plus 48?` }],
      }),
    });
    const text = await response.text();
    if (!response.ok) return `failed: ${response.status} ${text.slice(0, 200)}`;
    if (!stream) return JSON.parse(text).choices[0].message.content;
    if (!text.includes("[DONE]") || text.includes('"error"')) {
      return `failed: cut off after ${text.slice(-200)}`;
    }
    const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
    return events.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta.content ?? "").join("");
  }
}

Deno.test({
  name:
    "behind SGLang's router a killed server costs what it had in flight; joining and restarting cost nothing",
  ignore: !hasRouter,
  fn: async () => {
    await using stack = new AsyncDisposableStack();
    const first = await Promise.all([1, 2, 3].map(() => startServer(freePort())));
    for (const server of first) stack.use(server);
    const router = stack.use(await startRouter(first.map(({ url }) => url)));
    const clients = 8;
    const load = new Load(router.url, clients);
    stack.defer(() => load.stop());
    const requestsOf = async (url: string) => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      return Number(/^sglang:num_requests_total\S* (\d+)$/m.exec(metrics)![1]);
    };
    const workers = async (): Promise<{ url: string; is_healthy: boolean; load: number }[]> =>
      (await (await fetch(`${router.url}/workers`)).json()).workers;
    const untilHealthy = async (url: string, wanted: boolean) => {
      while (!(await workers()).some((each) => each.url === url && each.is_healthy === wanted)) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await load.more(20);

    // The one that has most in flight is killed.
    const busiest = (await workers()).reduce((most, each) => each.load > most.load ? each : most);
    const victim = first.find(({ url }) => url === busiest.url)!;
    const killed = performance.now();
    await victim.end("SIGKILL");
    await untilHealthy(victim.url, false);
    await load.more(20);

    // Another one joins, and gets requests.
    const fourth = stack.use(await startServer(freePort()));
    const added = await fetch(`${router.url}/workers`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url: fourth.url }),
    });
    assert.ok(added.ok, await added.text());
    await untilHealthy(fourth.url, true);
    while (await requestsOf(fourth.url) === 0) await load.more(5);

    // Each is drained and started again at its place.
    for (const server of [...first.filter((server) => server !== victim), fourth]) {
      assert.equal((await server.end("SIGTERM")).code, 0);
      stack.use(await startServer(Number(new URL(server.url).port)));
      await untilHealthy(server.url, true);
      await load.more(10);
    }
    await load.stop();

    const { outcomes } = load;
    const failed = outcomes.filter(({ result }) => result === "failed");
    console.log(
      `fleet: ${outcomes.length} requests, ${busiest.load} in flight on the killed server, ${failed.length} failed`,
    );
    assert.deepEqual(outcomes.filter(({ result }) => result === "wrong"), []);
    assert.deepEqual(failed.filter(({ began, ended }) => began > killed || ended < killed), []);
    assert.ok(failed.length <= clients);
  },
});
