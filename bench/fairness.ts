// Fairness between clients, through HTTP: how long a client's single request waits for its first token while another
// client has 192 generations running and queued, beside the same on an idle server.
//
//   deno run -A bench/fairness.ts --device cpu                                   the embedded model
//   deno run -A bench/fairness.ts --device cpu --dummy-weights --model bench/shapes/qwen3-0.6b --count 10
//
// Clients are told apart by their API keys. Each single request has a prompt of --prompt tokens that no other request
// has (nothing is cached), and is sent at a moment of its own (up to --pause milliseconds after the one before), so
// that it meets steps at all of their stages. What the other client's requests end is replaced at once. The medians of
// --count requests are compared; with --most RATIO the exit code is 1 when theirs is above it.

import { positive, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { PythonRandom } from "./common/python_random.ts";
import { writeResult } from "./common/result_file.ts";
import { median, percentile } from "./common/statistics.ts";
import { figure, table } from "./common/table.ts";
import { request } from "./online/client.ts";
import { type ServerUnderTest, startServer } from "./online/server.ts";

/** One client's key, and the other's. */
const keys = ["many", "one"] as const;
/** Generations of one request of the busy client. */
const choices = 32;

function readArguments() {
  const { values } = readOptions(import.meta.url, {
    options: {
      model: { type: "string" },
      "dummy-weights": { type: "boolean", default: false },
      device: { type: "string" },
      threads: { type: "string" },
      "max-running-requests": { type: "string" },
      generations: { type: "string", default: "192" },
      prompt: { type: "string", default: "32" },
      tokens: { type: "string", default: "200" },
      count: { type: "string", default: "100" },
      pause: { type: "string", default: "100" },
      seed: { type: "string", default: "0" },
      most: { type: "string", default: "Infinity" },
      out: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const passed = ["model", "device", "threads", "max-running-requests"] as const;
  const serverArgs = passed.flatMap((name) => values[name] === undefined ? [] : [`--${name}`, values[name]]);
  return {
    serverArgs: values["dummy-weights"] ? [...serverArgs, "--dummy-weights"] : serverArgs,
    generations: whole(values.generations, "generations"),
    prompt: whole(values.prompt, "prompt"),
    tokens: whole(values.tokens, "tokens"),
    count: whole(values.count, "count"),
    pause: whole(values.pause, "pause", 0),
    seed: whole(values.seed, "seed", 0),
    most: values.most === "Infinity" ? Infinity : positive(values.most, "most"),
    out: values.out,
    json: values.json,
  };
}

const args = readArguments();
const random = new PythonRandom(args.seed);

const prompt = ({ vocabSize }: ServerUnderTest) =>
  Uint32Array.from({ length: args.prompt }, () => random.int(0, vocabSize - 1));
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Times to first token, in milliseconds, of single requests one after the other. */
async function singles(server: ServerUnderTest, count: number): Promise<number[]> {
  const times: number[] = [];
  while (times.length < count) {
    await sleep(args.pause * random.next());
    const outcome = await request(
      server.url,
      { at: 0, ids: [...prompt(server)], outputTokens: 1 },
      performance.now(),
      AbortSignal.timeout(120_000),
      keys[1],
    );
    if (outcome.status !== "done") throw new Error(`a single request: ${JSON.stringify(outcome)}`);
    times.push(outcome.firstToken);
  }
  return times;
}

/** Keeps the generations of the busy client in the server until the signal; rejects when one is refused. */
async function flood(server: ServerUnderTest, signal: AbortSignal): Promise<void> {
  const keepBusy = async (count: number) => {
    while (!signal.aborted) {
      const response = await fetch(`${server.url}/generate`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${keys[0]}` },
        body: JSON.stringify({
          input_ids: Array.from({ length: count }, () => [...prompt(server)]),
          sampling_params: { max_new_tokens: args.tokens, temperature: 0, ignore_eos: true },
        }),
        signal,
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`the busy client: ${response.status} ${text.slice(0, 200)}`);
    }
  };
  const requests: Promise<void>[] = [];
  for (let left = args.generations; left > 0; left -= choices) {
    requests.push(keepBusy(Math.min(left, choices)));
  }
  try {
    await Promise.all(requests);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The same while the other client keeps the server busy. */
async function besideFlood(server: ServerUnderTest): Promise<number[]> {
  const over = new AbortController();
  const flooding = flood(server, over.signal);
  try {
    // The first ones are served while the flood comes in.
    return await Promise.race([
      singles(server, 5).then(() => singles(server, args.count)),
      flooding.then(() => Promise.reject(new Error("the busy client has ended"))),
    ]);
  } finally {
    over.abort();
    await flooding.catch(() => {}); // told above
  }
}

await using server = await startServer(args.serverArgs, keys);
const started = await environment();
await singles(server, Math.min(20, args.count)); // compiles, and raises clocks
const idle = await singles(server, args.count);
const busy = await besideFlood(server);
const ratio = median(busy) / median(idle);

const summary = (values: readonly number[]) => ({
  p50: median(values),
  p90: percentile(values, 0.9),
  max: percentile(values, 1),
});
const result = {
  program: "fairness",
  ...started,
  model: server.model,
  device: server.device,
  settings: args,
  idle_ms: summary(idle),
  busy_ms: summary(busy),
  ratio,
};
if (args.out !== undefined) await writeResult(args.out, result);
if (args.json) console.log(JSON.stringify(result));
else {
  const row = (
    name: string,
    { p50, p90, max }: ReturnType<typeof summary>,
  ) => [name, ...[p50, p90, max].map(figure)];
  console.log(
    `${server.model} on ${server.device}, prompts of ${args.prompt} tokens, first token after, ms:\n`,
  );
  console.log(table(["", "p50", "p90", "most"], [
    row("idle", result.idle_ms),
    row(`beside ${args.generations} generations`, result.busy_ms),
  ]));
  console.log(`\nratio of the medians: ${figure(ratio)}`);
}
if (ratio > args.most) {
  console.error(
    `the first token comes ${figure(ratio)} times later beside a busy client; ${args.most} is the most`,
  );
  Deno.exitCode = 1;
}
