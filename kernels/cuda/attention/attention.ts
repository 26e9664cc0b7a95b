// Launches of paged attention. Queries are 16-bit floats of the kind of keys and values, normalised and rotated; new keys
// and values are in their pages already. What changes from step to step is read from the plan on the device.

import type { HeadLayout } from "../../ops.ts";
import { divideUp, type KernelLaunch, packParameters } from "../gemm/launch.ts";

/** What attention works on. */
export interface AttentionBuffers {
  /** Words of a forward's region; see plan/words.ts. */
  readonly plan: bigint;
  /** Head h of token t begins at number t · queryStride + h · headDim. */
  readonly queries: bigint;
  /** A multiple of 8. */
  readonly queryStride: number;
  /** This layer's pages. */
  readonly keys: bigint;
  /** This layer's pages. */
  readonly values: bigint;
  /** [rows, pagesPerRow] */
  readonly pageTable: bigint;
  /** [tokens, numHeads · headDim] */
  readonly output: bigint;
  /** Decode: {@link decodePartialBytes}. */
  readonly partials: bigint;
  /** Decode: zeros, {@link decodeCounters} words. */
  readonly counters: bigint;
}

/** Fixed properties. */
export interface AttentionLayout {
  /** This rank's heads; headDim is a multiple of 8 and at most 256. */
  readonly heads: HeadLayout;
  /** Type of queries, keys and values. */
  readonly element: "bf16" | "f16";
  /** Type of the output. */
  readonly output: "f32" | "bf16" | "f16";
  /** Tokens of a page, a power of two. */
  readonly pageSize: number;
  /** Entries of a row of the page table. */
  readonly pagesPerRow: number;
  /** Numbers from a page to the next, from a head, and from a slot to the next; multiples of 8. */
  readonly strides: { readonly page: number; readonly head: number; readonly slot: number };
  /** Keys that a query sees, itself included; null for all. */
  readonly window: number | null;
  /** Multiplies q · k. */
  readonly scale: number;
}

/** Query heads of a decode workgroup. */
const decodeHeads = 8;
/** Most splits of a query's keys. */
export const mostDecodeSplits = 256;

const outputTypes = { f32: 0, bf16: 1, f16: 2 } as const;

function parameters(
  { heads, output, pageSize, pagesPerRow, strides, window, scale }: AttentionLayout,
  buffers: AttentionBuffers,
) {
  return packParameters(
    [
      buffers.plan,
      buffers.queries,
      buffers.keys,
      buffers.values,
      buffers.pageTable,
      buffers.output,
      buffers.partials,
      buffers.counters,
    ],
    [
      heads.numHeads,
      heads.numKvHeads,
      heads.headDim,
      buffers.queryStride,
      Math.log2(pageSize),
      pagesPerRow,
      strides.page / 8,
      strides.head / 8,
      strides.slot / 8,
      window ?? 0,
      outputTypes[output],
    ],
    [scale],
  );
}

/** Blocks of query heads of a key/value head. */
const headBlocks = ({ numHeads, numKvHeads }: HeadLayout) => divideUp(numHeads / numKvHeads, decodeHeads);

/** Scratch of `queries` queries in `splits` splits. */
export function decodePartialBytes({ heads }: AttentionLayout, queries: number, splits: number): number {
  return splits > 1 ? 4 * queries * heads.numHeads * splits * (heads.headDim + 2) : 0;
}

/** Zeroed words of `queries` queries. */
export function decodeCounters({ heads }: AttentionLayout, queries: number): number {
  return queries * heads.numKvHeads * headBlocks(heads);
}

/**
 * Splits that `queries` queries should have room for: enough for four workgroups on each multiprocessor, of at least
 * 128 keys of the longest. The plan's words then say how many keys a split has: at least longest / splits.
 */
export function decodeSplits(
  heads: HeadLayout,
  queries: number,
  longest: number,
  multiprocessors: number,
): number {
  const workgroups = queries * heads.numKvHeads * headBlocks(heads);
  const wanted = Math.floor(4 * multiprocessors / workgroups);
  return Math.max(1, Math.min(wanted, mostDecodeSplits, divideUp(longest, 128)));
}

/** Attention of the plan's decode queries, at most `queries`, with room for `splits` splits each. */
export function launchDecode(
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  queries: number,
  splits: number,
): KernelLaunch {
  const { heads, element } = layout;
  const width = [64, 128, 256].find((d) => d >= heads.headDim)!;
  return {
    module: `decode_${element}`,
    kernel: `decode_${width}`,
    grid: [splits, heads.numKvHeads * headBlocks(heads), queries],
    threads: 128,
    sharedBytes: 0,
    cluster: 1,
    programmatic: false,
    parameters: [parameters(layout, buffers)],
  };
}

/** The kernel of prompts: rows of (token, head) of a tile. */
export interface PrefillTile {
  /** Name of the kernel. */
  readonly kernel: string;
  /** Rows. */
  readonly rows: number;
  /** Width of heads that it is made for. */
  readonly width: number;
  /** Tokens of a tile: what the plan's tiles may have. */
  readonly tokens: number;
}

/** The tile for these heads; null where heads are wider than any (then every query goes through decode). */
export function prefillTile(
  { numHeads, numKvHeads, headDim }: HeadLayout,
  rows: 64 | 128 = 64,
): PrefillTile | null {
  const width = [64, 80, 96, 128, 256].find((d) => d >= headDim);
  if (width === undefined) return null;
  const taken = width === 128 ? rows : 64;
  const heads = Math.min(numHeads / numKvHeads, taken);
  return { kernel: `prefill_${width}_${taken}`, rows: taken, width, tokens: Math.floor(taken / heads) };
}

/** Attention of the plan's tiles, at most `tiles`. */
export function launchPrefill(
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  tile: PrefillTile,
  tiles: number,
): KernelLaunch {
  const { heads: { numHeads, numKvHeads }, element } = layout;
  const group = numHeads / numKvHeads;
  const pieces = Math.floor(tile.width / 8) | 1;
  return {
    module: `prefill_${element}`,
    kernel: tile.kernel,
    grid: [numKvHeads * divideUp(group, Math.min(group, tile.rows)), tiles, 1],
    threads: tile.rows * 2,
    sharedBytes: (tile.rows + 128) * pieces * 16,
    cluster: 1,
    programmatic: false,
    parameters: [parameters(layout, buffers)],
  };
}
