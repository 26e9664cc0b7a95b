// Where a forward's time goes on an NVIDIA GPU: every operation of a model's shape by itself, for several numbers of
// tokens, and whole decode steps without the engine around them.
//
//   deno run -A bench/cuda.ts [--model bench/shapes/qwen3-0.6b] [--rows 1,8,32,64] [--context 192] [--dtype auto]
//     [--kv-dtype auto]
//
// An operation is timed in a graph that goes through all layers, so that weights come from memory and not from cache;
// times are the device's own, by events. "launches" is kernels per layer.

import { Decoder } from "../engine/model/decoder.ts";
import { openModel } from "../engine/model/open.ts";
import { CudaBackend } from "../kernels/cuda/backend.ts";
import { describe } from "../kernels/cuda/find.ts";
import { openDevice } from "../kernels/cuda/open.ts";
import type { CudaDevice } from "../kernels/cuda/device.ts";
import { kvDTypes } from "../kernels/kv_format.ts";
import type { BatchPlan } from "../kernels/plan.ts";
import type { Matrix, Ops } from "../kernels/ops.ts";
import { matrixBytes } from "../kernels/ops.ts";
import { consecutivePages, equalPlan } from "./common/equal_plan.ts";
import { benchDTypes, loadDummy } from "./common/mixture.ts";
import { choice, readOptions, whole } from "./common/arguments.ts";
import { figure, table } from "./common/table.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    model: { type: "string", default: new URL("shapes/qwen3-0.6b", import.meta.url).pathname },
    rows: { type: "string", default: "1,8,32,64" },
    context: { type: "string", default: "192" },
    dtype: { type: "string", default: "auto" },
    "kv-dtype": { type: "string", default: "auto" },
    prefill: { type: "string", default: "512,2048" },
  },
});
const rowCounts = values.rows.split(",").filter(Boolean).map((n) => whole(n, "rows"));
const prompts = values.prefill.split(",").filter(Boolean).map((n) => whole(n, "prefill"));
const context = whole(values.context, "context");
const model = await openModel(values.model, { dummy: true });
const { config } = model;

const device: CudaDevice = openDevice(null);
const description = await describe(device.properties);
using backend = new CudaBackend(device, description, {});
const dtype = choice(values.dtype, "dtype", benchDTypes);
const weights = await loadDummy(model, backend, dtype);
const maxRows = Math.max(...rowCounts, 1), pageSize = 16;
const contextLength = Math.max(context + 64, ...prompts.map((n) => n + 16));
const pagesPerRow = Math.ceil(contextLength / pageSize);
const decoder = new Decoder(backend, config, weights, { rank: 0, size: 1 }, {
  kvDType: choice(values["kv-dtype"], "kv-dtype", kvDTypes),
  pageSize,
  numPages: maxRows * pagesPerRow,
  maxRows,
  contextLength,
  maxTokens: Math.max(maxRows, ...prompts),
  maxSamples: maxRows,
});

let pages = consecutivePages(maxRows, pagesPerRow);
/** Sequences with `cached` positions that compute `extend` more; all pages are set the first time. */
function plan(rows: number, cached: number, extend: number, steps = 1): BatchPlan {
  const made = equalPlan({ id: 0, batch: rows, cached, extend, steps, sampled: true, pages });
  pages = [];
  return made;
}

async function run(plan: BatchPlan, forward: (ops: Ops) => void): Promise<void> {
  const step = backend.record(plan, forward);
  step.submit();
  await step.read();
}

/** An `Ops` that carries out only the operations that `wanted` accepts, by name. */
function only(ops: Ops, wanted: (name: string) => boolean): Ops {
  let linear = 0;
  return {
    draws: ops.draws,
    embed: (...args) => wanted("embed") ? ops.embed(...args) : undefined,
    norm: (args) => wanted("norm") ? ops.norm(args) : undefined,
    squares: (...args) => wanted("norm") ? ops.squares(...args) : undefined,
    linear: (args) =>
      wanted(["qkv", "output", "gate-up", "down"][linear++ % 4]!) ? ops.linear(args) : undefined,
    attention: (args) => wanted("attention") ? ops.attention(args) : undefined,
    moe: (args) => wanted("moe") ? ops.moe(args) : undefined,
    allReduce: () => {},
    sample: (args) => wanted("sample") ? ops.sample(args) : undefined,
  };
}

