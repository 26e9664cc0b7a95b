// What a step is made of, for the kernels that a real GPU gets and for those of the adapter at hand: how many
// dispatches a layer takes, and that warming up leaves nothing to be compiled while a server runs. Steps are only
// recorded here, so it does not matter that the adapter is a software driver.

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { warmUpPlans } from "../../../kernels/webgpu/plan/warm_up.ts";
import type { ModelConfig } from "../../../engine/model/config.ts";
import { Decoder, type StateSizes } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { BatchPlan } from "../../../kernels/plan.ts";
import type { Backend } from "../../../kernels/ops.ts";
import { createWebGpuBackend, type WebGpuOptions } from "../../../kernels/webgpu/backend.ts";
import { Random } from "../../random.ts";
import { plan } from "../plans.ts";
import { randomPlan } from "../random_plans.ts";

/** As an NVIDIA card describes itself, except for limits that the adapter checks. */
const largeGpu: WebGpuOptions = {
  caps: { software: false, minSubgroup: 32, maxSubgroup: 32, parallelism: 512 },
};

interface Recording extends Disposable {
  readonly state: StateSizes;
  readonly software: boolean;
  record(plan: BatchPlan): void;
}

/** A decoder with random weights whose steps can be recorded. */
async function openRecording(
  shape: string,
  options: WebGpuOptions,
  changes: Partial<ModelConfig>,
  sizes: Pick<StateSizes, "maxRows" | "contextLength" | "maxTokens">,
): Promise<Recording> {
  const directory = new URL(`../../../${shape}`, import.meta.url).pathname;
  const opened = await openModel(directory, { dummy: true });
  const config = { ...opened.config, ...changes };
  const shard = { rank: 0, size: 1 };
  const backend: Backend = await createWebGpuBackend(options);
  const weights = await loadDecoderWeights({ ...opened, config }, backend, { dtype: "auto", shard });
  const state = { pageSize: 16, numPages: 8, maxSamples: sizes.maxRows, ...sizes };
  const decoder = new Decoder(backend, config, weights, shard, state);
  return {
    state,
    software: options.caps?.software ?? backend.info.software,
    record: (plan) => void backend.record(plan, (ops) => decoder.forward(ops)),
    [Symbol.dispose]: () => backend[Symbol.dispose](),
  };
}

/** Calls of a method while `body` runs. */
async function calls<T extends object>(
  prototype: T,
  method: keyof T,
  body: () => void | Promise<void>,
): Promise<number> {
  const original = prototype[method];
  let count = 0;
  prototype[method] = function (this: unknown, ...args: unknown[]) {
    count++;
    return (original as (...args: unknown[]) => unknown).apply(this, args);
  } as T[keyof T];
  try {
    await body();
  } finally {
    prototype[method] = original;
  }
  return count;
}

gpuTest(
  "a layer takes 5 dispatches for up to 8 sequences, 6 with long contexts, and at most 9 beyond",
  async () => {
    const batches = [1, 2, 4, 5, 8, 16, 32, 64, 128, 256], contexts = [128, 500, 4000];
    const dispatches: number[][] = [];
    for (const numLayers of [1, 2]) {
      using recording = await openRecording(
        "bench/shapes/qwen3-0.6b",
        largeGpu,
        { numLayers, vocabSize: 1024 },
        { maxRows: 256, contextLength: 4096, maxTokens: 256 },
      );
      const counts: number[] = [];
      for (const batch of batches) {
        for (const cached of contexts) {
          const sequences = Array.from({ length: batch }, (_, row) => ({ row, cached, extend: 1 }));
          const step = plan(counts.length + 1, sequences);
          const count = () => recording.record(step);
          counts.push(await calls(GPUComputePassEncoder.prototype, "dispatchWorkgroups", count));
        }
      }
      dispatches.push(counts);
    }
    batches.forEach((batch, i) =>
      contexts.forEach((context, j) => {
        const at = contexts.length * i + j;
        const perLayer = dispatches[1]![at]! - dispatches[0]![at]!;
        // Four products and attention, and the merge of its splits; from 16 rows on norms and sums of the products.
        const what = `${batch} sequences at ${context}`;
        if (batch <= 8) assert.equal(perLayer, context > 512 ? 6 : 5, what);
        else assert.ok(perLayer >= 5 && perLayer <= 9, `${what}: ${perLayer} a layer`);
      })
    );
  },
);

const models = ["models/pocket", "tests/data/reference/qwen3-moe", "bench/shapes/qwen3-0.6b"];
for (const [name, options] of [["a large GPU's kernels", largeGpu], ["the adapter's kernels", {}]] as const) {
  for (const model of models) {
    gpuTest(`nothing is compiled after warming up: ${name}, ${model}`, async () => {
      const changes = { numLayers: 1, vocabSize: 4096 };
      const sizes = { maxRows: 80, contextLength: 2048, maxTokens: 600 };
      using recording = await openRecording(model, options, changes, sizes);
      const { state, software } = recording;
      const compiled = (plans: Iterable<BatchPlan>) =>
        calls(GPUDevice.prototype, "createComputePipeline", () => {
          for (const plan of plans) recording.record(plan);
        });
      assert.ok(await compiled(warmUpPlans({ ...state, ...changes }, software, true)) > 10);
      const random = new Random(1);
      const served = Array.from({ length: 300 }, (_, i): BatchPlan => ({
        ...randomPlan(i + 1, state, random),
        ...random.pick([{}, {}, { draws: true }, { hidden: "also" as const }, { hidden: "only" as const }]),
      }));
      assert.equal(await compiled(served), 0);
    });
  }
}
