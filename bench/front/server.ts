// The front of `serve --dp n` alone: HTTP, routing and writing as they are, and behind them workers that compute
// nothing (worker.ts). Started by ../front.ts. The first argument is the checkout whose front is measured, so that two
// can be compared in one run; the others are replicas, milliseconds of a step, tokens of a request in a step, most
// requests, and "stamps" for texts that are times.
//
// Writes its address, and then for every byte that it reads the CPU milliseconds of this thread so far.

import type { Launched } from "../../engine/launch.ts";
import type { TextListener } from "../../engine/workers/text_workers.ts";
import type { ReplicaEngine } from "../../server/replicas/replica.ts";
import type { SchedulerCounters } from "../../engine/scheduler/config.ts";
import { threadClock } from "../common/thread_clock.ts";
import type { FrontWorkerOptions } from "./worker.ts";

const [tree = "", dp = "", period = "", perStep = "", requests = "", stamps = ""] = Deno.args;
const load = async <T>(path: string): Promise<T> => await import(new URL(path, tree).href) as T;
const { Requests } = await load<typeof import("../../engine/workers/requests.ts")>(
  "engine/workers/requests.ts",
);
const { openModel } = await load<typeof import("../../engine/model/open.ts")>("engine/model/open.ts");
const { createApp } = await load<typeof import("../../server/http/app.ts")>("server/http/app.ts");
const { listen } = await load<typeof import("../../server/http/server.ts")>("server/http/server.ts");
const { Replicas } = await load<typeof import("../../server/replicas/replicas.ts")>(
  "server/replicas/replicas.ts",
);

const model = await openModel(decodeURIComponent(new URL("models/pocket", tree).pathname));
const never = Promise.withResolvers<never>().promise;

function replica(): ReplicaEngine {
  const tokenizer = new MessageChannel(), detokenizer = new MessageChannel();
  const worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
  const ports = { tokenizer: tokenizer.port2, detokenizer: detokenizer.port2 };
  const options: FrontWorkerOptions = {
    period: Number(period),
    perStep: Number(perStep),
    stamps: stamps === "stamps",
    ...ports,
  };
  worker.postMessage(options, Object.values(ports));
  const counters = { runningRequests: 0, queuedRequests: 0, stepsTotal: 0 } as SchedulerCounters;
  const launched = {
    tokenizer: { longestToken: 64 },
    text: { restarts: { tokenizer: 0, detokenizer: 0 }, ping: () => Promise.resolve(), restart() {} },
    ranks: [],
    dead: never,
    send: (message) => tokenizer.port1.postMessage(message),
    giveUp(reason) {
      throw new Error(reason);
    },
    counters: () => Promise.resolve({ counters, probes: { received: Infinity, returned: Infinity } }),
    connect({ fromTokenizer, fromDetokenizer }: TextListener) {
      tokenizer.port1.onmessage = ({ data }) => fromTokenizer(data);
      detokenizer.port1.onmessage = ({ data }) => fromDetokenizer(data);
    },
  } as Partial<Omit<Launched, "tokenizer" | "text">> as Launched;
  const contextLength = 4096, mostRequests = Number(requests);
  const all = new Requests(launched, { contextLength, mostRequests, stallSeconds: Infinity });
  return {
    model: {
      id: "front",
      path: "front",
      config: model.config,
      contextLength,
      hasTokenizer: true,
      hasChatTemplate: true,
      chatTemplate: "",
      templateProblem: null,
      eosIds: [],
      generationDefaults: {},
      embedding: null,
      device: { kind: "reference", description: "none", software: true, memoryBytes: null },
      weightBytes: 0,
      weightFormats: [],
      rankWeightBytes: [0],
      kvDType: "auto",
      numPages: 65_536,
      pageSize: 16,
      maxRunningRequests: mostRequests,
      tp: 1,
    },
    deviceReason: "",
    dead: never,
    health: "ready",
    life: { state: "ok" },
    get stats() {
      return all.stats;
    },
    submit: (request) => all.submit(request),
    encode: () => Promise.resolve({ ids: new Uint32Array(1), rendered: null }),
    decode: () => Promise.resolve(""),
    counters: () => Promise.resolve(counters),
    inspect: () => never,
    flush: () => Promise.resolve(true),
    async [Symbol.asyncDispose]() {},
  };
}

const app = createApp(new Replicas(Array.from({ length: Number(dp) }, replica)), { logFormat: "none" });
const { url } = listen(app, { hostname: "127.0.0.1", port: 0 });
const clock = threadClock();
console.log(url);
for await (const bytes of Deno.stdin.readable) for (const _ of bytes) console.log(String(clock()));
Deno.exit(0);
