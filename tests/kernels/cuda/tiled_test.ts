// What the launchers of tiled products and attention promise, without a GPU.

import fc from "fast-check";
import assert from "node:assert/strict";
import {
  type AttentionBuffers,
  type AttentionLayout,
  hasDecode,
  launchDecode,
  launchPrefill,
  prefillTiles,
} from "../../../kernels/cuda/attention/attention.ts";
import { cutKeys } from "../../../kernels/cuda/attention/layer.ts";
import { attentionModules } from "../../../kernels/cuda/attention/modules.ts";
import { type KernelLaunch, mostSharedBytes, packParameters } from "../../../kernels/cuda/gemm/launch.ts";
import { productModules } from "../../../kernels/cuda/gemm/modules.ts";
import { launchProduct, planProduct } from "../../../kernels/cuda/gemm/product.ts";
import type { ProductShape } from "../../../kernels/cuda/gemm/shape.ts";

const modules = new Map([...productModules, ...attentionModules].map((module) => [module.name, module]));

/** The module's source names the kernel, and the launch keeps to what every device of its kind has. */
function check(launch: KernelLaunch, capability: number): void {
  const module = modules.get(launch.module);
  assert(module !== undefined, `module ${launch.module}`);
  const needs = { compute_80: 80, compute_90: 90, compute_90a: 90 }[module.architecture];
  assert(capability >= needs && (module.architecture !== "compute_90a" || capability === 90), launch.module);
  assert(
    launch.sharedBytes <= mostSharedBytes(capability),
    `${launch.kernel}: ${launch.sharedBytes} bytes`,
  );
  assert(
    launch.grid.every((n) => n >= 1) && launch.grid[1] <= 65535 && launch.grid[2] <= 65535,
    launch.kernel,
  );
  assert.deepEqual(launch.grid[0] % launch.cluster, 0);
  assert(launch.threads % 32 === 0 && launch.threads <= 1024);
}

const shapes: fc.Arbitrary<ProductShape> = fc.record({
  tokens: fc.integer({ min: 1, max: 20_000 }),
  rows: fc.integer({ min: 1, max: 4000 }).map((n) => 2 * n),
  columns: fc.integer({ min: 1, max: 2000 }).map((n) => 8 * n),
  dtype: fc.constantFrom("bf16", "q8", "q4_0", "q4_k", "q6_k"),
  element: fc.constant("bf16"),
  mode: fc.constantFrom("store", "store-f32", "add-f32", "silu-mul"),
});

Deno.test("the launch of any product covers it and fits the device", () => {
  fc.assert(fc.property(shapes, fc.constantFrom(80, 86, 89, 90, 100), (shape, capability) => {
    const device = { capability, multiprocessors: capability === 90 ? 132 : 84 };
    const plan = planProduct(shape, device);
    const buffers = {
      weight: 1n,
      input: 2n,
      output: 3n,
      partials: 4n,
      counters: 5n,
      bias: null,
      rowScale: null,
    };
    const launch = launchProduct(plan, device, { ...buffers, outputStride: shape.rows });
    check(launch, capability);
    const covered = plan.tile.kind === "wide"
      ? Infinity // it walks over all tiles
      : launch.grid[0] * launch.grid[1] * launch.grid[2] / plan.splits * plan.tile.rows * plan.tile.tokens;
    assert(covered >= shape.rows * shape.tokens);
    const scratch = plan.tile.kind !== "narrow" && plan.splits > 1;
    assert.deepEqual(plan.partialBytes > 0, scratch);
    assert.deepEqual(plan.counters > 0, scratch);
  }));
});

Deno.test("a weight that was just written is not fetched ahead", () => {
  const device = { capability: 90, multiprocessors: 132 };
  for (const tokens of [1, 64, 512, 4096]) {
    const plan = planProduct(
      { tokens, rows: 1024, columns: 3072, dtype: "bf16", element: "bf16", mode: "store" },
      device,
    );
    const buffers = {
      weight: 1n,
      input: 2n,
      output: 3n,
      partials: 4n,
      counters: 5n,
      bias: null,
      rowScale: null,
    };
    const launch = (freshWeight: boolean) =>
      launchProduct(plan, device, { ...buffers, outputStride: 1024, freshWeight }).programmatic;
    assert.deepEqual([launch(false), launch(true)], [true, false]);
  }
});

Deno.test("an expert's tiles are enough for any numbers of pairs", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300), { minLength: 1, maxLength: 64 }), fc.boolean(), (counts, gather) => {
      const tokens = counts.reduce((a, b) => a + b, 0);
      fc.pre(tokens > 0);
      const shape = {
        tokens,
        rows: 1536,
        columns: 2048,
        dtype: "bf16",
        element: "bf16",
        mode: "silu-mul",
        experts: { count: counts.length, gather },
      } as const;
      const plan = planProduct(shape, { capability: 90, multiprocessors: 132 });
      const needed = counts.reduce((sum, n) => sum + Math.ceil(n / plan.tileTokens), 0);
      assert(needed <= plan.tilesTokens, `${needed} tiles, room for ${plan.tilesTokens}`);
      assert.deepEqual(plan.splits, 1);
    }),
  );
});

