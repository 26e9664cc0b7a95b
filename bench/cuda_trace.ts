// Where a decode step's time goes on an NVIDIA GPU, kernel by kernel: each launch of a layer by itself, and what the step
// gains without it.
//
//   deno run -A bench/cuda_trace.ts [--model bench/shapes/gpt-oss-20b] [--dtype auto] [--rows 1,8,64] [--context 192]
//
// A launch is timed in a graph that has it for every layer and nothing else, by the device's events, less what an empty
// step takes. Kernels that are left out leave what they made in the last whole step, so that experts are chosen as in
// one. Rows have tokens of their own. What a step gains without a kernel is more than the kernel takes where others wait.

import { Decoder } from "../engine/model/decoder.ts";
import { openModel } from "../engine/model/open.ts";
import type { Grid } from "../kernels/cuda/arguments.ts";
import { CudaBackend } from "../kernels/cuda/backend.ts";
import type { CudaDevice } from "../kernels/cuda/device.ts";
import { describe } from "../kernels/cuda/find.ts";
import { openDevice } from "../kernels/cuda/open.ts";
import type { Ops } from "../kernels/ops.ts";
import type { BatchPlan } from "../kernels/plan.ts";
import { choice, readOptions, whole } from "./common/arguments.ts";
import { consecutivePages, equalPlan } from "./common/equal_plan.ts";
import { benchDTypes, loadDummy } from "./common/mixture.ts";
import { table } from "./common/table.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    model: { type: "string", default: new URL("shapes/gpt-oss-20b", import.meta.url).pathname },
    dtype: { type: "string", default: "auto" },
    rows: { type: "string", default: "1,8,64" },
    context: { type: "string", default: "192" },
  },
});
const rowCounts = values.rows.split(",").map((n) => whole(n, "rows"));
const context = whole(values.context, "context");
const dtype = choice(values.dtype, "dtype", benchDTypes);
const model = await openModel(values.model, { dummy: true });
const device: CudaDevice = openDevice(null);
using backend = new CudaBackend(device, await describe(device.properties), {});
const weights = await loadDummy(model, backend, dtype), layers = weights.layers.length;
const maxRows = Math.max(...rowCounts), pageSize = 16, pagesPerRow = Math.ceil((context + 16) / pageSize);
const decoder = new Decoder(backend, model.config, weights, { rank: 0, size: 1 }, {
  pageSize,
  numPages: maxRows * pagesPerRow,
  maxRows,
  contextLength: pagesPerRow * pageSize,
  maxTokens: maxRows,
  maxSamples: maxRows,
});

/** A step of so many rows; the first one of all sets pages and tokens. */
function plan(rows: number, first = false): BatchPlan {
  const options = { id: 0, batch: rows, cached: context, extend: 1, sampled: true };
  if (!first) return equalPlan(options);
  const prompt = new Uint32Array(context + 1), pages = consecutivePages(maxRows, pagesPerRow);
  const made = equalPlan({ ...options, pages, prompt });
  return { ...made, tokenIds: made.tokenIds.map((_, i) => (i * 7919 + 13) % model.config.vocabSize) };
}

/** The operation that launches, how many launches of it were before, and which ones are wanted. */
let operation = "", index = 0, wanted = (_label: string) => true;
const seen = new Map<string, number>();
const launch = device.launch.bind(device), start = device.start.bind(device);
function consider(kernel: string, grid: Grid, threads: number, run: () => void): void {
  if (operation === "") return run();
  const label = `${operation} ${index++}: ${kernel}, ${grid.filter(Boolean).join(" × ")} × ${threads}`;
  seen.set(label, (seen.get(label) ?? 0) + 1);
  if (wanted(label)) run();
}
device.launch = (kernel, grid, threads, shared, args) =>
  consider(kernel.name, grid, threads, () => launch(kernel, grid, threads, shared, args));
device.start = (one) => consider(`${one.module}/${one.kernel}`, one.grid, one.threads, () => start(one));

/** The same operations, which say who launches. */
function labelled(ops: Ops): Ops {
  let linear = 0;
  const names = weights.layers[0]!.feedForward.type === "dense"
    ? ["qkv", "output", "gate-up", "down"]
    : ["qkv", "output"];
  const under = (name: string, run: () => void) => {
    [operation, index] = [name, 0];
    run();
    operation = "";
  };
  return {
    draws: ops.draws,
    embed: (...args) => under("embed", () => ops.embed(...args)),
    norm: (args) => under("norm", () => ops.norm(args)),
    squares: (...args) => under("squares", () => ops.squares(...args)),
    linear: (args) => under(names[linear++ % names.length]!, () => ops.linear(args)),
    attention: (args) => under("attention", () => ops.attention(args)),
    moe: (args) => under("moe", () => ops.moe(args)),
    allReduce: (...args) => ops.allReduce(...args),
    sample: (args) => under("sample", () => ops.sample(args)),
  };
}

const [from, to] = [device.event(true), device.event(true)];
/** Microseconds of the device for a step with the launches that `only` takes, the best of a few. */
async function time(rows: number, only: (label: string) => boolean, first = false): Promise<number> {
  const forward = (ops: Ops) => decoder.forward(labelled(ops));
  wanted = only;
  let best = Infinity;
  // Launched, captured, replayed.
  for (let i = 0; i < (first ? 1 : 11); i++) {
    device.mark(from);
    const step = backend.record(plan(rows, first), forward);
    device.mark(to);
    step.submit();
    await step.read();
    device.wait(to);
    if (i > 2) best = Math.min(best, device.elapsed(from, to));
  }
  return 1000 * best;
}

await time(maxRows, () => true, true);
for (const rows of rowCounts) {
  seen.clear();
  const step = await time(rows, () => true), labels = [...seen];
  const empty = await time(rows, () => false), lines: string[][] = [];
  for (const [label, count] of labels) {
    const each = count >= layers ? layers : 1;
    const alone = (await time(rows, (other) => other === label) - empty) / each;
    const gain = (step - await time(rows, (other) => other !== label)) / each;
    lines.push([label, alone.toFixed(2), gain.toFixed(2)]);
  }
  console.log(
    `\n${values.model}, ${rows} rows: ${step.toFixed(0)} µs a step, ${empty.toFixed(0)} an empty one`,
  );
  console.log(table(["launch (of a layer, or of the step)", "alone, µs", "gain without, µs"], lines));
}
