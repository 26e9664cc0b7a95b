import assert from "node:assert/strict";
import type { HeadLayout } from "../../../kernels/ops.ts";
import { decodeCut } from "../../../kernels/webgpu/attention/cut.ts";
import { headBlocks } from "../../../kernels/webgpu/attention/tuning.ts";
import { largeGpu } from "../large_gpu.ts";
import type { DeviceCaps } from "../../../kernels/webgpu/shader/kernel.ts";

const devices: DeviceCaps[] = [
  largeGpu,
  { ...largeGpu, minSubgroup: 8, maxWorkgroupThreads: 256, parallelism: 64 },
  { ...largeGpu, minSubgroup: 8, maxSubgroup: 8, parallelism: 2, software: true },
];
const layouts: HeadLayout[] = [
  { numHeads: 16, numKvHeads: 8, headDim: 128 },
  { numHeads: 14, numKvHeads: 2, headDim: 64 },
  { numHeads: 40, numKvHeads: 8, headDim: 128 },
  { numHeads: 9, numKvHeads: 1, headDim: 80 },
  { numHeads: 8, numKvHeads: 1, headDim: 256 },
];
const cut = (queries: number, longest: number, decodeOnly = true, caps = largeGpu, heads = layouts[0]!) =>
  decodeCut(new Array<number>(queries).fill(longest), decodeOnly, heads, caps);

Deno.test("splits cover the longest sequence, in workgroups that the device allows", () => {
  for (const caps of devices) {
    for (const heads of layouts) {
      for (const queries of [1, 3, 8, 40, 300]) {
        for (const longest of [1, 31, 128, 129, 256, 257, 512, 513, 4000, 100000]) {
          for (const decodeOnly of [true, false]) {
            const found = cut(queries, longest, decodeOnly, caps, heads);
            const title = JSON.stringify({ heads, queries, longest, found });
            assert.equal(found.splits, Math.ceil(longest / found.splitKeys), title);
            assert.ok(found.threads >= caps.minSubgroup && found.threads <= caps.maxWorkgroupThreads, title);
            assert.equal(found.threads & (found.threads - 1), 0, title);
            assert.ok(found.headBlock >= 1 && found.headBlock <= heads.numHeads / heads.numKvHeads, title);
          }
        }
      }
    }
  }
});

Deno.test("short contexts are not split, long ones only until the device is full", () => {
  for (const queries of [1, 8, 16, 32, 64, 256]) assert.equal(cut(queries, 256).splits, 1);
  assert.ok(cut(1, 4096).splits >= 32);
  assert.equal(cut(64, 4096).splits, 1);
});

Deno.test("few sequences spread their heads over workgroups, and see a short context in one round", () => {
  for (const [queries, longest] of [[1, 128], [8, 128], [1, 256], [8, 250]] as const) {
    const { threads, headBlock, batch } = cut(queries, longest);
    assert.equal(headBlock, 1);
    assert.ok(queries * headBlocks(layouts[0]!, headBlock) <= largeGpu.parallelism / 4);
    // 16 lanes hold a key of 128 elements.
    assert.ok(threads / 16 * batch >= longest);
  }
  assert.equal(cut(16, 128).headBlock, 2);
});

Deno.test("numbers of sequences between powers of two have the kernels of the next one", () => {
  for (const caps of devices) {
    for (const heads of layouts) {
      for (let queries = 9; queries <= 16; queries++) {
        for (const longest of [1, 128, 129, 256]) {
          const layout = (n: number) => {
            const { threads, headBlock, batch } = cut(n, longest, true, caps, heads);
            return { threads, headBlock, batch };
          };
          assert.deepEqual(layout(queries), layout(16));
        }
      }
    }
  }
});
