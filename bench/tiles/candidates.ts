// Ways to divide a product that are worth timing: matrix–vector tiles up to eight activation rows, tiles of a tiled
// product beyond. The one that is chosen now comes first.

import type { DeviceCaps, KernelCall } from "../../kernels/webgpu/shader/kernel.ts";
import { gemmTile, matvecTile, tileBytes } from "../../kernels/webgpu/linear/divide.ts";
import { type GemmTile, threadCount } from "../../kernels/webgpu/linear/gemm_tile.ts";
import type { LinearRole } from "../../kernels/webgpu/linear/linear.ts";
import { matvecBytes, matvecCall, type MatvecTile } from "../../kernels/webgpu/linear/matvec.ts";
import { planGemm } from "../../kernels/webgpu/linear/plan.ts";
import { canPrepareNext } from "../../kernels/webgpu/linear/reduce.ts";
import type { Product } from "./products.ts";

export interface Candidate {
  /** For people, and for {@link parseTile}. */
  readonly name: string;
  readonly calls: readonly KernelCall<LinearRole>[];
  /** Whether the calls leave the next product's input prepared; false where that takes a kernel of its own. */
  readonly preparesNext: boolean;
  /** Parts of the sum that meet in memory. */
  readonly parts: number;
}

/** Most activation rows of a matrix–vector kernel. */
const matvecTokens = 8;

/** A sample of `count` candidates, the same for the same seed, or the tiles that are `given`. */
export function candidates(
  product: Product,
  tokens: number,
  caps: DeviceCaps,
  { count, seed, given }: { readonly count: number; readonly seed: number; readonly given: string | null },
): Candidate[] {
  const { shape } = product;
  const few = tokens <= matvecTokens;
  const now = few ? matvecTile(shape, tokens, caps) : gemmTile(shape, tokens, caps);
  const build = (tile: MatvecTile | GemmTile) =>
    "tileRows" in tile ? gemm(product, tokens, tile) : matvec(product, tile);
  if (given !== null) {
    return [now, ...given.split(";").map((text) => parseTile(text, now, tokens))].map(build);
  }
  const random = seeded(seed + tokens + shape.rows);
  const all = "tileRows" in now ? gemmTiles(product, tokens, now, caps) : matvecTiles(product, now, caps);
  const sample = all.map((tile) => ({ tile, at: random() })).sort((a, b) => a.at - b.at).slice(0, count);
  return [build(now), ...sample.map(({ tile }) => build(tile))];
}

function gemm({ shape, next }: Product, tokens: number, tile: GemmTile): Candidate {
  const onTheWay = tile.split > 1 && canPrepareNext(shape) ? next : null;
  return {
    name:
      `${tile.tileTokens}×${tile.tileRows}×${tile.step} ${tile.threadTokens}×${tile.threadRows} buffers ${tile.buffers} ` +
      `slices ${tile.slices} unroll ${tile.unroll} split ${tile.split}`,
    calls: planGemm({ ...shape, next: onTheWay }, tokens, tile).calls,
    preparesNext: next === null || onTheWay !== null,
    parts: tile.split > 1 ? tile.split : 0,
  };
}

function matvec({ shape }: Product, tile: MatvecTile): Candidate {
  return {
    name:
      `lanes ${tile.sumLanes}×${tile.rowLanes} units ${tile.units} subgroups ${tile.rowSubgroups} split ${tile.split} ` +
      `unroll ${tile.unroll}`,
    calls: [matvecCall(shape, tile)],
    // The next product does it itself.
    preparesNext: true,
    parts: 0,
  };
}

