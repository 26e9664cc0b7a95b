// What replicas give: output tokens per second and prefix hits of `serve --dp 1`, `--dp 2` … with the same requests.
//
//   deno run -A bench/replicas.ts --device cpu --threads 1 --requests 64 --concurrency 32      the embedded model
//   deno run -A bench/replicas.ts --device cuda --model bench/shapes/qwen3-0.6b --dummy-weights --dp 1,2
//
// The prompts begin with one of --groups documents of --shared tokens and go on with --own tokens that no other has.
// Every document is asked about once before the rest, --concurrency requests at a time, is timed: more than one engine
// runs at once, so that none is idle. Answers come whole, so that reading them takes little. Hits are counted over all
// requests; throughput is that of the timed ones. The defaults are for GPUs: two H100 with the 8B shape take 10 seconds.
//
// What may be the limit is measured beside it, in shares of the time: the server's main thread, which is in front of all
// replicas; the engines, each with a step on its device; and this program's own thread.

import { z } from "zod";
import { list, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { PythonRandom } from "./common/python_random.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { mainThreadSeconds, threadClock } from "./common/thread_clock.ts";
import { type ServerUnderTest, startServer } from "./online/server.ts";

/** What is counted of an answer. */
const answer = z.object({
  meta_info: z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), cached_tokens: z.int() }),
});
const loads = z.object({ loads: z.array(z.object({ dp_rank: z.int() })) });

/** One server's figures. */
interface ReplicaRun {
  readonly dp: number;
  readonly device: string;
  readonly seconds: number;
  readonly output_tokens_per_second: number;
  readonly requests_per_second: number;
  readonly hit_rate: number;
  /** Requests that each replica got. */
  readonly requests: readonly number[];
  /** Shares of the time in which each was at work: what is near 1 is the limit. Null where the system does not tell. */
  readonly busy: {
    readonly front: number | null;
    readonly engines: readonly number[];
    readonly client: number;
  };
}

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      model: { type: "string" },
      "dummy-weights": { type: "boolean", default: false },
      device: { type: "string" },
      threads: { type: "string" },
      gpus: { type: "string" },
      dp: { type: "string", default: "1,2" },
      groups: { type: "string", default: "32" },
      shared: { type: "string", default: "256" },
      own: { type: "string", default: "32" },
      tokens: { type: "string", default: "64" },
      requests: { type: "string", default: "4096" },
      concurrency: { type: "string", default: "512" },
      seed: { type: "string", default: "0" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const passed = ["model", "device", "threads", "gpus"] as const;
  const serverArgs = passed.flatMap((name) => values[name] === undefined ? [] : [`--${name}`, values[name]]);
  const number = (name: "groups" | "shared" | "own" | "tokens" | "requests" | "concurrency") =>
    whole(values[name], name);
  return {
    serverArgs: values["dummy-weights"] ? [...serverArgs, "--dummy-weights"] : serverArgs,
    dp: list(values.dp, (text) => whole(text, "dp")),
    groups: number("groups"),
    shared: number("shared"),
    own: number("own"),
    tokens: number("tokens"),
    requests: number("requests"),
    concurrency: number("concurrency"),
    seed: whole(values.seed, "seed", 0),
    out: values.out ?? null,
    json: values.json,
  };
}

const args = readArguments();
const clock = threadClock();

/** A prompt of each document, then the timed ones, documents in turn. */
function prompts(vocabSize: number): { first: number[][]; timed: number[][] } {
  const random = new PythonRandom(args.seed);
  const tokens = (length: number) => Array.from({ length }, () => random.int(0, vocabSize - 1));
  const documents = Array.from({ length: args.groups }, () => tokens(args.shared));
  const about = (i: number) => [...documents[i % args.groups]!, ...tokens(args.own)];
  return {
    first: documents.map((_, i) => about(i)),
    timed: Array.from({ length: args.requests }, (_, i) => about(i)),
  };
}

async function generate({ url }: ServerUnderTest, ids: readonly number[]) {
  const response = await fetch(`${url}/generate`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      input_ids: ids,
      sampling_params: { max_new_tokens: args.tokens, temperature: 0, ignore_eos: true },
    }),
  });
  if (!response.ok) throw new Error(`a request: ${response.status} ${(await response.text()).slice(0, 200)}`);
  return answer.parse(await response.json()).meta_info;
}