Deno.test("both products of a layer of experts take tiles of the same number of pairs", () => {
  for (const dtype of ["bf16", "q8", "q4_k"] as const) {
    for (const capability of [80, 86, 90]) {
      for (let tokens = 1; tokens < 1e5; tokens *= 3) {
        const [gateUp, down] = [true, false].map((gather) =>
          planProduct(
            {
              tokens,
              rows: 1536,
              columns: 2048,
              dtype,
              element: "bf16",
              mode: "store-f32",
              experts: { count: 128, gather },
            },
            { capability, multiprocessors: 132 },
          )
        );
        assert.equal(gateUp!.tileTokens, down!.tileTokens);
      }
    }
  }
});

Deno.test("attention has a launch for every head size up to 256", () => {
  const buffers: AttentionBuffers = {
    plan: 1n,
    queries: 2n,
    queryStride: 4096,
    keys: 3n,
    values: 4n,
    scales: 9n,
    pageTable: 5n,
    output: 6n,
    partials: 7n,
    counters: 8n,
  };
  for (const element of ["f16", "int8"] as const) {
    for (const capability of [80, 86, 90, 100]) {
      for (let headDim = 8; headDim <= 256; headDim += 8) {
        const heads = { numHeads: 28, numKvHeads: 4, headDim };
        const layout: AttentionLayout = {
          heads,
          element,
          output: "bf16",
          pageSize: 16,
          pagesPerRow: 9,
          strides: { page: 64 * headDim, head: 16 * headDim, slot: headDim },
          window: null,
          scale: 1,
        };
        assert.equal(hasDecode(layout), element === "f16" || headDim % 16 === 0);
        if (hasDecode(layout)) check(launchDecode(layout, buffers, 5, 3, capability), capability);
        const tiles = prefillTiles(heads, capability, element);
        // Shared memory of 99 KiB does not hold heads of 256: such a device takes the decode kernel.
        assert(tiles.length > 0 || capability === 86 && headDim > 128);
        for (const tile of tiles) {
          assert.deepEqual(tile.tokens, Math.floor(tile.rows / 7));
          check(launchPrefill(layout, buffers, tile, 11, capability), capability);
        }
      }
    }
  }
});

Deno.test("a long sequence among short ones is cut for the blocks that they leave free", () => {
  const heads = { numHeads: 16, numKvHeads: 8, headDim: 128 };
  const cut = (lengths: readonly number[]) => cutKeys(lengths, true, heads, 132, "long", "f16");
  const short = new Array<number>(7).fill(300);
  assert.equal(cut([...short, 300]).splits, 2);
  assert.equal(cut(new Array<number>(8).fill(8192)).splits, 4);
  // 8192 of 10,292 keys are its own.
  assert.equal(cut([8192, ...short]).splits, 16);
  assert.equal(cut([8192]).splits, cut([8192, 1]).splits);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 40 }), (lengths) => {
    const { splits, splitKeys } = cut(lengths), longest = Math.max(1, ...lengths);
    assert.ok(splits * splitKeys >= longest && splits <= 256 && Number.isInteger(splits));
  }));
});

Deno.test("splits of eight bits have twice as many keys where the GPU is full", () => {
  const heads = { numHeads: 16, numKvHeads: 8, headDim: 128 }, lengths = Array<number>(64).fill(4096);
  const splits = (["f16", "int8"] as const).map((element) =>
    cutKeys(lengths, true, heads, 132, "long", element).splits
  );
  assert.deepEqual(splits, [8, 4]);
});

Deno.test("attention of eight bits finds keys by their number, and their scales", () => {
  const layout: AttentionLayout = {
    heads: { numHeads: 4, numKvHeads: 2, headDim: 24 },
    element: "int8",
    output: "f32",
    pageSize: 16,
    pagesPerRow: 9,
    strides: { page: 2 * 16 * 24, head: 16 * 24, slot: 24 },
    window: null,
    scale: 1,
  };
  const buffers = { plan: 1n, queries: 2n, queryStride: 96, keys: 3n, values: 4n, pageTable: 5n, output: 6n };
  const wanted = { ...buffers, partials: 7n, counters: 8n, scales: 9n };
  const [bytes] = launchDecode(layout, wanted, 1, 1, 80).parameters as [Uint8Array];
  const view = new DataView(bytes.buffer);
  const pointers = Array.from({ length: 9 }, (_, i) => view.getBigUint64(8 * i, true));
  assert.deepEqual(pointers, [1n, 2n, 3n, 4n, 5n, 6n, 7n, 9n, 8n]);
  // Behind heads, widths, page size and table: of a page, a head and a slot.
  assert.deepEqual([6, 7, 8].map((i) => view.getInt32(72 + 4 * i, true)), [32, 16, 1]);
});

Deno.test("parameters are packed as a C structure: pointers, integers, floats", () => {
  const bytes = packParameters([1n, null], [-2, 3], [0.5]);
  assert.deepEqual(bytes.length, 32);
  const view = new DataView(bytes.buffer);
  assert.deepEqual([view.getBigUint64(0, true), view.getBigUint64(8, true)], [1n, 0n]);
  assert.deepEqual([view.getInt32(16, true), view.getInt32(20, true), view.getFloat32(24, true)], [
    -2,
    3,
    0.5,
  ]);
});
