// The tiles that mma.cu, wide.cu and narrow.cu are compiled for, and which one a product takes: the one for which a simple account
// of rounds and steps comes out least. The account's constants are fitted to `bench/cuda_kernels.ts` on an H100.

import { formats } from "../../formats/mod.ts";
import { divideUp, mostSharedBytes } from "./launch.ts";
import type { ProductDevice, ProductShape } from "./shape.ts";

/** A compiled tile. */
export interface ProductTile {
  /** The source: mma.cu (8.0 and later); wide.cu or narrow.cu (9.0). */
  readonly kind: "mma" | "wide" | "narrow";
  /** Name of the kernel. */
  readonly kernel: string;
  /** Activation rows. */
  readonly tokens: number;
  /** Weight rows. */
  readonly rows: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Workgroups that a multiprocessor holds at a time. */
  readonly blocks: number;
  /** Dynamic shared memory. */
  readonly sharedBytes: number;
}

function mma(
  weight: "whole" | "q8" | "planes",
  tokens: number,
  rows: number,
  warps: number,
  stages: number,
  blocks: number,
): ProductTile {
  const stage = tokens * 128 + rows * { whole: 128, q8: 68, planes: 56 }[weight];
  const expanded = weight === "whole" ? 0 : 2 * rows * 128;
  const sharedBytes = Math.max(stages * stage + expanded, 4 * tokens * (rows + 8));
  const kernel = `product_${tokens}x${rows}_${stages}`;
  return { kind: "mma", kernel, tokens, rows, threads: 32 * warps, blocks, sharedBytes };
}

function wide(rows: number, stages: number): ProductTile {
  // Buffers, 16 rows of 128 bytes (and 16 against bank conflicts) for each of 8 warps, and what aligning the buffers takes.
  const sharedBytes = stages * (128 + rows) * 128 + 8 * 16 * 144 + 1024;
  return {
    kind: "wide",
    kernel: `wide_128x${rows}`,
    tokens: 128,
    rows,
    threads: 288,
    blocks: 1,
    sharedBytes,
  };
}

function narrow(rows: number, tokens: number, stages: number, blocks: number): ProductTile {
  const sharedBytes = stages * (rows + tokens) * 128 + 1024;
  return {
    kind: "narrow",
    kernel: `narrow_${rows}x${tokens}_${stages}`,
    tokens,
    rows,
    threads: rows * 2 + 32,
    blocks,
    sharedBytes,
  };
}

/** Of 16-bit weights. */
export const mmaTiles: readonly ProductTile[] = [
  mma("whole", 16, 64, 4, 6, 3),
  mma("whole", 32, 64, 4, 5, 3),
  mma("whole", 64, 64, 4, 5, 2),
  mma("whole", 128, 64, 4, 4, 2),
  mma("whole", 128, 128, 8, 3, 2),
];

const expandingTiles = (weight: "q8" | "planes"): readonly ProductTile[] => [
  mma(weight, 16, 64, 4, 6, 4),
  mma(weight, 32, 64, 4, 5, 4),
  mma(weight, 64, 64, 4, 4, 3),
  mma(weight, 128, 128, 8, 4, 1),
];

/** Of q8 weights. */
export const mmaQ8Tiles: readonly ProductTile[] = expandingTiles("q8");

/** Of weights of four and six bits. */
export const mmaPlanesTiles: readonly ProductTile[] = expandingTiles("planes");

/** Of 16-bit weights on compute capability 9.0. */
export const wideTiles: readonly ProductTile[] = [wide(128, 6), wide(192, 4), wide(256, 4)];

/** Of 16-bit weights and few rows on compute capability 9.0. */
export const narrowTiles: readonly ProductTile[] = [
  narrow(64, 8, 11, 2),
  narrow(64, 16, 10, 2),
  narrow(64, 32, 8, 2),
  narrow(64, 64, 6, 2),
  narrow(128, 64, 8, 1),
  narrow(128, 128, 6, 1),
];

/** Rows of a decode step of many sequences, for which tiles and account are measured on their own. */
const leastStepRows = 33, mostStepRows = 256;

