// The tiles that mma.cu and wgmma.cu are compiled for, and which one a product takes: the one for which a simple account
// of rounds and steps comes out least. The account's constants are fitted to `bench/cuda_kernels.ts` on an H100.

import { divideUp } from "./launch.ts";
import type { ProductDevice, ProductShape } from "./product.ts";

/** A compiled tile. */
export interface ProductTile {
  /** mma.sync (8.0 and later) or wgmma (9.0). */
  readonly kind: "mma" | "wgmma";
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
  q8: boolean,
  tokens: number,
  rows: number,
  warps: number,
  stages: number,
  blocks: number,
): ProductTile {
  const stage = tokens * 128 + (q8 ? rows * 68 : rows * 128);
  const sharedBytes = Math.max(stages * stage + (q8 ? 2 * rows * 128 : 0), 4 * tokens * (rows + 8));
  const kernel = `product_${tokens}x${rows}_${stages}`;
  return { kind: "mma", kernel, tokens, rows, threads: 32 * warps, blocks, sharedBytes };
}

function wide(rows: number, stages: number, blocks: number): ProductTile {
  // Buffers, a staging area of 8 rows for each of 8 warps, and what aligning the buffers takes.
  const sharedBytes = stages * (128 + rows) * 128 + 8 * 8 * 4 * (blocks === 1 ? 72 : 40) + 1024;
  return {
    kind: "wgmma",
    kernel: `wide_128x${rows}_${stages}`,
    tokens: 128,
    rows,
    threads: 288,
    blocks,
    sharedBytes,
  };
}

/** Of 16-bit weights. */
export const mmaTiles: readonly ProductTile[] = [
  mma(false, 16, 64, 4, 6, 3),
  mma(false, 32, 64, 4, 5, 3),
  mma(false, 32, 128, 4, 5, 2),
  mma(false, 64, 64, 4, 5, 2),
  mma(false, 64, 128, 4, 4, 2),
  mma(false, 128, 64, 4, 4, 2),
  mma(false, 128, 128, 8, 3, 2),
];

/** Of q8 weights. */
export const mmaQ8Tiles: readonly ProductTile[] = [
  mma(true, 16, 64, 4, 6, 4),
  mma(true, 32, 64, 4, 5, 4),
  mma(true, 64, 64, 4, 4, 3),
  mma(true, 128, 128, 8, 4, 1),
];

/** Of 16-bit weights on compute capability 9.0. */
export const wideTiles: readonly ProductTile[] = [
  wide(256, 4, 1),
  wide(192, 4, 1),
  wide(128, 3, 2),
  wide(128, 6, 1),
];

/** Most splits of a tile's sums. */
const mostSplits = 16;

/** Tile and splits for a product. */
export function chooseTile(
  shape: ProductShape,
  device: ProductDevice,
): { tile: ProductTile; splits: number } {
  const { tokens, rows, columns, dtype, experts } = shape;
  const steps = divideUp(columns, 64);
  const each = experts ? Math.max(1, tokens / experts.count) : tokens;
  const candidates = dtype === "q8"
    ? mmaQ8Tiles
    : device.capability === 90 && !experts?.gather && each > 64
    ? [...mmaTiles, ...wideTiles]
    : mmaTiles;
  let best = { tile: candidates[0]!, splits: 1 }, least = Infinity;
  for (const tile of candidates) {
    const tilesTokens = experts
      ? Math.min(experts.count, tokens) * divideUp(each, tile.tokens)
      : divideUp(tokens, tile.tokens);
    const tiles = tilesTokens * divideUp(rows, tile.rows);
    for (let splits = 1; splits <= (experts ? 1 : Math.min(mostSplits, steps)); splits++) {
      const rounds = Math.ceil(tiles * splits / (device.multiprocessors * tile.blocks));
      const cost = rounds * (divideUp(steps, splits) * stepCost(tile, dtype === "q8") + 1.2) +
        (splits > 1 ? 1.5 + 0.2 * splits : 0);
      if (cost < least) {
        least = cost;
        best = { tile, splits };
      }
    }
  }
  return best;
}

/** Microseconds of a step of 64 columns where all places are taken. */
function stepCost({ kind, tokens, rows, blocks }: ProductTile, q8: boolean): number {
  const products = tokens * rows * 64 * blocks / (kind === "wgmma" ? 2.6e6 : 1.5e6);
  const bytes = (rows * (q8 ? 68 : 128) + tokens * 40) * blocks / 22e3;
  return Math.max(products, bytes);
}
