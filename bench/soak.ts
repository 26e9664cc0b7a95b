// A soak: a random mix of ordinary requests, rude clients and failing workers against a server with the embedded
// model, for as long as wished, with what must hold checked throughout:
//
//   deno run -A bench/soak.ts --minutes 30
//
// Answers are those given one by one before; a 5xx comes only shortly after a fault; health answers in time; at the end
// nothing runs, waits or is held; memory and descriptors are what they were after a sixth of the time. Exit code 1 if
// not. `--out FILE` keeps the figures, with the memory of every minute.
//
// Memory is the median of a minute's samples: the heaps of six threads breathe. A machine that was suspended
// says nothing about the server: what was under way meanwhile is asked again, and counted, and memory is looked at a
// minute later.

import { positive, readOptions, whole } from "./common/arguments.ts";
import { mallocSettings, v8Flags } from "../tools/contents.ts";
import { environment } from "./common/environment.ts";
import { PythonRandom } from "./common/python_random.ts";
import { writeResult } from "./common/result_file.ts";
import { median, percentile, trend } from "./common/statistics.ts";
import { type Footprint, footprint } from "./soak/footprint.ts";
import { Suspensions } from "./soak/suspensions.ts";
import { ask, type Kind, kinds, type Known, type Result, type Target } from "./soak/traffic.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    minutes: { type: "string", default: "30" },
    concurrency: { type: "string", default: "16" },
    seed: { type: "string", default: "1" },
    "seconds-between-faults": { type: "string", default: "20" },
    out: { type: "string" },
  },
});
const duration = positive(values.minutes, "minutes") * 60_000;
const concurrency = whole(values.concurrency, "concurrency");
const seed = whole(values.seed, "seed");
const faultPeriod = positive(values["seconds-between-faults"], "seconds-between-faults") * 1000;
/** Only then are memory and latencies judged: a short run is still warming up. */
const long = duration >= 20 * 60_000;

/** A 5xx so many milliseconds after a fault is the fault's. */
const aftermath = 12_000;
// Not "stall": a worker that never comes back to its event loop cannot be ended, and keeps a thread, six descriptors
// and its memory (Deno 2.9.6). The fault matrix has it.
const faults = [
  "tokenizer die",
  "tokenizer garble",
  "tokenizer close",
  "detokenizer die",
  "detokenizer garble",
];
const questions = [
  "What is 23 plus 48?",
  "What is 7 plus 5?",
  "Hello!",
  "Tell me a story about a fox named Ida.",
];

/** The same numbers for the same seed. */
function generator(seed: number): () => number {
  const random = new PythonRandom(seed);
  return () => random.next();
}

const server = new Deno.Command(Deno.execPath(), {
  // As a release starts: without its limits every worker's heap grows with the load, and glibc's pools for an hour.
  env: mallocSettings,
  args: ["run", "-A", v8Flags, decodeURIComponent(new URL("./soak/server.ts", import.meta.url).pathname)],
  stdin: "piped",
  stdout: "piped",
}).spawn();
const orders = server.stdin.getWriter();
const url = (await server.stdout.pipeThrough(new TextDecoderStream()).getReader().read()).value!.trim();
const target = (seed: number): Target => ({
  url,
  key: ["one", "two", "three"][seed % 3]!,
  random: generator(seed),
});

const known: Known[] = questions.flatMap((question) =>
  [8, 24, 60].map((tokens) => ({ question, tokens, answer: "" }))
);
for (const each of known) each.answer = (await ask(target(0), each)).text;

const problems: string[] = [];
const counts = new Map<string, number>();
const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
let lastFault = -Infinity;
using suspensions = new Suspensions();
let faultsInjected = 0;
const began = performance.now();
/** Milliseconds that the soak has run, suspensions left out. */
const elapsed = () => performance.now() - began - suspensions.total;
const over = () => elapsed() >= duration;

/** Whether a fault or a suspension lies so shortly back that a failure may be its. */
function excused(): boolean {
  const since = performance.now() - aftermath;
  return lastFault > since || suspensions.since(since);
}

function judge(kind: Kind, result: Result): void {
  count(`${kind.name}: ${result}`);
  // What is sent whole is never late, however long the machine was away.
  if (result === 408 || typeof result === "number" && result >= 500 && !excused()) {
    problems.push(`${kind.name} was answered ${result} without a fault`);
  }
}

async function client(seed: number): Promise<void> {
  const self = target(seed);
  const total = kinds.reduce((sum, { weight }) => sum + weight, 0);
  while (!over()) {
    let at = self.random() * total;
    const kind = kinds.find(({ weight }) => (at -= weight) < 0)!;
    const sent = performance.now();
    try {
      judge(kind, await kind.send(self, known));
    } catch (error) {
      const { name, message } = error as Error;
      if (name === "TimeoutError" && suspensions.since(sent)) count(`${kind.name}: suspended`);
      else problems.push(`${kind.name}: ${message}`);
    }
  }
}

const healthTimes: number[] = [];
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function watchHealth(): Promise<void> {
  while (!over()) {
    const asked = performance.now();
    const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(5_000) }).catch(() => null);
    await response?.body?.cancel();
    if (!suspensions.since(asked)) healthTimes.push(performance.now() - asked);
    if (response?.status !== 200 && !excused()) {
      problems.push(`health was ${response?.status ?? "silent"} without a fault`);
    }
    await sleep(100);
  }
}

