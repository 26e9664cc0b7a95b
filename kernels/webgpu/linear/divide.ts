// How a product is divided over workgroups, threads and steps, for a number of activation rows and a device. The
// choices were measured on an H200 with the shapes of Qwen3-0.6B (see bench/NOTES.md); they depend on the shape and on
// what the device reports, never on its name.

import { computesHalf, type DeviceCaps, elementBytes, halfFrom } from "../shader/kernel.ts";
import { allowsHalf } from "../formats/mod.ts";
import { type GemmTile, sliceBytes } from "./gemm_tile.ts";
import type { LinearShape } from "./linear.ts";
import { fixedSubgroup, matvecBytes, type MatvecTile } from "./matvec.ts";
import { outputWidth } from "./finish.ts";

/** Output columns below which a product has too few rows to fill a device without dividing the sum. */
const narrow = 2048;

/** Output columns from which on a product fills a device however it is cut (the vocabulary). */
const vast = 32768;

/** Most workgroup memory of a matrix–vector kernel: one with more would be alone on its multiprocessor. */
const mostMatvecBytes = 16384;

/** How to divide a matrix–vector product. */
export function matvecTile(shape: LinearShape, tokens: number, caps: DeviceCaps): MatvecTile {
  const columns = tokens <= 2 ? tokens : tokens <= 4 ? 4 : 8;
  const subgroups = fixedSubgroup(caps);
  const lanes = subgroups ? caps.minSubgroup : 32;
  const width = outputWidth(shape);
  const paired = shape.epilogue === "gate-mul";
  // Whether the parts of the sum are a token's experts, each over all columns.
  const sumsExperts = shape.experts?.input === "pair";
  /** With as many subgroups as the device has room for, if those are wanted. */
  const tile = (rowLanes: number, units: number, rowSubgroups: number, split: number): MatvecTile => {
    const perLane = Math.floor(shape.columns * rowLanes / (8 * lanes * (sumsExperts ? 1 : split)));
    // As many loads in flight as registers allow: sums of several activation rows leave room for fewer.
    const rows = paired ? 2 * units : units;
    const unroll = caps.software
      ? 1
      : Math.max(1, Math.min(4, perLane, (columns === 1 ? 16 : width >= vast ? 4 : 8) / rows));
    const sumLanes = lanes / rowLanes;
    const found = {
      tokens: columns,
      sumLanes,
      rowLanes,
      subgroups,
      units,
      rowSubgroups,
      split,
      unroll,
    };
    const fits = lanes * rowSubgroups * split <= caps.maxWorkgroupThreads &&
      matvecBytes(shape, found) <= Math.min(mostMatvecBytes, caps.maxWorkgroupBytes);
    if (fits || rowSubgroups * split === 1) return found;
    return rowSubgroups > 1
      ? tile(rowLanes, units, rowSubgroups / 2, split)
      : tile(rowLanes, units, 1, Math.floor(split / 2));
  };
  if (sumsExperts) {
    const most = Math.floor(Math.min(256, caps.maxWorkgroupThreads) / lanes);
    return tile(1, 4, 1, caps.software ? 1 : Math.min(shape.experts!.perToken, most));
  }
  // Gate and up are two rows to an output column.
  if (caps.software) return tile(1, paired ? 2 : 4, 2, 1);
  if (width >= vast) {
    return columns === 1 ? tile(1, 1, 2, 2) : columns === 2 ? tile(1, 2, 4, 1) : tile(2, 4, 4, 1);
  }
  if (columns === 1) {
    if (paired) return tile(1, 2, 2, width < 8192 ? 4 : 1);
    if (width < narrow) return tile(1, 1, 4, 4);
    return shape.columns >= 4096 ? tile(1, 8, 1, 8) : tile(1, 2, 2, 4);
  }
  if (columns <= 4) return paired ? tile(2, 2, 2, 4) : width < narrow ? tile(1, 2, 2, 4) : tile(1, 4, 4, 4);
  return paired ? tile(2, 2, 8, 2) : width < narrow ? tile(1, 4, 1, 4) : tile(1, 4, 8, 2);
}

/** Vecs between flushes to float32: 16 products, which leaves the rounding of the activations the larger error. */
const flush = 2;

/** Classes of activation rows that share tiles, so that few shaders serve all steps. */
const classes = [16, 32, 64, 128, 256, 512];

/** What others are derived from. */
const plainTile = {
  arithmetic: "f32",
  tileTokens: 64,
  tileRows: 64,
  step: 16,
  threadTokens: 4,
  threadRows: 4,
  lanesX: 8,
  buffers: 2,
  slices: 1,
  unroll: 4,
  flush,
  split: 1,
} as const satisfies GemmTile;

/** How to divide a product with more activation rows than a matrix–vector kernel takes. */
export function gemmTile(shape: LinearShape, tokens: number, caps: DeviceCaps): GemmTile {
  const tokenClass = classes.find((size) => tokens <= size) ?? Infinity;
  const tile = preferredTile(shape, tokenClass, caps);
  if (tileBytes(tile) <= caps.maxWorkgroupBytes) return tile;
  const small = { ...tile, step: 16, slices: 1, buffers: 1, unroll: 1 } as const;
  return splitSum(shape, tokenClass, small, caps.parallelism, caps.maxBindingBytes);
}