const [from, to] = [device.event(true), device.event(true)];
/** Milliseconds of the device for one step of a plan, the best of a few. */
async function time(make: () => BatchPlan, forward: (ops: Ops) => void, repeat = 6): Promise<number> {
  // Launched, captured, replayed.
  for (let i = 0; i < 3; i++) await run(make(), forward);
  let best = Infinity;
  for (let i = 0; i < repeat; i++) {
    device.mark(from);
    const step = backend.record(make(), forward);
    device.mark(to);
    step.submit();
    await step.read();
    device.wait(to);
    best = Math.min(best, device.elapsed(from, to));
  }
  return best;
}

const bytesOf = (matrix: Matrix) => matrixBytes(matrix.spec);
const layers = weights.layers;
const bytes: Record<string, number> = {
  qkv: layers.reduce((sum, l) => sum + bytesOf(l.qkv), 0),
  output: layers.reduce((sum, l) => sum + bytesOf(l.output), 0),
  "gate-up": layers.reduce((sum, l) => sum + bytesOf(l.feedForward.gateUp), 0),
  down: layers.reduce((sum, l) => sum + bytesOf(l.feedForward.down), 0),
  sample: bytesOf(weights.head ?? weights.embedding),
};
const names = layers[0]!.feedForward.type === "dense"
  ? ["qkv", "attention", "output", "gate-up", "down", "sample", "embed"]
  : ["qkv", "attention", "output", "moe", "sample", "embed"];

console.log(`${model.config.numLayers} layers of ${values.model} on ${description}\n`);
const lines: string[][] = [];
const cell = (name: string, ms: number) => {
  const perLayer = name === "sample" || name === "embed" ? ms : ms / layers.length;
  const rate = bytes[name] === undefined ? "" : ` (${(bytes[name]! / ms / 1e6).toFixed(0)})`;
  return `${(perLayer * 1000).toFixed(2)}${rate}`;
};
for (const rows of rowCounts) {
  const forward = (ops: Ops) => decoder.forward(ops);
  const whole = await time(() => plan(rows, context, 1), forward);
  const began = performance.now(), count = 40;
  for (let i = 0; i < count; i++) await run(plan(rows, context, 1, 8), forward);
  const wall = (performance.now() - began) / count / 8;
  const cells: string[] = [];
  for (const name of names) {
    const part = (ops: Ops) => decoder.forward(only(ops, (n) => n === name));
    cells.push(cell(name, await time(() => plan(rows, context, 1), part)));
  }
  const empty = await time(() => plan(rows, context, 1), () => {});
  lines.push([
    String(rows),
    (whole * 1000).toFixed(0),
    (wall * 1000).toFixed(0),
    figure(rows / wall * 1000),
    ...cells,
    (empty * 1000).toFixed(1),
  ]);
}
console.log("decode: µs a step (device, wall in bursts of 8), and µs an operation (GB/s of its weights)");
console.log(table(["rows", "step", "burst", "tokens/s", ...names, "empty"], lines));

const prefill: string[][] = [];
for (const tokens of prompts) {
  const forward = (ops: Ops) => decoder.forward(ops);
  const whole = await time(() => plan(1, 0, tokens), forward, 4);
  const cells: string[] = [];
  for (const name of names) {
    const ms = await time(
      () => plan(1, 0, tokens),
      (ops) => decoder.forward(only(ops, (n) => n === name)),
      3,
    );
    const flops = 2 * tokens * (bytes[name] ?? 0) / 2;
    cells.push(
      `${(ms / (name === "sample" ? 1 : layers.length) * 1000).toFixed(1)}${
        name in bytes && name !== "sample" ? ` (${(flops / ms / 1e9).toFixed(0)})` : ""
      }`,
    );
  }
  prefill.push([String(tokens), whole.toFixed(2), figure(tokens / whole * 1000), ...cells]);
}
console.log("\nprefill: ms, and µs an operation (TFLOP/s)");
console.log(table(["tokens", "ms", "tokens/s", ...names], prefill));
