// A soak: a random mix of ordinary requests, rude clients and failing workers against a server with the embedded
// model, for as long as wished, with what must hold checked throughout:
//
//   deno run -A bench/soak.ts --minutes 30
//
// Answers are those given one by one before; a 5xx comes only shortly after a fault; health answers in time; at the end
// nothing runs, waits or is held; memory and descriptors are what they were after a sixth of the time. Exit code 1 if
// not.

import { positive, readOptions, whole } from "./common/arguments.ts";
import { PythonRandom } from "./common/python_random.ts";
import { ask, type Kind, kinds, type Known, type Result, type Target } from "./soak/traffic.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    minutes: { type: "string", default: "30" },
    concurrency: { type: "string", default: "16" },
    seed: { type: "string", default: "1" },
    "seconds-between-faults": { type: "string", default: "20" },
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
  args: ["run", "-A", decodeURIComponent(new URL("./soak/server.ts", import.meta.url).pathname)],
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
let faultsInjected = 0;
const began = performance.now();
const over = () => performance.now() - began >= duration;

function judge(kind: Kind, result: Result): void {
  count(`${kind.name}: ${result}`);
  if (typeof result === "number" && result >= 500 && performance.now() - lastFault > aftermath) {
    problems.push(`${kind.name} was answered ${result} without a fault`);
  }
}

async function client(seed: number): Promise<void> {
  const self = target(seed);
  const total = kinds.reduce((sum, { weight }) => sum + weight, 0);
  while (!over()) {
    let at = self.random() * total;
    const kind = kinds.find(({ weight }) => (at -= weight) < 0)!;
    try {
      judge(kind, await kind.send(self, known));
    } catch (error) {
      problems.push(`${kind.name}: ${(error as Error).message}`);
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
    healthTimes.push(performance.now() - asked);
    if (response?.status !== 200 && performance.now() - lastFault > aftermath) {
      problems.push(`health was ${response?.status ?? "silent"} without a fault`);
    }
    await sleep(100);
  }
}

async function injectFaults(): Promise<void> {
  const random = generator(seed);
  while (!over()) {
    await sleep(
      Math.min(faultPeriod * (0.5 + random()), Math.max(0, duration - (performance.now() - began))),
    );
    if (duration - (performance.now() - began) < aftermath) return; // time to recover before the end
    const fault = faults[Math.floor(random() * faults.length)]!;
    lastFault = performance.now();
    faultsInjected++;
    count(`fault: ${fault}`);
    await orders.write(new TextEncoder().encode(`${fault}\n`));
  }
}

/** Resident memory in MiB and open descriptors of the server. */
async function footprint(): Promise<{ memory: number; descriptors: number }> {
  const text = await (await fetch(`${url}/metrics`, { headers: { authorization: "Bearer one" } })).text();
  const metric = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(text)?.[1]);
  return {
    memory: metric("process_resident_memory_bytes") / 2 ** 20,
    descriptors: metric("process_open_fds"),
  };
}

let early: { memory: number; descriptors: number } | null = null;
await Promise.all([
  ...Array.from({ length: concurrency }, (_, i) => client(seed * 1000 + i)),
  watchHealth(),
  injectFaults(),
  sleep(duration / 6).then(async () => early = await footprint()),
]);
await sleep(4_000); // longer than the rudest client stays
const late = await footprint();
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

healthTimes.sort((a, b) => a - b);
const p99 = healthTimes[Math.floor(healthTimes.length * 0.99)]!;
if (long && p99 >= 250) problems.push(`the p99 of /health is ${Math.round(p99)} ms`);
const growth = late.memory / early!.memory - 1;
if (long && Math.abs(growth) > 0.05) {
  problems.push(`memory changed by ${(100 * growth).toFixed(1)} %`);
}
if (long && late.descriptors > early!.descriptors) {
  problems.push(`${late.descriptors} descriptors at the end, ${early!.descriptors} before`);
}

const requests = [...counts].reduce((sum, [what, times]) => what.startsWith("fault") ? sum : sum + times, 0);
for (const [what, times] of [...counts].sort()) console.log(`${String(times).padStart(8)}  ${what}`);
console.log(
  `${requests} requests, ${faultsInjected} faults, ${problems.length} problems; /health p50 ${
    healthTimes[Math.floor(healthTimes.length / 2)]!.toFixed(1)
  } ms, p99 ${p99.toFixed(1)} ms, max ${healthTimes.at(-1)!.toFixed(1)} ms; memory ${
    early!.memory.toFixed(0)
  } → ${late.memory.toFixed(0)} MiB, descriptors ${early!.descriptors} → ${late.descriptors}`,
);
for (const problem of problems.slice(0, 50)) console.error(problem);
Deno.exit(problems.length > 0 ? 1 : 0);
