import assert from "node:assert/strict";
import { checkWeightsFit, chooseSizes, type SizeOptions } from "../../../engine/executor/sizing.ts";
import { openModel } from "../../../engine/model/open.ts";
import { headLayout } from "../../../engine/weights/shard.ts";
import { kvBytesPerToken, type KvDType, kvFormat } from "../../../kernels/kv_format.ts";
import type { DeviceInfo } from "../../../kernels/ops.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";

const { config } = await openModel(new URL("../../data/reference/qwen3-tied", import.meta.url).pathname);
const heads = headLayout(config, { rank: 0, size: 1 });

const options: SizeOptions = {
  kvDType: "auto",
  contextLength: null,
  memoryBytes: null,
  numPages: null,
  pageSize: 16,
  maxRunningRequests: null,
  maxPrefillTokens: null,
};

/** Pretends to be a GPU of which `free` bytes can be had. */
class Gpu extends ReferenceBackend {
  override readonly info: DeviceInfo = {
    kind: "webgpu",
    description: "test",
    software: false,
    memoryBytes: null,
  };
  constructor(readonly free: number) {
    super();
  }
  probeMemory(bytes: number): Promise<number> {
    return Promise.resolve(Math.min(bytes, this.free));
  }
}

Deno.test("the pool takes a share of what the device gives, and no more than is useful", async () => {
  const backend = new Gpu(1 << 20);
  const bytesPerPage = kvBytesPerToken(backend.kvFormats.auto, heads, config.numLayers) * 16;
  const small = await chooseSizes(backend, config, heads, options);
  assert.equal(small.numPages, Math.floor((1 << 20) * 0.8 / bytesPerPage));
  const large = await chooseSizes(new Gpu(2 ** 45), config, heads, options);
  assert.equal(large.numPages, 2 ** 19 / 16);
});

Deno.test("--num-pages is taken as it is, and --memory covers weights and pages", async () => {
  const backend = new Gpu(0);
  assert.equal((await chooseSizes(backend, config, heads, { ...options, numPages: 7 })).numPages, 7);
  backend.weightBytes = 1 << 20;
  const bytesPerPage = kvBytesPerToken(backend.kvFormats.auto, heads, config.numLayers) * 16;
  const sizes = await chooseSizes(backend, config, heads, {
    ...options,
    memoryBytes: (1 << 20) + 5 * bytesPerPage,
  });
  assert.equal(sizes.numPages, 5);
});

Deno.test("with a cache of eight bits the same memory has nearly twice the pages, by what a token takes", async () => {
  class Quantizing extends Gpu {
    override readonly kvFormats = {
      auto: { numberBytes: 2, scaleBytes: 0 },
      int8: { numberBytes: 1, scaleBytes: 4 },
    };
  }
  const { numKvHeads, headDim } = heads, memoryBytes = 1 << 22;
  const pages = async (kvDType: KvDType) =>
    (await chooseSizes(new Quantizing(0), config, heads, { ...options, kvDType, memoryBytes })).numPages;
  const token = 2 * config.numLayers * numKvHeads * 16;
  assert.equal(await pages("auto"), Math.floor(memoryBytes / (token * 2 * headDim)));
  assert.equal(await pages("int8"), Math.floor(memoryBytes / (token * (headDim + 4))));
});

Deno.test("a type of cache that a backend has no kernels for is refused in one line", () => {
  const backend = new Gpu(2 ** 40);
  const without = { info: backend.info, kvFormats: { auto: backend.kvFormats.auto } };
  const message = "webgpu has no cache of type int8: choose another --device, or --kv-dtype auto";
  assert.throws(() => kvFormat(without, "int8"), { name: "RangeError", message });
  assert.deepEqual(kvFormat(without, "auto"), backend.kvFormats.auto);
});

Deno.test("sizes that cannot work are refused with their numbers", async () => {
  const refused = (changes: Partial<SizeOptions>, message: RegExp) =>
    assert.rejects(chooseSizes(new Gpu(2 ** 40), config, heads, { ...options, ...changes }), message);
  await refused({ pageSize: 12 }, /power of two, not 12/);
  await refused({ contextLength: 100_000 }, /100000.*256 positions/);
  await refused({ memoryBytes: 100 }, /no memory left for the cache/);
  await assert.rejects(
    checkWeightsFit(new Gpu(2 ** 20), 2 ** 31, null),
    /weights take 2\.00 GiB.*only 1\.0 MiB/,
  );
  await assert.rejects(
    checkWeightsFit(new Gpu(2 ** 40), 2 ** 31, 2 ** 30),
    /weights take 2\.00 GiB.*only 1\.00 GiB/,
  );
  await checkWeightsFit(new Gpu(2 ** 32), 2 ** 31, null);
});
