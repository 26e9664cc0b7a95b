// Products on the matrix units: which kernel and tile, and its launch.
//
// output[t, n] = epilogue(rowScale[t] · Σ_k input[t, k] · weight[n, k] + bias[n]). Input and weight are 16-bit floats of
// one kind ("element"); q8 weights are expanded to it. Experts' products take a list of tiles.

import { type DType, rowBytes } from "../../formats/mod.ts";
import { divideUp, type KernelLaunch, overlapping, packParameters } from "./launch.ts";
import { type ProductDevice, productModes, type ProductShape } from "./shape.ts";
import { chooseTile, type ProductTile } from "./tiles.ts";

export { productModes } from "./shape.ts";
export type { ProductDevice, ProductShape } from "./shape.ts";

/** Where things are. */
export interface ProductBuffers {
  /** [experts][rows] rows of `rowBytes(dtype, columns)` bytes. */
  readonly weight: bigint;
  /** The weight is written by a kernel right before: then nothing of it may be fetched ahead of the product's turn. */
  readonly freshWeight?: boolean;
  /** [tokens, columns] */
  readonly input: bigint;
  /**
   * Rows that memory has behind `input`, whatever is in them: the copy engine brings rows that are there faster than the
   * zeros that it makes of others.
   */
  readonly inputRows?: number;
  /** [tokens, outputStride] */
  readonly output: bigint;
  /** Numbers from one output row to the next. */
  readonly outputStride: number;
  /** [rows] float32 */
  readonly bias: bigint | null;
  /** [tokens] float32, what `prepare` divided each row by. */
  readonly rowScale: bigint | null;
  /** Sums of splits, of at least {@link ProductPlan.partialBytes}. */
  readonly partials: bigint;
  /** Words that are zero before and after, of at least {@link ProductPlan.counters}. */
  readonly counters: bigint;
  /** Experts: see product.cuh. Tiles have at most {@link ProductPlan.tileTokens} pairs. */
  readonly experts?: {
    readonly tiles: bigint;
    readonly order: bigint;
    /** Input row of place i is order[i] / perToken, or i when 0. */
    readonly perToken: number;
    /** Output row of place i is order[i], or i. */
    readonly scatter: boolean;
    /** Rows of `input`, for the copy engine. */
    readonly inputRows: number;
  };
}

/** A product whose kernel is chosen. */
export interface ProductPlan {
  /** What it is for. */
  readonly shape: ProductShape;
  /** The kernel and its tile. */
  readonly tile: ProductTile;
  /** Workgroups that share the sums of a tile. */
  readonly splits: number;
  /** Most pairs of an expert's tile. */
  readonly tileTokens: number;
  /** Tiles along the activations; for experts the most that there can be. */
  readonly tilesTokens: number;
  /** Scratch. */
  readonly partialBytes: number;
  /** Zeroed words. */
  readonly counters: number;
}

/** Most tiles of `pairs` pairs. */
export function mostExpertTiles(pairs: number, experts: number, tileTokens: number): number {
  return Math.floor(pairs / tileTokens) + Math.min(experts, pairs);
}

/** Chooses tile and splits; `forced` for benches. */
export function planProduct(
  shape: ProductShape,
  device: ProductDevice,
  forced?: { readonly tile: ProductTile; readonly splits: number },
): ProductPlan {
  const { tile, splits } = forced ?? chooseTile(shape, device);
  const tilesTokens = shape.experts
    ? mostExpertTiles(shape.tokens, shape.experts.count, tile.tokens)
    : divideUp(shape.tokens, tile.tokens);
  const tiles = tilesTokens * divideUp(shape.rows, tile.rows);
  return {
    shape,
    tile,
    splits,
    tileTokens: tile.tokens,
    tilesTokens,
    partialBytes: splits > 1 && tile.kind !== "narrow" ? 4 * tiles * splits * tile.tokens * tile.rows : 0,
    counters: splits > 1 && tile.kind !== "narrow" ? tiles : 0,
  };
}

/** The kernels' numbers of formats of four and six bits. */
const planeFormats: Readonly<Partial<Record<DType, number>>> = { q4_0: 4, q4_1: 5, q4_k: 6, q6_k: 7 };

/** In the name of a module. */
const weightKind = (dtype: DType) => dtype === "q8" ? "q8_" : dtype in planeFormats ? "planes_" : "";

/** The launch. */
export function launchProduct(
  plan: ProductPlan,
  device: ProductDevice,
  buffers: ProductBuffers,
): KernelLaunch {
  const { shape, tile, splits, tilesTokens } = plan;
  const { tokens, rows, columns, dtype, element, mode } = shape;
  const { experts } = buffers;
  const parameters = packParameters(
    [
      buffers.weight,
      buffers.input,
      buffers.output,
      buffers.bias,
      buffers.rowScale,
      experts?.tiles ?? null,
      experts?.order ?? null,
      buffers.partials,
      buffers.counters,
    ],
    [
      tokens,
      rows,
      columns,
      buffers.outputStride,
      rowBytes(dtype, columns),
      productModes[mode],
      splits,
      experts?.perToken ?? 0,
      experts?.scatter ? 1 : 0,
      planeFormats[dtype] ?? 0,
    ],
  );
  const tilesRows = divideUp(rows, tile.rows);
  const fixed = { kernel: tile.kernel, threads: tile.threads, sharedBytes: tile.sharedBytes };
  if (tile.kind === "mma") {
    return {
      ...overlapping(`mma_${weightKind(dtype)}${element}`, device.capability),
      ...fixed,
      grid: [tilesRows, tilesTokens, splits],
      cluster: 1,
      parameters: [parameters],
    };
  }
  const items = tilesRows * tilesTokens * splits;
  const weightRows = rows * (shape.experts?.count ?? 1);
  const inputRows = experts?.inputRows ??
    Math.max(tokens, Math.min(buffers.inputRows ?? 0, tilesTokens * tile.tokens));
  return {
    module: `${tile.kind}_${element}`,
    ...fixed,
    grid: tile.kind === "narrow"
      ? [splits * tilesRows, tilesTokens, 1]
      : [Math.min(items, device.multiprocessors), 1, 1],
    cluster: tile.kind === "narrow" ? splits : 1,
    programmatic: buffers.freshWeight !== true,
    parameters: [
      { address: buffers.input, rows: inputRows, columns, boxRows: tile.tokens, element },
      { address: buffers.weight, rows: weightRows, columns, boxRows: tile.rows / 2, element },
      parameters,
    ],
  };
}