async function injectFaults(): Promise<void> {
  const random = generator(seed);
  while (!over()) {
    await sleep(
      Math.min(faultPeriod * (0.5 + random()), Math.max(0, duration - elapsed())),
    );
    if (duration - elapsed() < aftermath) return; // time to recover before the end
    const fault = faults[Math.floor(random() * faults.length)]!;
    lastFault = performance.now();
    faultsInjected++;
    count(`fault: ${fault}`);
    await orders.write(new TextEncoder().encode(`${fault}\n`));
  }
}

const footprints: (Footprint & { readonly second: number })[] = [];
const samplePeriod = Math.min(5_000, duration / 24);
/** Over which a figure of memory is taken. */
const sampleWindow = Math.min(60_000, duration / 6);

async function watchFootprint(): Promise<void> {
  while (!over()) {
    await sleep(samplePeriod);
    const second = elapsed() / 1000;
    // Heaps of a process that does nothing are made smaller, and take as long to fill again.
    const disturbed = suspensions.since(performance.now() - sampleWindow);
    if (!over() && !disturbed) footprints.push({ second, ...await footprint(url) });
  }
}

/** The medians of the samples of one window, or so many, before `end` (milliseconds that the soak had run). */
function footprintAt(end: number, windows = 1): Footprint {
  const samples = Math.round(windows * sampleWindow / samplePeriod);
  const before = footprints.filter(({ second }) => second * 1000 <= end);
  const within = before.length > 0 ? before.slice(-samples) : footprints.slice(0, 1);
  return {
    memory: median(within.map(({ memory }) => memory)),
    descriptors: median(within.map(({ descriptors }) => descriptors)),
  };
}

await Promise.all([
  ...Array.from({ length: concurrency }, (_, i) => client(seed * 1000 + i)),
  watchHealth(),
  injectFaults(),
  watchFootprint(),
]);
const [early, late] = [footprintAt(duration / 6), footprintAt(duration)];
/** The same over three minutes: from the fourth to the sixth, and the last three. */
const [around, last] = [footprintAt(duration / 5, 3), footprintAt(duration, 3)];
/** Of a straight line through all that came after the early figure, in MiB an hour. */
const slope = 3600 * trend(
  footprints.filter(({ second }) => second * 1000 > duration / 6).map((
    { second, memory },
  ) => [second, memory]),
);
await sleep(4_000); // longer than the rudest client stays
const counters = await (await fetch(`${url}/metrics`, { headers: { authorization: "Bearer one" } })).text();
for (const name of ["num_running_reqs", "num_queue_reqs", "num_used_tokens", "tokenizer_queue_reqs"]) {
  const value = new RegExp(`^sglang:${name}\\{[^}]*\\} (\\S+)$`, "m").exec(counters)?.[1];
  if (value !== "0") problems.push(`${name} is ${value} at the end`);
}
for (const each of known) {
  const { text } = await ask(target(0), each);
  if (text !== each.answer) {
    problems.push(`at the end ${JSON.stringify(each.question)} is answered otherwise`);
  }
}
await orders.close();
const { code } = await server.status;
if (code !== 0) problems.push(`the server ended with code ${code}`);

const health = {
  asked: healthTimes.length,
  p50: median(healthTimes),
  p99: percentile(healthTimes, 0.99),
  most: percentile(healthTimes, 1),
};
if (long && health.p99 >= 250) problems.push(`the p99 of /health is ${Math.round(health.p99)} ms`);
const growth = late.memory / early.memory - 1;
if (long && growth > 0.05) problems.push(`memory has grown by ${(100 * growth).toFixed(1)} %`);
if (long && late.descriptors > early.descriptors * 1.1) {
  problems.push(`${late.descriptors} descriptors at the end, ${early.descriptors} before`);
}

const requests = [...counts].reduce((sum, [what, times]) => what.startsWith("fault") ? sum : sum + times, 0);
for (const [what, times] of [...counts].sort()) console.log(`${String(times).padStart(8)}  ${what}`);
console.log(
  `${requests} requests, ${faultsInjected} faults, ${suspensions.count} suspensions, ${problems.length} problems; ` +
    `/health p50 ${health.p50.toFixed(1)} ms, p99 ${health.p99.toFixed(1)} ms, max ${
      health.most.toFixed(1)
    } ms; memory ${early.memory.toFixed(0)} → ${late.memory.toFixed(0)} MiB (${
      slope.toFixed(1)
    } MiB an hour), descriptors ${early.descriptors} → ${late.descriptors}`,
);
for (const problem of problems.slice(0, 50)) console.error(problem);
if (values.out !== undefined) {
  const minutes = Array.from(
    { length: Math.floor(duration / 60_000) },
    (_, i) => footprintAt((i + 1) * 60_000),
  );
  await writeResult(values.out, {
    program: "soak",
    ...await environment(),
    settings: {
      minutes: duration / 60_000,
      concurrency,
      seed,
      seconds_between_faults: faultPeriod / 1000,
      v8: v8Flags,
      malloc: mallocSettings,
    },
    requests,
    faults: faultsInjected,
    suspensions: { count: suspensions.count, seconds: suspensions.total / 1000 },
    counts: Object.fromEntries([...counts].sort()),
    health_ms: health,
    memory_mib: {
      early: early.memory,
      late: late.memory,
      growth,
      early_three_minutes: around.memory,
      late_three_minutes: last.memory,
      growth_three_minutes: last.memory / around.memory - 1,
      slope_per_hour: slope,
      of_each_minute: minutes.map(({ memory }) => memory),
    },
    descriptors: { early: early.descriptors, late: late.descriptors },
    problems,
  });
}
Deno.exit(problems.length > 0 ? 1 : 0);
