// Times llama.cpp through its npm binding, node-llama-cpp, the way `radish bench` times radish: prompts of several
// lengths to their first token, and steps while several sequences decode together. Prints one JSON object.
//
// Not started by hand: `compare.ts` feeds it to Deno from standard input, in the folder where node-llama-cpp is
// installed, because that is where the binding is looked for. So it imports nothing of this repository.

/** What is used of node-llama-cpp 3. */
interface Binding {
  getLlama(options: {
    gpu: false | "vulkan" | "cuda";
    build: "never";
    skipDownload: boolean;
    logLevel: "error";
  }): Promise<{
    readonly gpu: string | false;
    getGpuDeviceNames(): Promise<string[]>;
    loadModel(options: { modelPath: string; gpuLayers: number | "max" }): Promise<Model>;
  }>;
}
interface Model {
  createContext(options: {
    contextSize: number;
    sequences: number;
    batchSize: number;
    flashAttention: boolean;
    threads?: number;
  }): Promise<{ getSequence(): Sequence; dispose(): Promise<void> }>;
}
interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(
    tokens: readonly number[],
    options: { temperature: number; yieldEogToken: boolean },
  ): AsyncGenerator<number, void, void>;
}

interface Task {
  readonly model: string;
  readonly gpu: "none" | "vulkan" | "cuda";
  readonly threads: number;
  readonly prompts: readonly number[];
  readonly batches: readonly number[];
  readonly context: number;
  readonly tokens: number;
  readonly repeat: number;
}

const binding: string = "node-llama-cpp"; // a variable, so that nothing looks for it before it runs
const { getLlama } = await import(binding) as Binding;
const task = JSON.parse(Deno.args[0]!) as Task;
const greedy = { temperature: 0, yieldEogToken: true };

const llama = await getLlama({
  gpu: task.gpu === "none" ? false : task.gpu,
  build: "never",
  skipDownload: true,
  logLevel: "error",
});
const model = await llama.loadModel({ modelPath: task.model, gpuLayers: task.gpu === "none" ? 0 : "max" });
const measurements = [];
for (const size of task.prompts) {
  const milliseconds = await measure(1, size, (sequences) => prefill(sequences[0]!, size));
  measurements.push({ what: "prefill", size, milliseconds, tokens_per_second: size / milliseconds * 1000 });
}
for (const size of task.batches) {
  const milliseconds = await measure(size, task.context + task.tokens, decode);
  measurements.push({ what: "decode", size, milliseconds, tokens_per_second: size / milliseconds * 1000 });
}
const devices = llama.gpu === false ? [] : await llama.getGpuDeviceNames();
console.log(JSON.stringify({ device: devices.join(", ") || `CPU, ${task.threads} threads`, measurements }));
Deno.exit();

/** The median of `repeat` runs after one that does not count. */
async function measure(
  count: number,
  length: number,
  run: (sequences: readonly Sequence[]) => Promise<number>,
): Promise<number> {
  const context = await model.createContext({
    contextSize: length + 64,
    sequences: count,
    batchSize: Math.max(512, count),
    flashAttention: true,
    ...(task.gpu === "none" ? { threads: task.threads } : {}),
  });
  const sequences = Array.from({ length: count }, () => context.getSequence());
  const times: number[] = [];
  for (let i = 0; i <= task.repeat; i++) {
    for (const sequence of sequences) await sequence.clearHistory();
    times.push(await run(sequences));
  }
  await context.dispose();
  return times.slice(1).sort((a, b) => a - b)[Math.floor(task.repeat / 2)]!;
}

function randomIds(length: number): number[] {
  return Array.from({ length }, () => 300 + Math.floor(Math.random() * 1000));
}

/** Milliseconds to the first token. */
async function prefill(sequence: Sequence, length: number): Promise<number> {
  const began = performance.now();
  const generation = sequence.evaluate(randomIds(length), greedy);
  await generation.next();
  const milliseconds = performance.now() - began;
  await generation.return();
  return milliseconds;
}

/** Milliseconds per step, from when all sequences have begun to when the first one ends. */
async function decode(sequences: readonly Sequence[]): Promise<number> {
  let waiting = sequences.length, beganAt = 0, endedAt = Infinity, after = 0;
  await Promise.all(sequences.map(async (sequence) => {
    let count = 0;
    for await (const _ of sequence.evaluate(randomIds(task.context), greedy)) {
      if (count++ === 0 && --waiting === 0) beganAt = performance.now();
      else if (waiting === 0 && endedAt === Infinity) after++;
      if (count === task.tokens) break;
    }
    endedAt = Math.min(endedAt, performance.now());
  }));
  if (after === 0) throw new Error("the answers were too short to time");
  return (endedAt - beganAt) * sequences.length / after;
}
