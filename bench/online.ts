// Serving under load, through HTTP, as clients see it: Poisson arrivals at several rates, and recorded traces at
// several speeds; with the radix cache and without.
//
//   deno run -A bench/online.ts --dummy-weights --model bench/shapes/qwen3-0.6b --rates 2,8,32 --out FILE
//   deno run -A bench/online.ts --rates "" --traces ../shared/traces --speeds 1,4       only the traces
//   deno run -A bench/online.ts --url http://127.0.0.1:1919 --rates 4                   a server that runs already
//
// The traces are downloads (see `bench/online/traces.ts`): every .csv and .jsonl file of the folder is replayed.
// --scale shortens their prompts and answers, for models with a short context; requests that do not fit even so are
// left out and counted. A run has at most --count requests and those of the first --window seconds; it is cut off
// after --limit seconds, and what is not done by then counts as unfinished.

import { choice, list, positive, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { type Arrival, poissonArrivals, traceArrivals, type TraceRequest } from "./online/arrivals.ts";
import { replay, type ReplaySummary } from "./online/replay.ts";
import { connect, type ServerUnderTest, startServer } from "./online/server.ts";
import { readTrace } from "./online/traces.ts";

/** One line of the result. */
interface OnlineRun extends ReplaySummary {
  /** "poisson", or the trace's file. */
  readonly workload: string;
  /** Requests per second (poisson), or the factor on the trace's clock. */
  readonly pace: number;
  readonly cache: string;
  /** Requests that the model's context or the cache is too short for. */
  readonly left_out: number;
}

/** Several of these run against each server. */
interface Workload {
  readonly name: string;
  readonly pace: number;
  arrivals(server: ServerUnderTest): Arrival[];
}

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      url: { type: "string" },
      model: { type: "string" },
      "dummy-weights": { type: "boolean", default: false },
      device: { type: "string" },
      threads: { type: "string" },
      "context-length": { type: "string" },
      "num-pages": { type: "string" },
      caches: { type: "string", default: "radix,naive" },
      rates: { type: "string", default: "1,4,16" },
      min: { type: "string", default: "32" },
      max: { type: "string", default: "256" },
      shared: { type: "string", default: "128" },
      traces: { type: "string" },
      speeds: { type: "string", default: "1" },
      scale: { type: "string", default: "1" },
      count: { type: "string", default: "64" },
      window: { type: "string", default: "60" },
      limit: { type: "string", default: "120" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const passed = ["model", "device", "threads", "context-length", "num-pages"] as const;
  const serverArgs = passed.flatMap((name) => values[name] === undefined ? [] : [`--${name}`, values[name]]);
  const minTokens = whole(values.min, "min");
  return {
    url: values.url?.replace(/\/+$/, "") ?? null,
    serverArgs: values["dummy-weights"] ? [...serverArgs, "--dummy-weights"] : serverArgs,
    caches: list(values.caches, (word) => choice(word, "caches", ["radix", "naive"])),
    rates: list(values.rates, (text) => positive(text, "rates")),
    traces: values.traces ?? null,
    speeds: list(values.speeds, (text) => positive(text, "speeds")),
    scale: positive(values.scale, "scale"),
    count: whole(values.count, "count"),
    window: positive(values.window, "window"),
    limit: positive(values.limit, "limit"),
    seed: whole(values.seed, "seed", 0),
    minTokens,
    maxTokens: whole(values.max, "max", minTokens),
    sharedTokens: whole(values.shared, "shared", 0),
    out: values.out ?? null,
    json: values.json,
  };
}

type Arguments = ReturnType<typeof readArguments>;

async function workloads(options: Arguments): Promise<Workload[]> {
  const { rates, speeds, traces, scale, count, window, seed, minTokens, maxTokens, sharedTokens } = options;
  const poisson = rates.map((rate): Workload => ({
    name: "poisson",
    pace: rate,
    arrivals: ({ vocabSize }) =>
      poissonArrivals({ rate, count, minTokens, maxTokens, sharedTokens, vocabSize, seed }),
  }));
  const recorded = (traces === null ? [] : await readTraces(traces, count)).flatMap(({ name, trace }) =>
    speeds.map((speed): Workload => ({
      name,
      pace: speed,
      arrivals: ({ vocabSize }) =>
        traceArrivals(trace, { speed, scale, count, seconds: window, vocabSize, seed }),
    }))
  );
  return [...poisson, ...recorded];
}

async function readTraces(folder: string, count: number): Promise<{ name: string; trace: TraceRequest[] }[]> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) =>
    /\.(csv|jsonl)$/.test(name)
  );
  if (names.length === 0) throw new Error(`--traces ${folder}: no .csv or .jsonl file there`);
  return await Promise.all(
    names.sort().map(async (name) => ({ name, trace: await readTrace(`${folder}/${name}`, count) })),
  );
}

