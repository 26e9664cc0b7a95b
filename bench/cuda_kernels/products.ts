// Products on the matrix units: which tiles there are, and their times on the shapes of models.

import { rowBytes } from "../../kernels/formats/mod.ts";
import { launchExpand } from "../../kernels/cuda/gemm/prepare.ts";
import {
  launchProduct,
  planProduct,
  type ProductBuffers,
  type ProductPlan,
} from "../../kernels/cuda/gemm/product.ts";
import { ElementType } from "../../kernels/cuda/memory.ts";
import type { ProductShape } from "../../kernels/cuda/gemm/shape.ts";
import {
  mmaQ8Tiles,
  mmaTiles,
  mostClusterSplits,
  narrowTiles,
  type ProductTile,
  stepTiles,
  wideTiles,
} from "../../kernels/cuda/gemm/tiles.ts";
import type { Pool } from "./data.ts";
import type { Gpu } from "./gpu.ts";

/** Scratch that all products share. */
export interface Scratch {
  /** Float sums. */
  readonly partials: bigint;
  /** Zeros. */
  readonly counters: bigint;
  /** Results. */
  readonly output: bigint;
  /** Bytes of it. */
  readonly outputBytes: number;
}

/** Every tile that can compute a shape on this GPU, also those that are never chosen for it; `--kernel` picks by name. */
function everyTile(shape: ProductShape, gpu: Gpu): readonly ProductTile[] {
  const only = Deno.args.includes("--kernel") ? Deno.args[Deno.args.indexOf("--kernel") + 1]! : "";
  return compiledTiles(shape, gpu).filter((tile) => tile.kernel.includes(only));
}

function compiledTiles({ dtype, experts }: ProductShape, { capability }: Gpu): readonly ProductTile[] {
  if (dtype === "q8") return mmaQ8Tiles;
  if (capability !== 90) return mmaTiles;
  return [
    ...mmaTiles,
    ...(experts?.gather ? [] : wideTiles),
    ...(experts ? [] : [...narrowTiles, ...stepTiles]),
  ];
}

/** Every tile with every number of splits. */
export function choices(shape: ProductShape, gpu: Gpu, splits: readonly number[]) {
  return everyTile(shape, gpu).flatMap((tile) => splits.map((count) => ({ tile, splits: count })));
}

const name = ({ tile, splits }: ProductPlan) => `${tile.kernel}${splits > 1 ? `/${splits}` : ""}`;

/** A measured candidate. */
export interface Timing {
  /** Tile and splits. */
  readonly name: string;
  /** Of one product. */
  readonly microseconds: number;
  /** What the chooser takes. */
  readonly chosen: boolean;
}

/** Times every candidate on weights that rotate through the pool; best first. */
export function timeProduct(
  gpu: Gpu,
  pool: Pool,
  scratch: Scratch,
  shape: ProductShape,
  splitChoices: readonly number[],
  keep: (tile: ProductTile) => boolean,
  experts?: NonNullable<ProductBuffers["experts"]>,
): Timing[] {
  const { rows, columns, dtype, mode } = shape;
  const weightWords = rowBytes(dtype, columns) / 2 * rows * (shape.experts?.count ?? 1);
  const room = pool.length - (1 << 25);
  const copies = Math.max(1, Math.min(16, Math.floor(room / weightWords)));
  const chosen = planProduct(shape, gpu);
  const timings: Timing[] = [];
  const same = (one: { tile: ProductTile; splits: number }) =>
    one.tile === chosen.tile && one.splits === chosen.splits;
  for (const choice of choices(shape, gpu, [...new Set([...splitChoices, chosen.splits])])) {
    const { tile, splits } = choice;
    if (!same(choice) && (!keep(tile) || !splitChoices.includes(splits))) continue;
    const plan = planProduct(shape, gpu, choice);
    if (plan.partialBytes > 200 << 20 || 64 * splits > columns) continue;
    if (tile.kind === "narrow" && splits > mostClusterSplits) continue;
    const launches = Array.from({ length: copies }, (_, c) =>
      gpu.prepare(launchProduct(plan, gpu, {
        weight: pool.pointer((1 << 25) + c * weightWords),
        input: pool.pointer(0),
        output: scratch.output,
        outputStride: mode === "silu-mul" ? rows / 2 : rows,
        bias: null,
        rowScale: null,
        partials: scratch.partials,
        counters: scratch.counters,
        ...(experts && { experts }),
      })));
    const many = Array.from({ length: Math.max(1, Math.floor(12 / copies)) }, () => launches).flat();
    timings.push({ name: name(plan), microseconds: gpu.time(many), chosen: same(choice) });
  }
  return timings.sort((a, b) => a.microseconds - b.microseconds);
}

/** Microseconds that int8 weights take to expand. */
export function timeExpand(gpu: Gpu, pool: Pool, scratch: Scratch, rows: number, columns: number): number {
  const words = rowBytes("q8", columns) / 2 * rows,
    copies = Math.max(1, Math.min(8, Math.floor(pool.length / words)));
  return gpu.time(
    Array.from(
      { length: copies },
      (_, c) =>
        gpu.prepare(
          launchExpand(pool.pointer(c * words), scratch.output, rows, columns, ElementType.q8, gpu),
        ),
    ),
  );
}
