// Paged attention against float64: every head size, page sizes, windows, cached prefixes of odd lengths.

import { attend } from "../../kernels/reference/attention.ts";
import {
  launchDecode,
  launchPrefill,
  type PrefillTile,
  prefillTiles,
} from "../../kernels/cuda/attention/attention.ts";
import { type Case, setUp } from "./attention.ts";
import { Deviation, type Pool, valuesOf } from "./data.ts";
import type { Gpu } from "./gpu.ts";

/** A case against float64. Free slots hold NaN. */
function checkOne(gpu: Gpu, pool: Pool, one: Case, tile: PrefillTile | null, splits: number): number {
  const { numHeads, numKvHeads, headDim, pageSize, window, sequences } = one;
  const set = setUp(gpu, pool, one, tile, splits, true);
  const { layout, buffers, strides } = set;
  const keyAt = 1 << 22, valueAt = 1 << 23;
  const cache = [keyAt, valueAt].map((base) => {
    const words = new Uint16Array(set.bytes.pages / 2).fill(0xffff);
    sequences.forEach(({ cached, extend }, row) => {
      for (let p = 0; p < cached + extend; p++) {
        const page = set.pageTable[row * layout.pagesPerRow + Math.floor(p / pageSize)]!;
        for (let h = 0; h < numKvHeads; h++) {
          const to = page * strides.page + h * strides.head + (p % pageSize) * strides.slot;
          for (let d = 0; d < headDim; d++) words[to + d] = pool.bits(base + to + d);
        }
      }
    });
    return words;
  });
  gpu.write(buffers.keys, cache[0]!);
  gpu.write(buffers.values, cache[1]!);
  if (set.queries > 0) gpu.run(launchDecode(layout, buffers, set.queries + 2, splits, gpu.capability));
  if (set.tile && set.tiles > 0) {
    gpu.run(launchPrefill(layout, buffers, set.tile, set.tiles + 3, gpu.capability));
  }
  const out = new Float32Array(gpu.read(buffers.output, set.bytes.output));
  const deviation = new Deviation();
  let token = 0;
  sequences.forEach(({ cached, extend }, row) => {
    const vector = (words: Uint16Array, p: number, h: number) => {
      const page = set.pageTable[row * layout.pagesPerRow + Math.floor(p / pageSize)]!;
      const at = page * strides.page + h * strides.head + (p % pageSize) * strides.slot;
      return Float64Array.from(words.subarray(at, at + headDim), (bits) => valuesOf(pool.element)[bits]!);
    };
    for (
      const i of new Set([0, extend - 1, extend >> 1, Math.min(extend - 1, 17), Math.min(extend - 1, 64)])
    ) {
      for (const h of new Set([0, numHeads - 1, numHeads >> 1])) {
        const kvHead = Math.floor(h / (numHeads / numKvHeads)), position = cached + i;
        const query = Float64Array.from(
          { length: headDim },
          (_, d) => pool.at((token + i) * buffers.queryStride + h * headDim + d),
        );
        const want = attend(
          query,
          (p) => vector(cache[0]!, p, kvHead),
          (p) => vector(cache[1]!, p, kvHead),
          window === null ? 0 : Math.max(0, position - window + 1),
          position,
          layout.scale,
        );
        const at = ((token + i) * numHeads + h) * headDim;
        for (let d = 0; d < headDim; d++) deviation.add(out[at + d]!, want[d]!);
      }
    }
    token += extend;
  });
  if (out.some((v) => !Number.isFinite(v))) deviation.add(NaN, 0);
  set.release();
  return deviation.relative;
}

/** Every head size, page sizes, windows, cached prefixes of odd lengths. */
export function checkAttention(gpu: Gpu, pool: Pool, every = 1): { lines: string[]; right: boolean } {
  const lines: string[] = [];
  let right = true, worst = 0, count = 0;
  const mixed = [{ cached: 0, extend: 70 }, { cached: 37, extend: 1 }, { cached: 211, extend: 33 }, {
    cached: 0,
    extend: 1,
  }, {
    cached: 300,
    extend: 1,
  }];
  const cases: Case[] = [];
  for (const headDim of [16, 40, 64, 80, 96, 112, 128, 192, 256]) {
    cases.push({ numHeads: 8, numKvHeads: 2, headDim, pageSize: 16, window: null, sequences: mixed });
  }
  for (const pageSize of [1, 4, 128]) {
    cases.push({
      numHeads: 4,
      numKvHeads: 2,
      headDim: 128,
      pageSize,
      window: null,
      sequences: mixed,
      slotMajor: pageSize === 4,
    });
  }
  for (const window of [1, 20, 64, 129]) {
    cases.push({ numHeads: 6, numKvHeads: 2, headDim: 64, pageSize: 8, window, sequences: mixed });
  }
  for (const [numHeads, numKvHeads] of [[7, 1], [28, 4], [24, 1], [80, 1], [5, 5]] as const) {
    cases.push({ numHeads, numKvHeads, headDim: 64, pageSize: 16, window: null, sequences: mixed });
  }
  cases.push({
    numHeads: 16,
    numKvHeads: 8,
    headDim: 128,
    pageSize: 16,
    window: null,
    sequences: [{ cached: 1300, extend: 1 }, { cached: 513, extend: 200 }],
  });
  for (const one of cases.filter((_, i) => i % every === 0)) {
    for (const splits of [1, 3, 20]) {
      for (const tile of prefillTiles(one, gpu.capability, "f16")) {
        const off = checkOne(gpu, pool, one, tile, splits);
        count++;
        worst = Math.max(worst, off);
        if (off < (pool.element === "bf16" ? 6e-3 : 1e-3)) continue;
        right = false;
        lines.push(
          `WRONG attention ${pool.element} ${one.numHeads}/${one.numKvHeads}x${one.headDim} page ${one.pageSize} window ${one.window} splits ${splits} ${tile.kernel}: ${
            off.toExponential(1)
          }`,
        );
      }
    }
  }
  lines.push(`attention ${pool.element}: ${count} cases; largest deviation ${worst.toExponential(1)}`);
  return { lines, right };
}
