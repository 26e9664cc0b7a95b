// The launches of rows.cu: products of few rows with large matrices, and of the rows of experts.

import { rowBytes } from "../../formats/mod.ts";
import { type Gate, type Norm, silu } from "../../ops.ts";
import { type Argument, Float } from "../arguments.ts";
import type { CudaDevice } from "../device.ts";
import { divideUp } from "../forward.ts";
import { type CudaMatrix, type CudaVector, ElementType } from "../memory.ts";
import {
  blocksThatFit,
  Epilogue,
  featuresOf,
  type FewRows,
  type Product,
  type StayingPlan,
} from "./product.ts";

/** Formats that it has kernels for. */
export const rowsTypes = ["q8", "bf16", "f16"] as const;

/** Most rows of a product, or of a tile of experts: columns of mma.sync. */
export const mostRows = 8;

/** A product of few rows. */
export interface RowsShape {
  /** How the weight is stored. */
  readonly dtype: typeof rowsTypes[number];
  /** Rows; of experts, most rows of a tile. At most {@link mostRows}. */
  readonly tokens: number;
  /** Results of a row. */
  readonly features: number;
  /** Numbers of a row. */
  readonly columns: number;
  /** Gate and up rows. */
  readonly paired: boolean;
  /** The norm is the kernel's: not of f16, which would overflow before it is scaled. */
  readonly norm: boolean;
  /** Most tiles of experts; 1 without. */
  readonly tiles: number;
}

/** How a block is laid out. */
export interface RowsLayout {
  readonly warps: number;
  /** Blocks of a multiprocessor at a time. */
  readonly blocks: number;
  /** Slots of a warp, 2 to 4. */
  readonly slots: number;
}

/** Bytes of a slot: sixteen rows of a piece. */
const slotBytes = { q8: 2688, bf16: 2048, f16: 2048 } as const;

/** Most columns with a norm: thirty-two runs of squares. */
const mostNormColumns = 32 * 256;

/** The first one that fits is taken. */
const layouts: readonly RowsLayout[] = [
  { warps: 8, blocks: 2, slots: 4 },
  { warps: 8, blocks: 2, slots: 3 },
  { warps: 8, blocks: 2, slots: 2 },
  { warps: 16, blocks: 1, slots: 4 },
  { warps: 16, blocks: 1, slots: 3 },
  { warps: 16, blocks: 1, slots: 2 },
  { warps: 8, blocks: 1, slots: 3 },
  { warps: 8, blocks: 1, slots: 2 },
];

/** The launch of a product; null where no kernel suits, or a block would not fit `mostBytes`. */
export function planRows(
  { dtype, tokens, features, columns, paired, norm, tiles }: RowsShape,
  multiprocessors: number,
  mostBytes: number,
  wanted: readonly RowsLayout[] = layouts,
): StayingPlan | null {
  if (columns % (dtype === "q8" ? 16 : 8) !== 0 || tokens > mostRows) return null;
  if (norm && (dtype === "f16" || columns > mostNormColumns)) return null;
  const piece = dtype === "q8" ? 128 : 64;
  const bytes = ({ warps, slots }: RowsLayout) =>
    128 * divideUp(
        8 * warps * 128 + 4 * 2 * mostRows + (norm ? 4 * 8 * 33 : 0) +
          tokens * (2 * divideUp(columns, piece) * piece + 64),
        128,
      ) + warps * slots * slotBytes[dtype];
  const layout = wanted.find((layout) => blocksThatFit(bytes(layout), mostBytes) >= layout.blocks);
  if (layout === undefined) return null;
  return {
    module: `rows_${dtype}`,
    kernel: `rows${norm ? "_norm" : ""}${paired ? "_pair" : ""}`,
    blocks: Math.min(tiles * divideUp(features, paired ? 8 : 16), layout.blocks * multiprocessors),
    threads: 32 * layout.warps,
    sharedBytes: bytes(layout),
    slots: layout.slots,
  };
}

/** The rows of experts, and what is done with their gates. */
export interface RowsExperts {
  /** Their number, then (expert, first, rows) triples. */
  readonly tiles: bigint;
  /** Pairs in the order of their experts. */
  readonly order: bigint;
  /** The row of x of a pair is pair / perToken. */
  readonly perToken: number;
  /** The kernel in front has not written the tiles. */
  readonly known: boolean;
  /** Of all experts; 0n for none. */
  readonly bias: bigint;
}

/** Launches a product whose input stands at `x`: 16-bit numbers, or float32 with a norm. */
export function launchRows(
  device: CudaDevice,
  plan: StayingPlan,
  product: FewRows & { readonly gate?: Gate | undefined },
  x: bigint,
  norm: { readonly weight: bigint; readonly epsilon: number } | null,
  experts: RowsExperts | null,
): void {
  const { weight: { spec, buffer }, bias, output, epilogue, rows, stride, gate = silu } = product;
  const features = featuresOf(product);
  const words: Argument[] = [
    x,
    norm?.weight ?? 0n,
    new Float(norm?.epsilon ?? 0),
    buffer.address,
    experts?.bias ?? bias?.buffer.address ?? 0n,
    output.buffer.address,
    ElementType[output.type],
    rows,
    features,
    spec.columns,
    stride ?? features,
    Epilogue[epilogue === "add" ? "add" : "store"],
    experts?.tiles ?? 0n,
    experts?.order ?? 0n,
    experts?.perToken ?? 1,
    experts?.known ? 1 : 0,
    ...[gate.alpha, gate.beta, gate.limit, gate.plus].map((value) => new Float(value)),
    plan.slots,
  ];
  const most = device.properties.sharedBytes;
  device.launch(
    device.kernel(plan.module, plan.kernel, most),
    [plan.blocks, 1],
    plan.threads,
    plan.sharedBytes,
    words,
  );
}

/**
 * Up to so many rows weights are read by blocks that stay, where the input, which each of these brings, is this part of
 * the weights at most; 16-bit ones where there are so many, in rows of so many. Measured on an H100.
 */
const mostStayingRows = { q8: 8, bf16: 1, f16: 1 },
  mostStayingInput = 0.6,
  leastStaying = 2 ** 23,
  leastColumns = 2048;

/** Launches a product whose input stands at `x`, where this is the best kernel for it; whether it did. */
export function launchStaying(device: CudaDevice, product: Product, x: bigint, norm: Norm | null): boolean {
  const { weight, epilogue, rows } = product, { rows: all, columns } = weight.spec, dtype = rowsType(weight);
  if (dtype === undefined || rows > mostStayingRows[dtype]) return false;
  if (dtype !== "q8" && (all * columns < leastStaying || columns < leastColumns)) return false;
  const { multiprocessors, sharedBytes } = device.properties;
  const shape = {
    dtype,
    tokens: rows,
    features: featuresOf(product),
    columns,
    paired: epilogue === "gate-mul",
    norm: norm !== null,
    tiles: 1,
  };
  const plan = planRows(shape, multiprocessors, sharedBytes);
  if (plan === null) return false;
  const input = plan.blocks * rows * 2 * columns;
  if (norm === null && input > mostStayingInput * all * rowBytes(dtype, columns)) return false;
  const gains = norm === null
    ? null
    : { weight: (norm.weight as CudaVector).buffer.address, epsilon: norm.epsilon };
  launchRows(device, plan, product, x, gains, null);
  return true;
}

/** How a weight is stored, if there are kernels for it. */
export const rowsType = ({ spec: { dtype } }: CudaMatrix): RowsShape["dtype"] | undefined =>
  rowsTypes.find((type) => type === dtype);
