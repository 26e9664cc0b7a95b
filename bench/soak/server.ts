// The server under soak, as a process of its own: `radish serve` without a command line, whose workers can be made to
// fail. It says its address on standard output; a line "WORKER FAULT" on standard input makes that worker fail so.

import { Engine } from "../../engine/engine.ts";
import { defaultEngineOptions } from "../../engine/options.ts";
import type { Fault } from "../../engine/workers/fault.ts";
import { createApp } from "../../server/http/app.ts";
import { listen } from "../../server/http/server.ts";

const modelDir = decodeURIComponent(new URL("../../models/pocket", import.meta.url).pathname);
let inject: (worker: string, fault: Fault) => void = () => {};

const engine = await Engine.start({
  ...defaultEngineOptions,
  modelDir,
  device: "cpu",
  contextLength: 512,
  maxRunningRequests: 16,
  maxQueuedRequests: 64,
}, { modelId: "pocket", onWorkers: (each) => inject = each });
const app = createApp(engine, { logFormat: "none", apiKeys: ["one", "two", "three"], maxConnections: 256 });
const server = listen(app, { hostname: "127.0.0.1", port: 0 });
console.log(server.url);

void engine.dead.then((error) => {
  console.error(`the engine stopped: ${error.message}`);
  Deno.exit(1);
});
for await (const lines of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  for (const line of lines.split("\n").filter((line) => line !== "")) {
    const [worker, fault] = line.split(" ");
    inject(worker!, fault as Fault);
  }
}
await server.shutdown(5_000);
await engine[Symbol.asyncDispose]();
Deno.exit(0);
