// Products of a step of 33 to 256 rows: every tile of wgmma with every number of splits, on weights that come from memory.
//
// Run by `bench/cuda_kernels.ts --only steps`, which prints the best of each shape and number of rows, and writes all of
// them to `--out FILE`.

import { launchProduct, planProduct } from "../../kernels/cuda/gemm/product.ts";
import type { ProductShape } from "../../kernels/cuda/gemm/shape.ts";
import {
  mostClusterSplits,
  narrowTiles,
  type ProductTile,
  stepTiles,
  wideTiles,
} from "../../kernels/cuda/gemm/tiles.ts";
import type { Pool } from "./data.ts";
import type { Gpu } from "./gpu.ts";
import type { Scratch } from "./products.ts";

type Named = readonly [string, number, number, ProductShape["mode"]];

/** Products of Qwen3-8B. */
export const large: readonly Named[] = [
  ["8B q/k/v", 6144, 4096, "store"],
  ["8B output", 4096, 4096, "add-f32"],
  ["8B gate/up", 24576, 4096, "silu-mul"],
  ["8B down", 4096, 12288, "add-f32"],
  ["8B head", 151936, 4096, "store-f32"],
];

/** Products of Qwen3-0.6B. */
export const small: readonly Named[] = [
  ["0.6B q/k/v", 4096, 1024, "store"],
  ["0.6B output", 1024, 2048, "add-f32"],
  ["0.6B gate/up", 6144, 1024, "silu-mul"],
  ["0.6B down", 1024, 3072, "add-f32"],
  ["0.6B head", 151936, 1024, "store-f32"],
];

/** One candidate's time. */
export interface StepTiming {
  /** Tile and splits. */
  readonly name: string;
  /** Of one product. */
  readonly microseconds: number;
  /** What the chooser takes. */
  readonly chosen: boolean;
}

/** Numbers in front of the weights. */
const inputWords = 1 << 25;

/** Times every candidate; best first. */
export function timeStep(
  gpu: Gpu,
  pool: Pool,
  scratch: Scratch,
  [, rows, columns, mode]: Named,
  tokens: number,
): StepTiming[] {
  const shape: ProductShape = { tokens, rows, columns, mode, dtype: "bf16", element: "bf16" };
  const copies = Math.max(1, Math.min(12, Math.floor((pool.length - inputWords) / (rows * columns))));
  const chosen = planProduct(shape, gpu);
  const is = (tile: ProductTile, splits: number) => tile === chosen.tile && splits === chosen.splits;
  const timings: StepTiming[] = [];
  for (const tile of [...narrowTiles, ...stepTiles, ...wideTiles]) {
    const across = Math.ceil(tokens / tile.tokens), down = Math.ceil(rows / tile.rows);
    for (let splits = 1; splits <= (tile.kind === "wide" ? 4 : mostClusterSplits); splits++) {
      const rounds = across * down * splits / (gpu.multiprocessors * tile.blocks);
      const sensible = across <= 2 && tile.tokens < 1.7 * tokens && splits !== 7 &&
        (splits === 1 || rounds <= 5) && 256 * splits <= columns;
      if (!sensible && !is(tile, splits)) continue;
      const plan = planProduct(shape, gpu, { tile, splits });
      if (plan.partialBytes > 200 << 20) continue;
      const launches = Array.from(
        { length: copies },
        (_, copy) =>
          gpu.prepare(launchProduct(plan, gpu, {
            weight: pool.pointer(inputWords + copy * rows * columns),
            input: pool.pointer(0),
            inputRows: 256,
            output: scratch.output,
            outputStride: mode === "silu-mul" ? rows / 2 : rows,
            bias: null,
            rowScale: null,
            partials: scratch.partials,
            counters: scratch.counters,
          })),
      );
      const many = Array.from({ length: Math.ceil((copies > 1 ? 12 : 3) / copies) }, () => launches).flat();
      timings.push({
        name: `${tile.kernel.replace(/^(.)[^_]*_/, "$1")}${splits > 1 ? `/${splits}` : ""}`,
        microseconds: gpu.time(many, 5),
        chosen: is(tile, splits),
      });
    }
  }
  return timings.sort((a, b) => a.microseconds - b.microseconds);
}

/** A line for a shape: what is chosen, and the best few. */
export function stepLine(
  [name, rows, columns]: Named,
  tokens: number,
  timings: readonly StepTiming[],
): string {
  const chosen = timings.find((t) => t.chosen)!;
  const show = (t: StepTiming) => `${t.name} ${t.microseconds.toFixed(1)}`;
  const memory = 2 * rows * columns / 3.0e6, units = 2 * tokens * rows * columns / 700e6;
  return `${name} ${tokens} (${memory.toFixed(1)}, ${units.toFixed(1)}): ${show(chosen)} | ` +
    timings.slice(0, 4).map(show).join(", ");
}
