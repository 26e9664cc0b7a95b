// A worker that is one rank on a driver that only answers, for `peers_join_test.ts`: a model of random weights, a prompt
// and some decode steps.

import { SharedMemoryCollective } from "../../../engine/executor/collectives.ts";
import { Decoder } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import { CudaBackend } from "../../../kernels/cuda/backend.ts";
import { CudaDevice } from "../../../kernels/cuda/device.ts";
import type { BatchPlan } from "../../../kernels/plan.ts";
import { packSampling, plainSampler, SampleFlag } from "../../../kernels/sampling.ts";
import { FakeDriver, fakeProperties } from "./fake_driver.ts";

/** What to do. */
export interface FakeTask {
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly size: number;
  readonly ordinal: number;
  /** A call that fails, and its code. */
  readonly fail: readonly [string, number] | null;
  readonly temperature: number;
}

/** What came of it. */
export interface FakeOutcome {
  readonly description: string;
  /** Readbacks and replayed graphs of the steps. */
  readonly readbacks: number;
  readonly replays: number;
  /** Memory that was shared, and given back. */
  readonly mapped: number;
  readonly unmapped: number;
}

self.onmessage = async ({ data }: MessageEvent<FakeTask>) => {
  const { memory, rank, size, ordinal, fail, temperature } = data;
  const collective = new SharedMemoryCollective(memory, rank), shard = { rank, size };
  const fake = new FakeDriver();
  fake.free = 2 ** 36;
  if (fail !== null) fake.fail.set(...fail);
  const count = (name: string) => fake.calls.filter((call) => call === name).length;
  const model = await openModel(new URL("../../../models/pocket", import.meta.url).pathname, { dummy: true });
  const device = new CudaDevice(fake.driver, { ...fakeProperties, capability: 90, ordinal });
  const backend = new CudaBackend(device, "a GPU", { collective });
  const weights = await loadDecoderWeights(model, backend, { dtype: "auto", shard });
  const sizes = {
    pageSize: 16,
    numPages: 8,
    maxRows: 4,
    contextLength: 128,
    maxTokens: 64,
    maxSamples: 4,
  };
  const decoder = new Decoder(backend, model.config, weights, shard, sizes);
  const forward = (ops: Parameters<Decoder["forward"]>[0]) => decoder.forward(ops);
  const before = count("cuMemcpyDtoH_v2");
  for (let id = 0; id < 5; id++) {
    const sampling = packSampling([{
      ...plainSampler,
      temperature,
      token: 0,
      sequence: 0,
      flags: SampleFlag.Draw,
      promptLength: 1,
      seedLow: 1,
      seedHigh: 2,
      logprobs: 0,
      bias: [],
    }]);
    const plan: BatchPlan = {
      id,
      steps: 1,
      pageWrites: new Uint32Array(),
      tokenWrites: new Uint32Array(),
      tokenIds: new Uint32Array(),
      row: Uint32Array.of(0),
      cachedLength: Uint32Array.of(id),
      extendLength: Uint32Array.of(1),
      sampling,
    };
    const step = backend.record(plan, forward);
    step.submit();
    step.read();
  }
  const readbacks = count("cuMemcpyDtoH_v2") - before, { description } = backend.info;
  backend[Symbol.dispose]();
  self.postMessage(
    {
      description,
      readbacks,
      replays: count("cuGraphLaunch"),
      mapped: count("cuMemMap"),
      unmapped: count("cuMemUnmap"),
    } satisfies FakeOutcome,
  );
};
