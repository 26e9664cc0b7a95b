// The front of `serve --dp n`: how many tokens a second the one main thread carries from detokenizers to clients.
//
//   deno run -A bench/front.ts                                   CPU time of the thread for a token, and what that allows
//   deno run -A bench/front.ts --trees ../before,. --repeat 3    two checkouts in turn, and the quotient
//
// Behind the front stand --dp workers that compute nothing: every --period milliseconds each gives all its requests
// --per-step tokens. --api is generate (SGLang's), chat or completions; --whole asks for answers in one piece.
// What is counted is CPU time of the main thread alone (bench/common/thread_clock.ts), so other programs on the machine
// change little. The client's own time is shown: where it is near the run's, the client was the limit.

import { choice, list, positive, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { systemTime } from "./capacity/records.ts";
import { median } from "./common/statistics.ts";
import { figure, table } from "./common/table.ts";
import { threadClock } from "./common/thread_clock.ts";
import { bodyOf, sendAll } from "./front/client.ts";
import { textOf, tokenAt } from "./front/worker.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    trees: { type: "string", default: new URL("..", import.meta.url).pathname },
    dp: { type: "string", default: "2" },
    api: { type: "string", default: "generate,chat" },
    whole: { type: "boolean", default: false },
    period: { type: "string", default: "10" },
    "per-step": { type: "string", default: "1" },
    prompt: { type: "string", default: "288" },
    tokens: { type: "string", default: "64" },
    requests: { type: "string", default: "256" },
    concurrency: { type: "string", default: "64" },
    repeat: { type: "string", default: "1" },
    "cpu-prof": { type: "boolean", default: false },
    out: { type: "string" },
  },
});
const apis = list(values.api, (word) => choice(word, "api", ["generate", "chat", "completions"]));
type Api = (typeof apis)[number];
const trees = list(values.trees, (path) => new URL(`${path}/`, `file://${Deno.cwd()}/`).href);
const [dp, prompt, tokens] = [
  whole(values.dp, "dp"),
  whole(values.prompt, "prompt"),
  whole(values.tokens, "tokens"),
];
const [requests, concurrency] = [
  whole(values.requests, "requests"),
  whole(values.concurrency, "concurrency"),
];
const [period, perStep] = [positive(values.period, "period"), whole(values["per-step"], "per-step")];

/** One run's figures. */
interface FrontRun {
  readonly tree: string;
  readonly api: Api;
  readonly seconds: number;
  /** Of the server's main thread. */
  readonly cpu_seconds: number;
  /** Of the client, in this process. */
  readonly client_cpu_seconds: number;
  readonly tokens: number;
  /** Milliseconds from a detokenizer's message to the client, median, of one request alone. */
  readonly latency: number;
}

const paths: Readonly<Record<Api, string>> = {
  generate: "/generate",
  chat: "/v1/chat/completions",
  completions: "/v1/completions",
};

/** A request like no other from its first token on. */
function body(api: Api, number: number): string {
  const ids = Array.from({ length: prompt }, (_, i) => (number * 7919 + i * 31) % 500 + 1);
  const stream = !values.whole;
  switch (api) {
    case "generate":
      return JSON.stringify({
        input_ids: ids,
        sampling_params: { max_new_tokens: tokens, temperature: 0, ignore_eos: true },
        stream,
      });
    case "completions":
      return JSON.stringify({ model: "default", prompt: ids, max_tokens: tokens, temperature: 0, stream });
    case "chat": {
      const messages = [{ role: "user", content: ids.join(" ") }];
      return JSON.stringify({ model: "default", messages, max_tokens: tokens, temperature: 0, stream });
    }
  }
}

const expected = Array.from({ length: tokens }, (_, i) => textOf(tokenAt(i))).join("");

/** The whole text of an answer. @throws {Error} where it is not the text that was sent */
function check(api: Api, answer: Uint8Array): void {
  const body = bodyOf(answer);
  const events: unknown[] = values.whole
    ? [JSON.parse(body)]
    : body.split("\n\n").filter((line) => line.startsWith("data: {")).map((line) =>
      JSON.parse(line.slice(6))
    );
  const text = events.reduce<string>((text, event) => {
    if (api === "generate") return (event as { text: string }).text;
    const [choice] =
      (event as { choices: { text?: string; delta?: { content?: string }; message?: { content: string } }[] })
        .choices;
    return text + (choice?.text ?? choice?.delta?.content ?? choice?.message?.content ?? "");
  }, "");
  if (text !== expected) {
    throw new Error(`${api}: an answer is not what was sent: ${JSON.stringify(body.slice(-500))}`);
  }
}

