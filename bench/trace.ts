// One decode step by kernel: where the time of a step goes.
//
// deno run -A bench/trace.ts [--shape bench/shapes/qwen3-0.6b] [--batch 1,8,32,64] [--context 128] [--prefill 2048]
//   [--dtype auto|bfloat16|int8|q4|q4_k_m]
//
// Every dispatch is put into a pass of its own between two timestamps, by standing in for the command encoder: the
// kernels run as they are. Passes of their own cost some microseconds more than dispatches in one pass, so the
// gaps are shown apart, beside the step's time untraced.

import { choice, readOptions } from "./common/arguments.ts";
import { Decoder } from "../engine/model/decoder.ts";
import { openModel } from "../engine/model/open.ts";
import type { BatchPlan } from "../kernels/plan.ts";
import type { Ops } from "../kernels/ops.ts";
import { createWebGpuBackend } from "../kernels/webgpu/backend.ts";
import { equalPlan } from "./common/equal_plan.ts";
import { loadDummy, servedDTypes } from "./common/mixture.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    shape: { type: "string", default: "bench/shapes/qwen3-0.6b" },
    batch: { type: "string", default: "1,8,32,64" },
    context: { type: "string", default: "128" },
    prefill: { type: "string", default: "2048" },
    layers: { type: "string" },
    dtype: { type: "string", default: "auto" },
  },
});

/** Most dispatches of a traced step. */
const mostDispatches = 2000;

/** Stands in for the encoders while `on`: a pass per dispatch, with a timestamp at both ends. */
class Tracer {
  on = false;
  readonly names: string[] = [];
  #labels = new WeakMap<object, string>();
  #queries: GPUQuerySet | null = null;

  install(): void {
    // deno-lint-ignore no-this-alias
    const tracer = this;
    const device = GPUDevice.prototype;
    const createPipeline = device.createComputePipeline;
    device.createComputePipeline = function (descriptor) {
      const pipeline = createPipeline.call(this, descriptor);
      tracer.#labels.set(pipeline, descriptor.label ?? "?");
      return pipeline;
    };
    const encoder = GPUCommandEncoder.prototype;
    const beginPass = encoder.beginComputePass;
    const createEncoder = device.createCommandEncoder;
    device.createCommandEncoder = function (descriptor) {
      tracer.#queries ??= this.createQuerySet({ type: "timestamp", count: 2 * mostDispatches });
      return createEncoder.call(this, descriptor);
    };
    encoder.beginComputePass = function (descriptor) {
      return tracer.on ? tracer.#standIn(this, beginPass) : beginPass.call(this, descriptor);
    };
  }

  #standIn(
    encoder: GPUCommandEncoder,
    beginPass: GPUCommandEncoder["beginComputePass"],
  ): GPUComputePassEncoder {
    let pipeline: GPUComputePipeline | null = null;
    const groups = new Map<number, unknown[]>();
    const standIn = {
      setPipeline: (p: GPUComputePipeline) => void (pipeline = p),
      setBindGroup: (...args: unknown[]) =>
        void groups.set(args[0] as number, args.map((a) => a instanceof Uint32Array ? a.slice() : a)),
      dispatchWorkgroups: (x: number, y?: number, z?: number) => {
        const index = this.names.length;
        this.names.push(this.#labels.get(pipeline!) ?? "?");
        const pass = beginPass.call(encoder, {
          timestampWrites: {
            querySet: this.#queries!,
            beginningOfPassWriteIndex: 2 * index,
            endOfPassWriteIndex: 2 * index + 1,
          },
        });
        pass.setPipeline(pipeline!);
        for (const args of groups.values()) (pass.setBindGroup as (...args: unknown[]) => void)(...args);
        pass.dispatchWorkgroups(x, y, z);
        pass.end();
      },
      end: () => {},
    };
    return standIn as unknown as GPUComputePassEncoder;
  }

  /** Begin and end of each dispatch in nanoseconds. */
  async times(device: GPUDevice): Promise<bigint[]> {
    const bytes = 16 * this.names.length;
    const resolved = device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const target = device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.#queries!, 0, 2 * this.names.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, target, 0, bytes);
    device.pushErrorScope("validation");
    device.queue.submit([encoder.finish()]);
    const error = await device.popErrorScope();
    if (error) throw new Error(error.message);
    await target.mapAsync(GPUMapMode.READ);
    return [...new BigUint64Array(target.getMappedRange().slice(0))];
  }
}

const tracer = new Tracer();
tracer.install();
let device: GPUDevice | null = null;
const requestDevice = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (descriptor) {
  return device = await requestDevice.call(this, descriptor);
};