/** All answers, so many requests at a time. */
async function generateAll(server: ServerUnderTest, all: readonly number[][], concurrency: number) {
  const answers: z.infer<typeof answer>["meta_info"][] = [];
  let next = 0;
  const work = async () => {
    for (let ids = all[next++]; ids !== undefined; ids = all[next++]) {
      answers.push(await generate(server, ids));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return answers;
}

/** Requests that each replica has had, by its metrics. */
async function requestsOf({ url }: ServerUnderTest): Promise<number[]> {
  const ranks = loads.parse(await (await fetch(`${url}/v1/loads`)).json()).loads;
  const text = await (await fetch(`${url}/metrics`)).text();
  const counts = [...text.matchAll(/^sglang:num_requests_total\{.*\} (\d+)$/gm)].map(([, count]) =>
    Number(count)
  );
  if (counts.length !== ranks.length) throw new Error(`${counts.length} metrics of ${ranks.length} replicas`);
  return counts;
}

const scheduler = z.object({ counters: z.object({ busyMillisecondsTotal: z.number() }) });

/** CPU seconds of the front and of this program, and seconds in which each engine had a step. */
async function work({ url, pid }: ServerUnderTest, dp: number) {
  const engines = await Promise.all(Array.from({ length: dp }, async (_, rank) => {
    const state = await (await fetch(`${url}/debug/scheduler?dp_rank=${rank}`)).json();
    return scheduler.parse(state).counters.busyMillisecondsTotal / 1000;
  }));
  return { front: pid === null ? null : await mainThreadSeconds(pid), engines, client: clock() / 1000 };
}

async function measure(dp: number): Promise<ReplicaRun & { model: string }> {
  await using server = await startServer([...args.serverArgs, "--dp", String(dp)]);
  const { first, timed } = prompts(server.vocabSize);
  // As many at a time as there are documents: each replica gets its part, and compiles what it needs.
  const before = await generateAll(server, first, args.groups);
  const requestsBefore = await requestsOf(server), workBefore = await work(server, dp);
  const began = performance.now();
  const answers = await generateAll(server, timed, args.concurrency);
  const seconds = (performance.now() - began) / 1000;
  const { front, engines, client } = await work(server, dp);
  const busy = {
    front: front === null || workBefore.front === null ? null : (front - workBefore.front) / seconds,
    engines: engines.map((each, rank) => (each - workBefore.engines[rank]!) / seconds),
    client: (client - workBefore.client) / seconds,
  };
  const all = [...before, ...answers];
  const sum = (of: (one: (typeof all)[number]) => number, some = all) =>
    some.reduce((total, one) => total + of(one), 0);
  return {
    dp,
    model: server.model,
    device: server.device,
    seconds,
    output_tokens_per_second: sum((one) => one.completion_tokens, answers) / seconds,
    requests_per_second: answers.length / seconds,
    hit_rate: sum((one) => one.cached_tokens) / sum((one) => one.prompt_tokens),
    requests: (await requestsOf(server)).map((count, rank) => count - requestsBefore[rank]!),
    busy,
  };
}

const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

const where = await environment();
const runs: (ReplicaRun & { model: string })[] = [];
for (const dp of args.dp) {
  runs.push(await measure(dp));
  console.error(`replicas: --dp ${dp}: ${figure(runs.at(-1)!.seconds)} s`);
}
const result = { kind: "replicas", environment: where, workload: args, runs };
if (args.out !== null) await writeResult(args.out, result);
if (args.json) console.log(JSON.stringify(result, null, 2));
else {
  const base = runs[0]!;
  console.log(`${base.model} on ${base.device}\n`);
  console.log(table(
    [
      ...["--dp", "seconds", "output tokens/s", "times", "hit rate", "of the first", "requests of each"],
      ...["front busy", "engines busy", "client busy"],
    ],
    runs.map((run) => [
      String(run.dp),
      figure(run.seconds),
      figure(run.output_tokens_per_second),
      figure(run.output_tokens_per_second / base.output_tokens_per_second),
      run.hit_rate.toFixed(3),
      figure(run.hit_rate / base.hit_rate),
      run.requests.join(" + "),
      run.busy.front === null ? "" : percent(run.busy.front),
      run.busy.engines.map(percent).join(" + "),
      percent(run.busy.client),
    ]),
  ));
}