/** A server with that tree's front; `cpu` reads the CPU milliseconds of its main thread. */
async function startFront(tree: string, stamps: boolean) {
  const program = decodeURIComponent(new URL("front/server.ts", import.meta.url).pathname);
  const settings = [dp, period, perStep, requests + concurrency, stamps ? "stamps" : ""];
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-A", ...(values["cpu-prof"] && !stamps ? ["--cpu-prof"] : [])],
      ...[program, tree, ...settings.map(String)],
    ],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const line = async () => (await lines.read()).value!.trim();
  const url = await line(), writer = child.stdin.getWriter();
  return {
    url,
    async cpu() {
      await writer.write(Uint8Array.of(0));
      return Number(await line());
    },
    async [Symbol.asyncDispose]() {
      await writer.close();
      await child.status;
      await lines.cancel();
    },
  };
}

const bodies = (api: Api, from: number, count: number) =>
  Array.from({ length: count }, (_, i) => body(api, from + i));

async function measure(tree: string, api: Api): Promise<FrontRun> {
  await using front = await startFront(tree, false);
  await sendAll(front.url, paths[api], bodies(api, 0, requests / 2), concurrency); // compiles
  const timed = bodies(api, requests, requests), own = threadClock();
  const [cpuBefore, ownBefore, began] = [await front.cpu(), own(), performance.now()];
  const answers = await sendAll(front.url, paths[api], timed, concurrency);
  const [seconds, client] = [(performance.now() - began) / 1000, (own() - ownBefore) / 1000];
  const used = (await front.cpu() - cpuBefore) / 1000;
  for (const answer of answers) check(api, answer);
  return {
    tree,
    api,
    seconds,
    cpu_seconds: used,
    client_cpu_seconds: client,
    tokens: requests * tokens,
    latency: values.whole ? NaN : await latencyOf(tree, api),
  };
}

/** One request after another. */
async function latencyOf(tree: string, api: Api): Promise<number> {
  await using front = await startFront(tree, true);
  const decoder = new TextDecoder(), latencies: number[] = [];
  for (const latency of [[], latencies]) { // the first time it is compiled
    await sendAll(front.url, paths[api], bodies(api, 0, 6), 1, (bytes) => {
      const sent = decoder.decode(bytes).match(/\d{13}\.\d{3}/g)?.at(-1);
      if (sent !== undefined) latency.push(systemTime() - Number(sent));
    });
  }
  return median(latencies);
}

const where = await environment();
const runs: FrontRun[] = [];
for (let i = 0; i < whole(values.repeat, "repeat"); i++) {
  for (const api of apis) for (const tree of trees) runs.push(await measure(tree, api));
}
const summary = apis.flatMap((api) =>
  trees.map((tree, column) => {
    const some = runs.filter((run) => run.api === api && run.tree === tree);
    const micros = (of: "cpu_seconds" | "client_cpu_seconds") =>
      median(some.map((run) => run[of] * 1e6 / run.tokens));
    return {
      api,
      column,
      microseconds: micros("cpu_seconds"),
      client: micros("client_cpu_seconds"),
      latency: median(some.map((run) => run.latency)),
      rate: median(some.map((run) => run.tokens / run.seconds)),
    };
  })
);
const workload = { dp, period, perStep, prompt, tokens, requests, concurrency, whole: values.whole };
// Where the checkouts lie says nothing to others.
const result = {
  kind: "front",
  environment: where,
  workload,
  runs: runs.map(({ tree, ...run }) => ({ tree: trees.indexOf(tree), ...run })),
};
if (values.out !== undefined) await writeResult(values.out, result);
console.log(table(
  [
    "api",
    "tree",
    "µs a token",
    "tokens/s of one thread",
    "times the first",
    "in this run",
    "client µs a token",
    "latency ms",
  ],
  summary.map(({ api, column, microseconds, client, rate, latency }) => {
    const first = summary.find((each) => each.api === api)!;
    return [
      api,
      String(column + 1),
      figure(microseconds),
      figure(1e6 / microseconds),
      figure(first.microseconds / microseconds),
      figure(rate),
      figure(client),
      latency.toFixed(3),
    ];
  }),
));