const batches = values.batch.split(",").map(Number).filter((n) => n > 0);
const context = Number(values.context);
const prefill = Number(values.prefill);
const shard = { rank: 0, size: 1 };
const opened = await openModel(values.shape, { dummy: true });
const config = values.layers ? { ...opened.config, numLayers: Number(values.layers) } : opened.config;
const model = { ...opened, config };
const backend = await createWebGpuBackend();
const weights = await loadDummy(model, backend, choice(values.dtype, "dtype", servedDTypes));
const maxRows = Math.max(1, ...batches);
const pageSize = 16;
const contextLength = Math.max(context + 64, prefill);
const pagesPerRow = Math.ceil(contextLength / pageSize);
const decoder = new Decoder(backend, config, weights, shard, {
  pageSize,
  numPages: pagesPerRow * maxRows,
  maxRows,
  contextLength,
  maxTokens: Math.max(prefill, maxRows),
  maxSamples: maxRows,
});
const pages = Array.from(
  { length: maxRows * pagesPerRow },
  (_, i) => [Math.floor(i / pagesPerRow), i % pagesPerRow, i],
).flat();
const prompt = Uint32Array.from({ length: contextLength }, (_, i) => (i * 7919) % config.vocabSize);

let id = 0;
/** A step of equal sequences that end at `context` tokens. */
function makePlan(batch: number, cached: number, extend: number, steps: number): BatchPlan {
  const first = id === 0;
  return equalPlan({
    id: ++id,
    batch,
    cached,
    extend,
    steps,
    sampled: true,
    pages: first ? pages : [],
    prompt,
  });
}

const forward = (ops: Ops) => decoder.forward(ops);

async function run(plan: BatchPlan): Promise<{ record: number; total: number }> {
  const began = performance.now();
  const step = backend.record(plan, forward);
  const recorded = performance.now();
  step.submit();
  await step.read();
  return { record: recorded - began, total: performance.now() - recorded };
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;

async function trace(title: string, batch: number, cached: number, extend: number): Promise<void> {
  // Compiling leaves the device idle, and an idle one lowers its clock: it is kept busy until that has risen again.
  const until = performance.now() + (backend.info.software ? 0 : 1500);
  do await run(makePlan(batch, cached, extend, 1)); while (performance.now() < until);
  const single: number[] = [], recording: number[] = [], burst: number[] = [];
  for (let i = 0; i < 10; i++) {
    const { record, total } = await run(makePlan(batch, cached, extend, 1));
    single.push(total);
    recording.push(record);
  }
  if (extend === 1) {
    for (let i = 0; i < 5; i++) burst.push((await run(makePlan(batch, cached, 1, 8))).total / 8);
  }
  tracer.names.length = 0;
  tracer.on = true;
  await run(makePlan(batch, cached, extend, 1));
  tracer.on = false;
  // What was measured without timestamps is told even where the driver does not give them.
  const times = await tracer.times(device!).catch((error: Error) => {
    console.error(`trace: the timestamps could not be read: ${error.message}`);
    return null;
  });
  const kernels = new Map<string, { count: number; ns: number }>();
  let busy = 0;
  tracer.names.forEach((name, i) => {
    const ns = times === null ? NaN : Number(times[2 * i + 1]! - times[2 * i]!);
    const entry = kernels.get(name) ?? { count: 0, ns: 0 };
    kernels.set(name, { count: entry.count + 1, ns: entry.ns + ns });
    busy += ns;
  });
  console.log(
    `\n${title}: ${tracer.names.length} dispatches, kernels ${(busy / 1e6).toFixed(3)} ms; untraced step ` +
      `${median(single).toFixed(3)} ms, recording ${median(recording).toFixed(3)} ms` +
      (burst.length
        ? `, in bursts of 8 ${median(burst).toFixed(3)} ms = ${
          (batch * 1000 / median(burst)).toFixed(0)
        } tokens/s`
        : `, ${(batch * extend * 1000 / median(single)).toFixed(0)} tokens/s`),
  );
  for (const [name, { count, ns }] of [...kernels].sort((a, b) => b[1].ns - a[1].ns)) {
    const each = (ns / count / 1000).toFixed(1).padStart(8);
    console.log(`${(ns / 1e6).toFixed(3).padStart(8)} ms ${String(count).padStart(4)} × ${each} µs  ${name}`);
  }
}

console.log(`${values.shape}, ${config.numLayers} layers, on ${backend.info.description}`);
for (const batch of batches) await trace(`decode, ${batch} sequences at ${context}`, batch, context - 1, 1);
if (prefill > 0) await trace(`prefill, ${prefill} tokens`, 1, 0, prefill);
Deno.exit(0);
