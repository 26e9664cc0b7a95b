// Launches of paged attention. Queries are 16-bit floats of the kind of keys and values, normalised and rotated; new keys
// and values are in their pages already. What changes from step to step is read from the plan on the device.

import type { HeadLayout } from "../../ops.ts";
import { divideUp, type KernelLaunch, mostSharedBytes, overlapping, packParameters } from "../gemm/launch.ts";

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
  /** int8: this layer's pairs of scales, [page][kvHead][slot]. */
  readonly scales?: bigint;
  /** [rows, pagesPerRow] */
  readonly pageTable: bigint;
  /** [tokens, numHeads · headDim] */
  readonly output: bigint;
  /** Decode: {@link decodePartialBytes}. */
  readonly partials: bigint;
  /** Decode: zeros, {@link decodeCounters} words. */
  readonly counters: bigint;
  /** A further score of each head, [numHeads]; 0n for none. */
  readonly sinks?: bigint;
}

/** Fixed properties. */
export interface AttentionLayout {
  /** This rank's heads; headDim is a multiple of 8 and at most 256. */
  readonly heads: HeadLayout;
  /** Type of keys and values, and of queries, which are f16 beside int8. */
  readonly element: "bf16" | "f16" | "int8";
  /** Type of the output. */
  readonly output: "f32" | "bf16" | "f16";
  /** Tokens of a page, a power of two. */
  readonly pageSize: number;
  /** Entries of a row of the page table. */
  readonly pagesPerRow: number;
  /** Numbers from a page to the next, from a head, and from a slot to the next; multiples of 8, of headDim for int8. */
  readonly strides: { readonly page: number; readonly head: number; readonly slot: number };
  /** Keys that a query sees, itself included; null for all. */
  readonly window: number | null;
  /** Multiplies q · k. */
  readonly scale: number;
  /** Cap of scores; 0 for none. */
  readonly cap?: number;
}

/** Whether scores need kernels of their own. */
const hasScores = ({ cap = 0 }: AttentionLayout, { sinks = 0n }: AttentionBuffers): boolean =>
  cap > 0 || sinks !== 0n;

/** Query heads of a decode workgroup. */
const decodeHeads = 8;
/** Most splits of a query's keys. */
export const mostDecodeSplits = 256;

const outputTypes = { f32: 0, bf16: 1, f16: 2 } as const;

function parameters(
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  scores = hasScores(layout, buffers),
) {
  const { heads, element, output, pageSize, pagesPerRow, strides, window, scale, cap = 0 } = layout;
  const int8 = element === "int8", unit = int8 ? heads.headDim : 8;
  return packParameters(
    [
      buffers.plan,
      buffers.queries,
      buffers.keys,
      buffers.values,
      buffers.pageTable,
      buffers.output,
      buffers.partials,
      ...(scores ? [buffers.sinks ?? 0n] : []),
      ...(int8 ? [buffers.scales!] : []),
      buffers.counters,
    ],
    [
      heads.numHeads,
      heads.numKvHeads,
      heads.headDim,
      buffers.queryStride,
      Math.log2(pageSize),
      pagesPerRow,
      strides.page / unit,
      strides.head / unit,
      strides.slot / unit,
      window ?? 0,
      outputTypes[output],
    ],
    scores ? [scale, cap] : [scale],
  );
}

const freshParameters = ({ qkv, type, cosine, sine, qNorm, kNorm, qEpsilon, kEpsilon }: FreshHeads) =>
  packParameters([qkv, cosine, sine, qNorm, kNorm], [outputTypes[type]], [qEpsilon, kEpsilon]);

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
 * Splits that `queries` queries should have room for: two workgroups on each multiprocessor, of at least 128 keys of
 * the longest. The plan's words then say how many keys a split has: at least longest / splits, a multiple of 16.
 */
export function decodeSplits(
  heads: HeadLayout,
  queries: number,
  longest: number,
  multiprocessors: number,
): number {
  const workgroups = queries * heads.numKvHeads * headBlocks(heads);
  const wanted = Math.floor(2 * multiprocessors / workgroups);
  return Math.max(1, Math.min(wanted, mostDecodeSplits, divideUp(longest, 128)));
}

/** Where q, k and v are as the layer's product leaves them; norms are null where there are none. */
export interface FreshHeads {
  /** [tokens, numHeads + 2 numKvHeads, headDim] */
  readonly qkv: bigint;
  /** Type of it. */
  readonly type: "bf16" | "f16";
  /** [positions, headDim / 2] */
  readonly cosine: bigint;
  /** The same. */
  readonly sine: bigint;
  /** [headDim] */
  readonly qNorm: bigint | null;
  /** [headDim] */
  readonly kNorm: bigint | null;
  /** Of the norm of q. */
  readonly qEpsilon: number;
  /** Of the norm of k. */
  readonly kEpsilon: number;
}

