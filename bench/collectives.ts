// What tensor parallelism costs: microseconds of one all-reduce by length and number of ranks, and a decode step of a
// model's shape (random weights) with 1, 2, 4 ranks on the devices of this machine.
//
//   deno run -A bench/collectives.ts [--device cpu|webgpu|cuda] [--shape qwen3-0.6b] [--ranks 1,2,4]
//                                    [--batches 1,8] [--steps 32] [--reduce float32|float16] [--few yes|no] [--sums] [--json]
//
// With cuda, where each rank has a GPU of its own, all-reduces go from GPU to GPU, fifty in a graph; `--few` sends
// everything to everybody, or goes in two steps, where otherwise the length decides.
//
// Ranks that share a device also share its speed: then the whole difference to one rank is the price of the
// reductions, and divided by the layers it is the price that a layer pays. Needs no network and no weights.

import { Engine } from "../engine/engine.ts";
import { createGroupMemory } from "../engine/executor/collectives.ts";
import { defaultEngineOptions } from "../engine/options.ts";
import { defaultSamplingParams } from "../engine/params.ts";
import { listCudaGpus } from "../kernels/cuda/find.ts";
import type { ReduceTask } from "./collectives_rank.ts";
import { choice, list, readOptions, whole } from "./common/arguments.ts";
import { figure, table } from "./common/table.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    device: { type: "string", default: "cpu" },
    shape: { type: "string", default: "qwen3-0.6b" },
    ranks: { type: "string", default: "1,2,4" },
    batches: { type: "string", default: "1,8" },
    steps: { type: "string", default: "32" },
    reduce: { type: "string", default: "float32" },
    few: { type: "string" },
    sums: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const device = choice(options.device, "device", ["auto", "cpu", "cuda", "webgpu"]);
const reduceType = choice(options.reduce, "reduce", ["float32", "float16"]);
const few = options.few === undefined ? null : choice(options.few, "few", ["yes", "no"]) === "yes";
const ranks = list(options.ranks, (n) => whole(n, "ranks"));
const batches = list(options.batches, (n) => whole(n, "batches"));
const steps = whole(options.steps, "steps", 17);

/** Widths of common models, and a prompt of 512 tokens of one. */
const lengths = [1024, 4096, 8 * 4096, 64 * 4096, 512 * 4096];
if (device === "cuda") lengths.push(2048 * 4096);

/** Addresses of GPUs for as many ranks; null for the host. */
async function gpusFor(size: number): Promise<readonly (string | null)[]> {
  const gpus = device === "cuda" ? await listCudaGpus() : [];
  return Array.from({ length: size }, (_, rank) => gpus.length < size ? null : gpus[rank]!.address);
}

/** Microseconds of an all-reduce of each of the lengths, of the slowest rank. */
async function timeReduces(size: number): Promise<number[]> {
  const memory = createGroupMemory(size), addresses = await gpusFor(size);
  const workers = Array.from(
    { length: size },
    () => new Worker(new URL("./collectives_rank.ts", import.meta.url), { type: "module" }),
  );
  const times = await Promise.all(workers.map((worker, rank) =>
    new Promise<number[]>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      const address = addresses[rank]!;
      worker.postMessage({ memory, rank, lengths, reduceType, address, few } satisfies ReduceTask);
    })
  ));
  for (const worker of workers) worker.terminate();
  return lengths.map((_, i) => Math.max(...times.map((own) => own[i]!)));
}

/** Milliseconds of a decode step at each batch size. */
async function timeSteps(tp: number): Promise<{ device: string; layers: number; milliseconds: number[] }> {
  await using engine = await Engine.start({
    ...defaultEngineOptions,
    modelDir: decodeURIComponent(new URL(`shapes/${options.shape}`, import.meta.url).pathname),
    device,
    tp,
    reduceType,
    dummyWeights: true,
    skipTokenizer: true,
    cache: "naive",
    contextLength: 512,
    numPages: 32 * Math.max(...batches),
    maxRunningRequests: Math.max(...batches),
    maxPrefillTokens: 128,
  });
  const milliseconds = [];
  for (const batch of batches) {
    await decode(engine, batch); // until every kernel is compiled
    milliseconds.push(Math.min(await decode(engine, batch), await decode(engine, batch)));
  }
  return { device: engine.model.device.description, layers: engine.model.config.numLayers, milliseconds };
}

/** Milliseconds from token to token, from the first result after the prompts on. */
async function decode(engine: Engine, batch: number): Promise<number> {
  const params = { ...defaultSamplingParams, temperature: 0, ignoreEos: true, maxTokens: steps };
  let first = 0, before = 0, last = 0, all = 0;
  await Promise.all(Array.from({ length: batch }, async (_, i) => {
    const input = { type: "ids", ids: Uint32Array.of(i + 1, 2, 3, 4) } as const;
    let tokens = 0;
    for await (const delta of engine.submit({ input, params })) {
      tokens += delta.tokens.length;
      if (i !== 0) continue;
      last = performance.now();
      all = tokens;
      if (first === 0 && tokens > 1) [first, before] = [last, tokens];
    }
  }));
  return (last - first) / (all - before);
}

const reductions = [];
for (const size of ranks.filter((size) => size > 1)) {
  reductions.push({ ranks: size, microseconds: await timeReduces(size) });
}
const decodes = [];
for (const tp of options.sums ? [] : ranks) decodes.push({ ranks: tp, ...await timeSteps(tp) });

if (options.json) {
  console.log(JSON.stringify({ reduceType, lengths, reductions, batches, decodes }, null, 2));
} else {
  console.log(`all-reduce in ${reduceType}, µs (median of the slowest rank)\n`);
  console.log(table(
    ["ranks", ...lengths.map((length) => `${length.toLocaleString("en")} floats`)],
    reductions.map(({ ranks, microseconds }) => [String(ranks), ...microseconds.map(figure)]),
  ));
  const [single] = decodes;
  if (single === undefined) Deno.exit(0); // --sums: nothing else
  console.log(`\ndecode step of ${options.shape} (${single.layers} layers) on ${single.device}\n`);
  console.log(table(
    ["ranks", "batch", "ms a step", `µs a layer more than ${single.ranks}`],
    decodes.flatMap(({ ranks, layers, milliseconds }) =>
      milliseconds.map((time, i) => [
        String(ranks),
        String(batches[i]),
        figure(time),
        figure(1000 * (time - single.milliseconds[i]!) / layers),
      ])
    ),
  ));
}
