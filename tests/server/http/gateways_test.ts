// Several servers behind nginx (with deploy/nginx.conf) and behind SGLang's router: what docs/deploy.md promises.

import assert from "node:assert/strict";
import { type App, createApp } from "../../../server/http/app.ts";
import { listen, type RunningServer } from "../../../server/http/server.ts";
import { FakeEngine, type Script } from "./fake_engine.ts";
import { startPocket } from "./pocket.ts";
import { freePort, startProgram } from "./processes.ts";

async function works(command: string, ...args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

const hasNginx = await works("nginx", "-v");
if (!hasNginx) console.warn("not tested behind nginx: there is none here (apt-get install -y nginx-light)");
const hasRouter = await works("python3", "-c", "import sglang_router");
if (!hasRouter) console.warn("not tested behind SGLang's router: it is not here (pip install sglang-router)");

interface Worker {
  readonly engine: FakeEngine;
  readonly app: App;
  readonly server: RunningServer;
}

function startWorker(script?: Script): Worker {
  const engine = new FakeEngine(script);
  const app = createApp(engine, { logFormat: "none" });
  return { engine, app, server: listen(app, { hostname: "127.0.0.1", port: 0 }) };
}

/** Runs a program for as long as `use` takes, from when it answers with 200. */
async function withProgram(
  command: string,
  args: readonly string[],
  url: string,
  probe: string,
  use: () => Promise<void>,
): Promise<void> {
  await using _ = await startProgram(command, args, url, probe);
  await use();
}

async function behindNginx(
  workers: readonly [Worker, Worker],
  use: (url: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  const port = freePort();
  const template = await Deno.readTextFile(new URL("../../../deploy/nginx.conf", import.meta.url));
  const config = template
    .replaceAll("/tmp/", `${directory}/`)
    .replace("127.0.0.1:8080", `127.0.0.1:${port}`)
    .replace("127.0.0.1:1919", new URL(workers[0].server.url).host)
    .replace("127.0.0.1:1920", new URL(workers[1].server.url).host);
  const path = `${directory}/nginx.conf`;
  await Deno.writeTextFile(path, config);
  try {
    const url = `http://127.0.0.1:${port}`;
    await withProgram("nginx", ["-c", path, "-e", "stderr"], url, "/health", () => use(url));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function complete(url: string, body: Record<string, unknown>): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "x", ...body }),
  });
}

Deno.test({
  name:
    "behind nginx tokens come one by one, requests spread over the servers, and a draining one loses none",
  ignore: !hasNginx,
  fn: async () => {
    const hold = Promise.withResolvers<void>();
    const script: Script = (prompt) =>
      prompt === "hold" ? { first: "first", until: hold.promise } : { pieces: ["a", "b"] };
    const workers: [Worker, Worker] = [startWorker(script), startWorker(script)];
    await behindNginx(workers, async (url) => {
      // A stream that has begun and not ended: its first bytes must already be here.
      const stream = await complete(url, { prompt: "hold", stream: true });
      assert.equal(stream.headers.get("content-type"), "text/event-stream; charset=utf-8");
      const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
      assert.match((await reader.read()).value ?? "", /"text":"first"/);
      hold.resolve();
      let rest = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
      assert.match(rest, /\[DONE\]/);

      await Promise.all(
        Array.from({ length: 20 }, () => complete(url, {}).then((response) => response.text())),
      );
      for (const { engine } of workers) assert.ok(engine.requests.length > 4);

      const draining = workers[0].app.service.drain();
      const answers = await Promise.all(Array.from({ length: 20 }, () => complete(url, {})));
      for (const response of answers) {
        assert.equal(response.status, 200);
        await response.body?.cancel();
      }
      await draining;
      const wrong = await complete(url, { max_tokens: -1 });
      assert.equal(wrong.status, 400);
      await wrong.body?.cancel();
    });
    for (const { server } of workers) await server.shutdown(1000);
  },
});

Deno.test({
  name: "behind SGLang's router chat, streams, native requests and the model list work over two servers",
  ignore: !hasRouter,
  fn: async () => {
    await using first = await startPocket();
    await using second = await startPocket();
    const servers = [first, second].map((pocket) => listen(pocket.app, { hostname: "127.0.0.1", port: 0 }));
    const port = freePort();
    const url = `http://127.0.0.1:${port}`;
    const args = ["-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", String(port)];
    args.push(
      "--policy",
      "cache_aware",
      "--health-check-interval-secs",
      "1",
      "--health-failure-threshold",
      "1",
    );
    args.push("--prometheus-port", String(freePort()), "--worker-urls");
    args.push(...servers.map((server) => server.url));
    await withProgram("python3", args, url, "/v1/models", async () => {
      const post = (path: string, body: unknown) =>
        fetch(url + path, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
      const models = await (await fetch(`${url}/v1/models`)).json();
      assert.equal(models.data[0].id, "pocket");
      const sum = (a: number) => ({
        model: "pocket",
        messages: [{ role: "user", content: `What is ${a} plus 48?` }],
      });
      for (let a = 20; a < 32; a++) {
        const body = await (await post("/v1/chat/completions", sum(a))).json();
        assert.equal(body.choices[0].message.content, `${a} plus 48 is ${a + 48}.`);
      }
      const stream = await (await post("/v1/chat/completions", { ...sum(23), stream: true })).text();
      assert.match(stream, /"role":"assistant"[^]*\[DONE\]/);
      const native = await (await post("/generate", {
        text: "Once upon a time",
        sampling_params: { max_new_tokens: 4, temperature: 0 },
      })).json();
      assert.equal(native.meta_info.completion_tokens, 4);
      const wrong = await post("/v1/chat/completions", { ...sum(1), temperature: 9 });
      assert.equal(wrong.status, 400);
      await wrong.body?.cancel();

      // One server shuts down: its health says so, and the router leaves it alone.
      await first.app.service.drain();
      const healthy = async () => {
        const { workers } = await (await fetch(`${url}/workers`)).json();
        return workers.filter((worker: { is_healthy: boolean }) => worker.is_healthy).length;
      };
      while (await healthy() !== 1) await new Promise((resolve) => setTimeout(resolve, 50));
      for (let a = 40; a < 46; a++) {
        const body = await (await post("/v1/chat/completions", sum(a))).json();
        assert.equal(body.choices?.[0].message.content, `${a} plus 48 is ${a + 48}.`);
      }
    });
    for (const server of servers) await server.shutdown(1000);
  },
});