/** Further tiles of these, which as many activation rows take. */
export const stepTiles: readonly ProductTile[] = [
  narrow(192, 64, 6, 1),
  narrow(192, 64, 3, 2),
  narrow(128, 96, 7, 1),
  narrow(64, 192, 6, 1),
  narrow(192, 192, 4, 1),
];

/** Most splits of a tile of `narrow.cu`: workgroups of a cluster. */
export const mostClusterSplits = 8;

/** Most splits of a tile's sums elsewhere. */
const mostSplits = 8;

/** Tile and splits for a product. */
export function chooseTile(
  shape: ProductShape,
  device: ProductDevice,
): { tile: ProductTile; splits: number } {
  const { tokens, rows, columns, dtype, experts } = shape;
  const steps = divideUp(columns, 64);
  const candidates = tilesFor(shape, device);
  if (experts) return { tile: expertTile(shape, candidates), splits: 1 };
  // For the weights once, at what an H100 reads.
  const memory = rows * columns * 2 / 2.9e6;
  const { capability, multiprocessors } = device;
  const isStep = capability === 90 && dtype === shape.element && tokens >= leastStepRows &&
    tokens <= mostStepRows;
  let best = { tile: candidates[0]!, splits: 1 }, least = Infinity;
  for (const tile of candidates) {
    const across = divideUp(tokens, tile.tokens), tiles = across * divideUp(rows, tile.rows);
    const most = tile.kind === "narrow" ? mostClusterSplits : mostSplits;
    // Splits are for devices that would stand idle.
    const idle = tile.kind === "narrow" || 1.4 * tiles < device.multiprocessors;
    for (let splits = 1; splits <= (idle ? Math.min(most, steps) : 1); splits++) {
      if (isStep && splits === 7) continue; // not measured
      const cost = isStep
        ? stepAccount(tile, { across, tiles, steps, splits, multiprocessors, memory })
        : account(tile, tiles, steps, splits, device, memory);
      if (cost < least) {
        least = cost;
        best = { tile, splits };
      }
    }
  }
  return best;
}

/** Tiles that can compute a shape. */
export function tilesFor(
  { tokens, dtype, experts }: ProductShape,
  { capability }: ProductDevice,
): readonly ProductTile[] {
  if (formats[dtype].quantized) {
    const tiles = dtype === "q8" ? mmaQ8Tiles : mmaPlanesTiles;
    return tiles.filter((tile) => tile.sharedBytes <= mostSharedBytes(capability));
  }
  if (capability !== 90 || experts?.gather) return mmaTiles;
  if (experts) return [...mmaTiles, ...wideTiles];
  // Few rows take the narrow tiles that hold them all and no more than they need.
  const further = stepTiles.filter((tile) => tile.tokens <= 64 || tile.tokens >= tokens);
  const narrow = [...narrowTiles, ...tokens <= mostStepRows ? further : []]
    .filter((tile) => tile.tokens >= Math.min(tokens, 64));
  return tokens <= 64
    ? narrow.filter((tile) => tile.tokens === narrow[0]!.tokens)
    : [...narrow, ...wideTiles];
}

/**
 * Experts have uneven numbers of pairs; a tile should hold those of most. Both products of a layer take tiles of the same
 * number of pairs, so that they can share their list.
 */
function expertTile({ tokens, experts }: ProductShape, candidates: readonly ProductTile[]): ProductTile {
  const wanted = 1.5 * tokens / experts!.count;
  const pairs = [16, 32, 64].find((n) => n >= wanted) ?? 128;
  const held = candidates.filter((tile) => tile.tokens === pairs);
  if (held.length === 0) return candidates.at(-1)!;
  return held.find((tile) => tile.kind === "wide" && tile.rows === 128) ?? held.at(-1)!;
}

