// Paged attention: what a case needs on the device, and times.

import {
  type AttentionBuffers,
  type AttentionLayout,
  decodeCounters,
  decodePartialBytes,
  decodeSplits,
  launchDecode,
  launchPrefill,
  type PrefillTile,
} from "../../kernels/cuda/attention/attention.ts";
import type { Pool } from "./data.ts";
import type { Gpu } from "./gpu.ts";

/** A sequence of a step. */
export interface Sequence {
  readonly cached: number;
  readonly extend: number;
}

/** Heads, pages and sequences. */
export interface Case {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly pageSize: number;
  readonly window: number | null;
  readonly sequences: readonly Sequence[];
  /** [page][slot][kvHead] instead of [page][kvHead][slot]. */
  readonly slotMajor?: boolean;
}

/** Everything on the device for a case. */
export function setUp(
  gpu: Gpu,
  pool: Pool,
  one: Case,
  tile: PrefillTile | null,
  splits: number,
  poison: boolean,
) {
  const { numHeads, numKvHeads, headDim, pageSize, sequences } = one;
  const heads = { numHeads, numKvHeads, headDim };
  const lengths = sequences.map((s) => s.cached + s.extend);
  const pagesPerRow = Math.ceil(Math.max(...lengths) / pageSize) + 1;
  const pages = lengths.reduce((sum, n) => sum + Math.ceil(n / pageSize), 0) + 3;
  const tokens = sequences.reduce((sum, s) => sum + s.extend, 0);
  const strides = one.slotMajor
    ? { page: pageSize * numKvHeads * headDim, head: headDim, slot: numKvHeads * headDim }
    : { page: pageSize * numKvHeads * headDim, head: pageSize * headDim, slot: headDim };
  const pageTable = new Uint32Array(sequences.length * pagesPerRow).fill(pages - 1);
  let next = 0;
  const stir = (i: number) => poison ? (i * 17 + 5) % (pages - 1) : i;
  const used: number[] = [];
  const step = gcd(17, pages - 1) === 1;
  lengths.forEach((n, row) => {
    for (let i = 0; i < Math.ceil(n / pageSize); i++) {
      const page = step ? stir(next++) : next++;
      used.push(page);
      pageTable[row * pagesPerRow + i] = page;
    }
  });
  const decodes: number[] = [], tiles: number[] = [];
  let token = 0;
  sequences.forEach(({ cached, extend }, row) => {
    if (extend === 1 || tile === null) {
      for (let i = 0; i < extend; i++) decodes.push(token + i, row, cached + i);
    } else {
      for (let i = 0; i < extend; i += tile.tokens) {
        tiles.push(token + i, row, cached + i, Math.min(tile.tokens, extend - i));
      }
    }
    token += extend;
  });
  const plan = new Uint32Array(16 + decodes.length + tiles.length);
  const longest = Math.max(1, ...decodes.filter((_, i) => i % 3 === 2).map((p) => p + 1));
  const keysOf = one.window === null ? longest : Math.min(longest, one.window);
  plan[4] = decodes.length / 3;
  plan[5] = Math.ceil(Math.ceil(keysOf / splits) / 16) * 16;
  plan[6] = 16 + decodes.length;
  plan[7] = tiles.length / 4;
  plan.set(decodes, 16);
  plan.set(tiles, 16 + decodes.length);
  const layout: AttentionLayout = {
    heads,
    element: pool.element,
    output: "f32",
    pageSize,
    pagesPerRow,
    strides,
    window: one.window,
    // Scores with a deviation of about 2.
    scale: 700 / Math.sqrt(headDim),
  };
  const queries = decodes.length / 3, counters = Math.max(1, decodeCounters(layout, queries));
  const bytes = {
    pages: 2 * pages * strides.page,
    output: 4 * tokens * numHeads * headDim,
    partials: Math.max(16, decodePartialBytes(layout, queries, splits)),
  };
  const buffers: AttentionBuffers = {
    plan: gpu.upload(plan),
    queries: pool.pointer(0),
    queryStride: (numHeads + 2 * numKvHeads) * headDim,
    keys: poison ? gpu.alloc(bytes.pages) : pool.pointer(1 << 24),
    values: poison ? gpu.alloc(bytes.pages) : pool.pointer((1 << 24) + pages * strides.page),
    pageTable: gpu.upload(pageTable),
    output: gpu.alloc(bytes.output),
    partials: gpu.alloc(bytes.partials),
    counters: gpu.alloc(4 * counters),
  };
  gpu.fill(buffers.counters, 0, 4 * counters);
  gpu.fill(buffers.output, 0xff, bytes.output);
  const release = () => {
    for (const key of ["plan", "pageTable", "output", "partials", "counters"] as const) {
      gpu.free(buffers[key]);
    }
    if (poison) { for (const key of ["keys", "values"] as const) gpu.free(buffers[key]); }
  };
  return {
    layout,
    buffers,
    tile,
    queries,
    tiles: tiles.length / 4,
    tokens,
    pages,
    pageTable,
    strides,
    bytes,
    release,
  };
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Decode: microseconds and GB/s of keys and values. */
export function timeDecode(
  gpu: Gpu,
  pool: Pool,
  numHeads: number,
  numKvHeads: number,
  queries: number,
  length: number,
  forced?: number,
) {
  const one: Case = {
    numHeads,
    numKvHeads,
    headDim: 128,
    pageSize: 16,
    window: null,
    sequences: Array.from({ length: queries }, () => ({ cached: length - 1, extend: 1 })),
  };
  const splits = forced ??
    decodeSplits(one, queries, length, gpu.multiprocessors);
  const set = setUp(gpu, pool, one, null, splits, false);
  const bytes = 4 * queries * length * numKvHeads * 128;
  // Copies of the pages, so that they do not come from the cache.
  const words = bytes / 2,
    copies = Math.max(1, Math.min(16, Math.floor((pool.length - (1 << 24)) / (1.2 * words))));
  const launches = Array.from({ length: copies }, (_, c) =>
    gpu.prepare(launchDecode(
      set.layout,
      {
        ...set.buffers,
        keys: pool.pointer((1 << 24) + c * words),
        values: pool.pointer((1 << 24) + c * words + words / 2),
      },
      queries,
      splits,
      gpu.capability,
    )));
  const many = Array.from({ length: Math.max(1, Math.floor(16 / copies)) }, () => launches).flat();
  const microseconds = gpu.time(many);
  set.release();
  return { splits, microseconds, gigabytes: bytes / microseconds / 1e3 };
}

/** Prefill: microseconds and TFLOP/s. */
export function timePrefill(
  gpu: Gpu,
  pool: Pool,
  numHeads: number,
  numKvHeads: number,
  cached: number,
  extend: number,
  tile: PrefillTile,
) {
  const one: Case = {
    numHeads,
    numKvHeads,
    headDim: 128,
    pageSize: 16,
    window: null,
    sequences: [{ cached, extend }],
  };
  const set = setUp(gpu, pool, one, tile, 1, false);
  const launch = gpu.prepare(launchPrefill(set.layout, set.buffers, tile, set.tiles, gpu.capability));
  const microseconds = gpu.time([launch, launch], 5);
  set.release();
  const pairs = extend * cached + extend * (extend + 1) / 2;
  return { microseconds, tflops: 4 * pairs * numHeads * 128 / microseconds / 1e6 };
}