/** A tile for experts that have `each` pairs on average. Their activations are float32, and so are the products. */
export function expertTile(each: number, caps: DeviceCaps): GemmTile {
  const tile = (tileTokens: number, tileRows: number, threadTokens = 4, threadRows = 4, lanesX = 8) => ({
    ...plainTile,
    tileTokens,
    tileRows,
    threadTokens,
    threadRows,
    lanesX,
    step: 32,
    buffers: 1,
    unroll: 1,
  } as const);
  if (caps.software) return tile(16, 32);
  if (each <= 8) return tile(8, 128, 4, 4, 32);
  if (each <= 24) return tile(16, 64);
  return each <= 48 || caps.maxWorkgroupBytes < 32768 ? tile(32, 64, 4, 8) : tile(64, 128, 8, 8);
}

/** Workgroup memory of a tile, in bytes. */
export function tileBytes({ arithmetic, tileTokens, tileRows, step, buffers, slices }: GemmTile): number {
  const tiles = (tileTokens + tileRows) * step * buffers * elementBytes(arithmetic);
  return tiles + (slices > 1 ? sliceBytes : 0);
}

/**
 * Divides the sum until there are about `workgroups` of them, but leaves each part a few steps, and no more parts than
 * fit a binding.
 */
function splitSum(
  shape: LinearShape,
  tokens: number,
  tile: GemmTile,
  workgroups: number,
  maxBindingBytes: number,
): GemmTile {
  const rowTiles = Math.ceil(shape.rows / tile.tileRows);
  const tokenTiles = Number.isFinite(tokens) ? Math.ceil(tokens / tile.tileTokens) : workgroups;
  const most = Math.min(
    Math.floor(shape.columns / (2 * tile.step)),
    Math.floor(maxBindingBytes / (4 * tokens * shape.rows)),
  );
  const wanted = Math.floor(workgroups / (rowTiles * tokenTiles));
  return { ...tile, split: Math.max(1, Math.min(16, most, wanted)) };
}

function preferredTile(shape: LinearShape, tokens: number, caps: DeviceCaps): GemmTile {
  const split = (tile: GemmTile, workgroups: number) =>
    splitSum(shape, tokens, tile, workgroups, caps.maxBindingBytes);
  const half = computesHalf(caps) && allowsHalf(shape.dtype) && shape.rows * shape.columns >= halfFrom(caps);
  const plain = { ...plainTile, arithmetic: half ? "f16" : "f32" } as const satisfies GemmTile;
  if (caps.software) return { ...plain, tileTokens: 16, tileRows: 32, unroll: 1 };
  if (!half) return split({ ...plain, tileTokens: Math.min(64, tokens) }, caps.parallelism);

  const width = outputWidth(shape);
  // Half of `parallelism` workgroups of 256 threads keep a device busy when each has several loads under way.
  const fill = caps.parallelism / 2;
  const isVast = width >= vast;
  // Its sum can be divided at no cost: the kernel that adds up the parts also prepares the input of the next product.
  const paired = shape.epilogue === "gate-mul";
  // With these rows a tile, every multiprocessor gets one; below, tiles must be smaller.
  const wide = shape.rows / 64 >= caps.parallelism * 3 / 16;
  const sliced = { ...plain, step: 128, buffers: 1, slices: 4 } as const;
  const low = { ...plain, tileTokens: 32, step: 32, threadTokens: 8, threadRows: 2 } as const;
  switch (tokens) {
    case 16:
      if (isVast) return { ...plain, tileTokens: 16, threadTokens: 2, step: 32, lanesX: 16 };
      // Half of the tile is idle; it is faster than smaller ones all the same.
      if (paired) return split({ ...plain, tileTokens: 32, step: 32 }, 3 * fill / 2);
      if (wide) return { ...sliced, tileTokens: 16 };
      return split({ ...sliced, tileTokens: 16, tileRows: 32, step: 256, slices: 8 }, fill / 2);
    case 32:
      if (isVast) return { ...plain, tileTokens: 32, threadTokens: 8, step: 32, buffers: 1 };
      if (paired) return split({ ...plain, tileTokens: 32, step: 32 }, 3 * fill / 2);
      if (wide) return { ...sliced, tileTokens: 32, threadTokens: 8 };
      if (width < narrow) return split({ ...plain, tileTokens: 32, step: 32 }, fill);
      return { ...sliced, tileTokens: 32, tileRows: 32, threadTokens: 8, threadRows: 2 };
    case 64:
      if (isVast) return { ...plain, threadTokens: 8, step: 32, buffers: 1 };
      if (paired) return split(low, 3 * fill / 2);
      if (wide) return { ...sliced, threadTokens: 8, slices: 2 };
      if (width < narrow) return split({ ...plain, step: 32 }, fill);
      return { ...low, tileRows: 32, step: 64, buffers: 1, slices: 2 };
    default: {
      if (paired && tokens === 128) return split({ ...plain, step: 32 }, 3 * fill / 2);
      const deep = { ...plain, step: 32, buffers: 1, threadTokens: 8 } as const;
      // Larger tiles need many tokens to fill the device. Twice the results a thread leave room for half the threads,
      // and are a little faster all the same: each operand read from workgroup memory serves for more products.
      return tokens === Infinity ? { ...deep, tileRows: 128, threadRows: 8 } : split(deep, fill);
    }
  }
}