async function measure(
  server: ServerUnderTest,
  cache: string,
  workload: Workload,
  limit: number,
): Promise<OnlineRun> {
  const all = workload.arrivals(server);
  const room = Math.min(server.contextLength, server.cacheTokens);
  const arrivals = all.filter(({ ids, outputTokens }) => ids.length + outputTokens <= room);
  await server.flush();
  return {
    workload: workload.name,
    pace: workload.pace,
    cache,
    left_out: all.length - arrivals.length,
    ...await replay(server.url, arrivals, limit),
  };
}

async function main(): Promise<void> {
  const options = readArguments();
  const { url, caches, limit, out, json } = options;
  const where = await environment();
  const planned = await workloads(options);
  if (planned.length === 0) throw new Error("nothing to measure: give --rates or --traces");
  const runs: OnlineRun[] = [];
  let about: Record<string, unknown> = {};
  for (const cache of url === null ? caches : ["as started"]) {
    await using server = url === null
      ? await startServer([...options.serverArgs, "--cache", cache])
      : await connect(url);
    about = { model: server.model, device: server.device, cache_tokens: server.cacheTokens };
    // One request first, for caches, clocks and compilers.
    await replay(server.url, [{ at: 0, ids: [1, 2, 3], outputTokens: 4 }], limit);
    for (const workload of planned) {
      runs.push(await measure(server, cache, workload, limit));
      console.error(
        `online: ${workload.name} at ${workload.pace}, ${cache}: ${figure(runs.at(-1)!.seconds)} s`,
      );
    }
  }
  const { scale, count, window, seed, minTokens, maxTokens, sharedTokens } = options;
  const workload = { scale, count, seed, window, limit, minTokens, maxTokens, sharedTokens };
  const result = { kind: "online", environment: where, ...about, workload, runs };
  if (out !== null) await writeResult(out, result);
  console.log(
    json ? JSON.stringify(result, null, 2) : `${about.model} on ${about.device}\n\n${runTable(runs)}`,
  );
}

function runTable(runs: readonly OnlineRun[]): string {
  const latency = ({ p50, p99 }: ReplaySummary["end_to_end_ms"]) => `${figure(p50)} / ${figure(p99)}`;
  const head = ["workload", "pace", "cache", "done", "left out", "hit rate", "output tokens/s"];
  return table(
    [...head, "first token ms", "between tokens ms", "end to end ms"],
    runs.map((run) => [
      run.workload,
      figure(run.pace),
      run.cache,
      `${run.done}/${run.requests}`,
      figure(run.left_out),
      `${(run.cache_hit_rate * 100).toFixed(0)} %`,
      figure(run.output_tokens_per_second),
      latency(run.time_to_first_token_ms),
      latency(run.inter_token_latency_ms),
      latency(run.end_to_end_ms),
    ]),
  ) + "\n\nmilliseconds: median / 99th percentile, from when a request was due";
}

if (import.meta.main) await main();