/** Microseconds, roughly. */
function account(
  { kind, tokens, rows, blocks }: ProductTile,
  tiles: number,
  steps: number,
  splits: number,
  { multiprocessors }: ProductDevice,
  memory: number,
): number {
  const each = divideUp(steps, splits), groups = tiles * splits;
  if (kind === "narrow") {
    // The memory's time for the weights and a multiprocessor's for its share, of which the longer counts most. Large
    // clusters do not fit everywhere.
    const places = (splits > 3 ? 0.8 : 1) * multiprocessors * blocks;
    const held = groups / multiprocessors;
    const share = (blocks > 1 ? Math.max(1, 0.9 * held) : Math.ceil(held)) * each * (rows + tokens) * 128 /
      70e3;
    const crowded = splits > 1 && groups > places ? 1.4 : 1;
    return Math.hypot(memory, share) * crowded + (splits > 1 ? 0.7 + 0.1 * splits : 0) + 0.02 * tokens;
  }
  // Splits leave their sums in memory, and one workgroup reads them all.
  const sums = splits > 1 ? 3 + splits * tokens * rows * 4 / 35e3 : 0;
  if (kind === "wide") {
    // A step of 64 columns on a full device, and the tile's end.
    const step = 0.12 + rows * 0.0022;
    return Math.hypot(memory, divideUp(groups, multiprocessors) * (each * step + 0.8)) + sums;
  }
  const products = tokens * rows * 64 * blocks / 1.25e6, bytes = (rows * 128 + tokens * 64) * blocks / 20e3;
  return divideUp(groups, multiprocessors * blocks) * (each * Math.max(products, bytes) + 1.5) + sums;
}

/** A product as its account needs it. */
interface Division {
  /** Tiles along the activations, and all of them. */
  readonly across: number;
  readonly tiles: number;
  /** Steps of 64 columns. */
  readonly steps: number;
  readonly splits: number;
  readonly multiprocessors: number;
  /** Microseconds that reading the weights once takes. */
  readonly memory: number;
}

/**
 * The same for 16-bit weights and as many rows as a step has, fitted to 1,700 times of products of Qwen3-0.6B and 8B on an
 * H100 (`bench/cuda_kernels.ts --only steps`): 51 of 55 choices are within 3 % of the best of these.
 */
function stepAccount(tile: ProductTile, division: Division): number {
  const { kind, tokens, rows, blocks } = tile, { across, tiles, steps, splits, multiprocessors } = division;
  const each = divideUp(steps, splits), groups = tiles * splits, held = groups / multiprocessors;
  const memory = 0.98 * division.memory;
  if (kind === "wide") {
    const sums = splits > 1 ? 3 + splits * tokens * rows * 4 / 35e3 : 0;
    return norm(memory, Math.ceil(held) * (each * (0.018 + rows * 0.00197) + 2.33), 2.3) + sums;
  }
  // Memory wants some bytes on their way, and to be asked once.
  const flying = Math.min(groups, multiprocessors * blocks) * weightsAhead(tile) / 1e6;
  const reading = memory * (1 + 0.72 / flying) * (1 + 0.25 * (across - 1));
  // A step of 64 columns, by what copies bring and by what the matrix units multiply; a tile's end; and how often.
  const step = Math.max((rows + tokens) * 128 / 120e3, rows * tokens * 64 / 3.54e6);
  const end = 2.9 + tokens * rows / 7900;
  const rounds = blocks > 1 ? Math.max(1, held / blocks) : Math.ceil(held);
  const share = rounds * Math.min(blocks, Math.max(1, held)) * each * step + (rounds - 1) * end;
  const crowded = splits > 1 && groups > (splits > 3 ? 0.84 : 1) * multiprocessors * blocks ? 1.14 : 1;
  return norm(reading, share, 4.4) * crowded + end + (splits > 1 ? 1.3 + 0.03 * splits : 0);
}

/** Between the greater of two times and their sum. */
const norm = (a: number, b: number, power: number) => (a ** power + b ** power) ** (1 / power);

/** Bytes of weights that a workgroup of `narrow.cu` has on their way. */
const weightsAhead = ({ tokens, rows, sharedBytes }: ProductTile): number =>
  Math.floor(sharedBytes / ((rows + tokens) * 128)) * rows * 128;
