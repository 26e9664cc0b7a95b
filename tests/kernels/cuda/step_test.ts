// Warming up leaves nothing to be compiled while a server runs: a driver compiles a module when it is loaded, so loads are
// counted; on a driver that only answers, for each kind of GPU, and on the real one where there is a GPU.

import assert from "node:assert/strict";
import { Decoder } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import { CudaBackend } from "../../../kernels/cuda/backend.ts";
import { CudaDevice } from "../../../kernels/cuda/device.ts";
import type { Driver } from "../../../kernels/cuda/driver.ts";
import { findDriver, isUsable } from "../../../kernels/cuda/find.ts";
import { type DeviceProperties, listDevices } from "../../../kernels/cuda/properties.ts";
import { warmUpPlans } from "../../../kernels/webgpu/plan/warm_up.ts";
import { cudaTest } from "../../cuda.ts";
import { Random } from "../../random.ts";
import { randomPlan } from "../random_plans.ts";
import { FakeDriver, fakeProperties } from "./fake_driver.ts";

const sizes = { maxRows: 80, contextLength: 2048, maxTokens: 600 };

/** Modules loaded by warming up, and by random steps after it. */
async function loads(
  driver: Driver,
  properties: DeviceProperties,
  shape: string,
  dtype: "auto" | "int8",
): Promise<[warmingUp: number, serving: number]> {
  let count = 0;
  const counting = new Proxy(driver, {
    get: (target, name: keyof Driver) => {
      if (name === "cuModuleLoadData") count++;
      return target[name];
    },
  });
  const opened = await openModel(new URL(`../../../${shape}`, import.meta.url).pathname, { dummy: true });
  const config = { ...opened.config, numLayers: 1, vocabSize: 4096 };
  const shard = { rank: 0, size: 1 };
  using backend = new CudaBackend(new CudaDevice(counting, properties), "a GPU", {});
  const weights = await loadDecoderWeights({ ...opened, config }, backend, { dtype, shard });
  const state = { pageSize: 16, numPages: 8, maxSamples: sizes.maxRows, ...sizes };
  const decoder = new Decoder(backend, config, weights, shard, state);
  const run = (plan: Parameters<CudaBackend["record"]>[0]) => {
    const step = backend.record(plan, (ops) => decoder.forward(ops));
    step.submit();
    step.read();
  };
  for (const plan of warmUpPlans({ ...state, vocabSize: config.vocabSize }, false, true)) run(plan);
  const warmingUp = count;
  const random = new Random(1);
  for (let i = 0; i < 300; i++) run({ ...randomPlan(i + 1, state, random), draws: i % 5 === 4 });
  return [warmingUp, count - warmingUp];
}

const models = [
  ["models/pocket", "auto"],
  ["tests/data/reference/qwen3-moe", "auto"],
  ["bench/shapes/qwen3-0.6b", "auto"],
  ["bench/shapes/qwen3-0.6b", "int8"],
  ["bench/shapes/gpt-oss-20b", "int8"],
] as const;

for (const [model, dtype] of models) {
  for (const capability of [80, 90]) {
    Deno.test(`nothing is compiled after warming up: capability ${capability}, ${model}, ${dtype}`, async () => {
      const fake = new FakeDriver();
      fake.free = 2 ** 36;
      const [warmingUp, serving] = await loads(fake.driver, { ...fakeProperties, capability }, model, dtype);
      assert.ok(warmingUp > 5, `${warmingUp} modules`);
      assert.equal(serving, 0);
    });
  }
  cudaTest(`nothing is compiled after warming up: this GPU, ${model}, ${dtype}`, async () => {
    const { driver } = findDriver();
    const [warmingUp, serving] = await loads(driver, listDevices(driver).find(isUsable)!, model, dtype);
    assert.ok(warmingUp > 5, `${warmingUp} modules`);
    assert.equal(serving, 0);
  });
}