/** Whether decode has a kernel for these heads: lanes load sixteen numbers of int8 at a time. */
export const hasDecode = ({ heads, element }: Pick<AttentionLayout, "heads" | "element">): boolean =>
  element !== "int8" || heads.headDim % 16 === 0;

/** Whether the decode kernel can norm and rotate such heads, and store k and v, itself. */
export const takesFresh = ({ heads, element }: Pick<AttentionLayout, "heads" | "element">): boolean =>
  element !== "int8" && (heads.headDim === 64 || heads.headDim === 128);

/**
 * Attention of the plan's decode queries, at most `queries`, with room for `splits` splits each. With `fresh`, in a step in
 * which every sequence computes one token, q, k and v come from there, and k and v are stored.
 */
export function launchDecode(
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  queries: number,
  splits: number,
  capability: number,
  fresh: FreshHeads | null = null,
): KernelLaunch {
  const { heads, element } = layout;
  const width = [64, 128, 256].find((d) => d >= heads.headDim)!;
  return {
    ...overlapping(`decode_${element}`, capability),
    kernel: fresh === null ? `decode_${width}` : `decode_fresh_${width}`,
    grid: [splits, heads.numKvHeads * headBlocks(heads), queries],
    threads: 128,
    sharedBytes: 0,
    cluster: 1,
    parameters: [parameters(layout, buffers), ...(fresh === null ? [] : [freshParameters(fresh)])],
  };
}

/** The kernel of prompts: rows of (token, head) of a tile. */
export interface PrefillTile {
  /** mma.sync (8.0 and later) or wgmma (9.0). */
  readonly kind: "mma" | "wide";
  /** Name of the kernel. */
  readonly kernel: string;
  /** Rows. */
  readonly rows: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Dynamic shared memory. */
  readonly sharedBytes: number;
  /** Tokens of a tile: what the plan's tiles may have. */
  readonly tokens: number;
}

/** The tiles that can compute these heads, the best first; none where heads are too wide for it (every query can go through decode). */
export function prefillTiles(
  { numHeads, numKvHeads, headDim }: HeadLayout,
  capability: number,
  element: AttentionLayout["element"],
): PrefillTile[] {
  const group = numHeads / numKvHeads;
  const tokens = (rows: number) => Math.floor(rows / Math.min(group, rows));
  const tiles: PrefillTile[] = [];
  const wide = (width: number, keys: number, stages: number): PrefillTile => ({
    kind: "wide",
    kernel: `prefill_wide_${width}`,
    rows: 128,
    threads: 384,
    sharedBytes: 2 * width * (128 + 2 * stages * keys) + 1024,
    tokens: tokens(128),
  });
  if (capability === 90 && headDim <= 64) tiles.push(wide(64, 128, 3));
  if (capability === 90 && headDim > 64 && headDim <= 128) {
    tiles.push(wide(128, 96, 3));
  }
  const width = [64, 80, 96, 128, 256].find((d) => d >= headDim);
  if (width !== undefined) {
    const rows = width === 128 ? 128 : 64;
    tiles.push({
      kind: "mma",
      kernel: `prefill_${width}_${rows}`,
      rows,
      threads: 2 * rows,
      // int8: the bytes of 64 keys or values beside them.
      sharedBytes: (rows + 128) * (Math.floor(width / 8) | 1) * 16 + (element === "int8" ? 64 * width : 0),
      tokens: tokens(rows),
    });
  }
  return tiles.filter((tile) => tile.sharedBytes <= mostSharedBytes(capability));
}

/** Attention of the plan's tiles, at most `tiles`, of `tile.tokens` tokens each. */
export function launchPrefill(
  layout: AttentionLayout,
  buffers: AttentionBuffers,
  tile: PrefillTile,
  tiles: number,
  capability: number,
): KernelLaunch {
  const { heads: { numHeads, numKvHeads }, element } = layout;
  const { kind, kernel, rows, threads, sharedBytes } = tile;
  // For int8 on mma.sync there is the build with scores alone, which keeps the others small.
  const withScores = hasScores(layout, buffers) || element === "int8" && kind === "mma";
  const scores = withScores ? "_scores" : "";
  const group = numHeads / numKvHeads;
  return {
    ...(kind === "wide"
      ? { module: `prefill_wide${scores}_${element}`, programmatic: true }
      : overlapping(`prefill${scores}_${element}`, capability)),
    kernel,
    grid: [numKvHeads * divideUp(group, Math.min(group, rows)), tiles, 1],
    threads,
    sharedBytes,
    cluster: 1,
    parameters: [parameters(layout, buffers, withScores)],
  };
}