function gemmTiles({ shape }: Product, tokens: number, now: GemmTile, caps: DeviceCaps): GemmTile[] {
  const few = tokens <= 64;
  const powers = [1, 2, 4, 8, 16];
  return combinations({
    tileTokens: few ? [Math.min(64, tokens), tokens / 2] : [64, 128],
    tileRows: few ? [16, 32, 64, 128] : [32, 64, 128],
    step: few ? [32, 64, 128, 256] : [32, 64],
    threadTokens: few ? [2, 4, 8] : [4, 8],
    threadRows: few ? [2, 4, 8] : [4, 8],
    slices: few ? [1, 2, 4, 8] : [1],
    buffers: [1, 2],
    split: tokens >= 1024 ? [1] : powers,
    unroll: [2, 4, 8],
  }).map((numbers) => completed(numbers, now)).filter((tile) => {
    const { tileTokens, tileRows, step, threadTokens, threadRows, slices, split, unroll, lanesX } = tile;
    const across = tileRows / threadRows, down = tileTokens / threadTokens;
    const threads = threadCount(tile), sliceOctets = step / 8 / slices;
    const groups = Math.ceil(shape.rows / tileRows) * Math.ceil(tokens / tileTokens) * split;
    return [across / lanesX, down * lanesX / 32, sliceOctets / unroll].every(Number.isInteger) &&
      threads >= 64 && threads <= (few ? 512 : 256) &&
      Math.max(tileTokens, tileRows) * step / 8 / threads <= 8 &&
      tileBytes(tile) <= caps.maxWorkgroupBytes &&
      groups >= 96 && (split === 1 || groups <= 1200) && shape.columns / split >= 2 * step &&
      (shape.epilogue !== "gate-mul" || threadRows % 2 === 0);
  });
}

/** A tile of a tiled product from what its name says. */
function completed(
  numbers: Pick<GemmTile, "tileTokens" | "tileRows" | "step" | "threadTokens" | "threadRows"> & {
    readonly buffers: number;
    readonly slices: number;
    readonly unroll: number;
    readonly split: number;
  },
  now: GemmTile,
): GemmTile {
  const { tileTokens, tileRows, threadTokens, threadRows } = numbers;
  const lanesX = Math.max(Math.min(8, tileRows / threadRows), 32 / Math.max(1, tileTokens / threadTokens));
  return { ...now, ...numbers, arithmetic: "f16", buffers: numbers.buffers === 2 ? 2 : 1, lanesX };
}

function matvecTiles({ shape }: Product, now: MatvecTile, caps: DeviceCaps): MatvecTile[] {
  const lanes = now.sumLanes * now.rowLanes;
  return combinations({
    rowLanes: now.tokens > 2 ? [1, 2, 4] : [1, 2],
    units: [1, 2, 4, 8],
    rowSubgroups: [1, 2, 4, 8],
    split: [1, 2, 4, 8],
    unroll: [1, 2, 4, 8],
  }).map((numbers): MatvecTile => ({ ...now, ...numbers, sumLanes: lanes / numbers.rowLanes })).filter(
    (tile) => {
      const { rowLanes, units, rowSubgroups, split, unroll } = tile;
      const threads = lanes * rowSubgroups * split;
      const rows = shape.epilogue === "gate-mul" ? 2 * units : units;
      return threads >= 64 && threads <= Math.min(512, caps.maxWorkgroupThreads) &&
        matvecBytes(shape, tile) <= caps.maxWorkgroupBytes &&
        unroll <= shape.columns * rowLanes / (8 * lanes * split) &&
        rows <= 8 && rows * now.tokens <= 64 && rows * unroll <= (now.tokens === 1 ? 16 : 8);
    },
  );
}

/** A tile from the numbers in its name, in that order. */
function parseTile(text: string, now: MatvecTile | GemmTile, tokens: number): MatvecTile | GemmTile {
  const numbers = text.trim().replace(/^\D+/, "").split(/\D+/).map(Number);
  const wrong = (count: number) => new Error(`"${text}" is not a tile of ${count} numbers`);
  if ("tileRows" in now) {
    if (numbers.length !== 9) throw wrong(9);
    const [height, tileRows, step, threadTokens, threadRows, buffers, slices, unroll, split] =
      numbers as Nine;
    const tileTokens = Math.min(height, Math.max(16, tokens));
    return completed(
      { tileTokens, tileRows, step, threadTokens, threadRows, buffers, slices, unroll, split },
      now,
    );
  }
  if (numbers.length !== 6) throw wrong(6);
  const [sumLanes, rowLanes, units, rowSubgroups, split, unroll] = numbers as Six;
  return { ...now, sumLanes, rowLanes, units, rowSubgroups, split, unroll };
}

type Six = [number, number, number, number, number, number];
type Nine = [...Six, number, number, number];

/** All combinations of one choice for each name. */
function combinations<Name extends string>(
  choices: Readonly<Record<Name, readonly number[]>>,
): Record<Name, number>[] {
  return Object.entries<readonly number[]>(choices).reduce(
    (made, [name, values]) => made.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))),
    [{}] as Record<string, number>[],
  ) as Record<Name, number>[];
}

/** A small generator of numbers in [0, 1), so that every process draws the same candidates. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
