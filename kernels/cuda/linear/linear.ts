// Which kernels a matrix product takes: float32 for small matrices and float32 weights, the matrix units otherwise, with
// one kernel for few tokens and one for many.

import type { MatrixSpec, Norm } from "../../ops.ts";
import { formats } from "../../formats/mod.ts";
import { type Argument, Float } from "../arguments.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import {
  type ActivationType,
  type CudaActivation,
  type CudaMatrix,
  type CudaVector,
  elementBytes,
  ElementType,
  paddedRows,
} from "../memory.ts";
import type { ModuleName } from "../modules.ts";
import { isOwnGate, launchGate } from "./gate.ts";
import {
  Epilogue,
  featuresOf,
  type FewRows,
  type FewRowsPlan,
  inputType,
  type Product,
  usesMatrixUnits,
} from "./product.ts";
import { launchTiled } from "./tiled.ts";
import { planQuantized, quantizedRows, quantizedTypes, suits } from "./quantized.ts";
import { launchStaying } from "./rows.ts";
import { planStream } from "./stream.ts";

/** Up to so many rows weights go straight from memory to the matrix units. */
const skinnyRows = 64;

/** The same for 16-bit weights where there is wgmma, whose tiles read them faster as soon as there are two rows. */
const skinnyRowsBesideWgmma = 1;

/** Up to so many rows norm and product are one kernel. */
const normRows = 16;

/** Bytes of a row of the input in shared memory. */
const inputPitch = (columns: number) => 2 * columns + 64;

/** Most bytes of all its rows. */
const mostInputBytes = 48 * 1024;

/** Columns of a run of squares, and room for runs, in `skinny.cu`. */
const squareRun = 256, mostRuns = 32;

/** Most shared memory of a block: two of them should fit a multiprocessor, so that one may begin early. */
const mostSkinnyBytes = 112 * 1024;

/** From so many features on a block makes sixteen of them, else eight. */
const leastWide = 1024;

/** Warps of a block that share a sum. */
const mostWarps = 8;

/** output = epilogue(norm(input) · weightᵀ + bias) */
export function launchLinear(forward: Forward, product: Product): void {
  const { context: { halfFrom, scratch: buffers, device } } = forward, { capability } = device.properties;
  if (product.epilogue === "gate-mul" && isOwnGate(product.gate)) {
    const { gate, output, rows } = product, width = product.weight.spec.rows / 2;
    const buffer = buffers.get("ungated", 4 * rows * 2 * width);
    launchLinear(forward, { ...product, output: { type: "f32", buffer }, epilogue: "store" });
    return launchGate(forward, gate, buffer.address, output, { rows, width });
  }
  const { weight, norm, input, rows } = product;
  if (product.exact || !usesMatrixUnits(weight, halfFrom)) return launchPlain(forward, product);
  const type = inputType(weight), { dtype } = weight.spec;
  const { columns } = weight.spec;
  const skinny = rows <= (capability === 90 ? skinnyRowsBesideWgmma : skinnyRows);
  const fused = skinny && rows <= normRows && rows * inputPitch(columns) <= mostInputBytes &&
    columns <= squareRun * mostRuns;
  const { quantized } = formats[dtype];
  if (norm !== null && input.type === "f32" && dtype !== "f16") {
    if (launchStream(forward, product, input.buffer.address, norm)) return;
    if (launchStaying(device, product, input.buffer.address, norm)) return;
    const few = planFew(forward, product, norm, null);
    if (few !== null) return launchFew(forward, few, product, input.buffer.address, norm, null);
    if (fused && !quantized) return launchSkinny(forward, product, input.buffer.address, norm);
  }
  const x = norm === null && input.type === type
    ? input.buffer.address
    : prepare(forward, input, norm, type, rows, columns, "prepared");
  if (launchStream(forward, product, x, null) || launchStaying(device, product, x, null)) return;
  const few = quantized ? planFew(forward, product, null, null) !== null : skinny;
  if (few) launchSkinny(forward, product, x, null);
  else launchTiled(forward, product, x);
}

const vector = (v: CudaVector | null) => v?.buffer.address ?? 0n;
const normWeight = (norm: Norm | null) => norm === null ? 0n : (norm.weight as CudaVector).buffer.address;

/** The rows of an activation in another type, normalised if there is a norm; returns where they are. */
export function prepare(
  forward: Forward,
  input: Pick<CudaActivation, "type" | "buffer">,
  norm: Norm | null,
  type: ActivationType,
  rows: number,
  columns: number,
  role: "prepared" | "wide" | "sampled" | "hidden",
  group = 0n,
): bigint {
  const to = scratch(forward, role, elementBytes(type) * paddedRows(rows) * columns);
  const { device } = forward.context;
  device.launch(device.kernel("prepare", "prepare"), [rows, 1], 128, 0, [
    group,
    input.buffer.address,
    ElementType[input.type],
    normWeight(norm),
    new Float(norm?.epsilon ?? 0),
    to,
    ElementType[type],
    columns,
  ]);
  return to;
}

function launchPlain(forward: Forward, product: Product): void {
  const { input, norm, weight, rows } = product;
  const { device } = forward.context;
  const x = input.type === "f32"
    ? input.buffer.address
    : prepare(forward, input, null, "f32", rows, weight.spec.columns, "wide");
  const grid = [divideUp(featuresOf(product), 8), divideUp(rows, 8)] as const;
  const words = [...productArguments(product, x, norm), 0n, 0];
  device.launch(device.kernel(`plain_${weight.type}`, "plain"), grid, 256, 0, words);
}

/** Where the rows of a product with experts are: the tiles, and the order of the pairs. */
export interface ExpertTiles {
  /** Their number, then (expert, first, rows) triples. */
  readonly tiles: bigint;
  /** Pairs in the order of their experts. */
  readonly order: bigint;
  /** Room for tiles. */
  readonly most: number;
  /** The row of x of a pair is pair / perToken. */
  readonly perToken: number;
}

/** A product for few rows; `x` is 16-bit, or float32 with a norm. */
export function launchSkinny(
  forward: Forward,
  product: FewRows,
  x: bigint,
  norm: Norm | null,
  experts: ExpertTiles | null = null,
): void {
  const { weight, epilogue, rows } = product;
  const few = planFew(forward, product, norm, experts);
  if (few !== null) return launchFew(forward, few, product, x, norm, experts);
  const { device } = forward.context;
  const { columns } = weight.spec;
  const paired = epilogue === "gate-mul";
  const features = featuresOf(product);
  const tile = experts !== null || rows <= 16 ? 16 : rows <= 32 ? 32 : 64;
  const warps = Math.max(1, Math.min(mostWarps, Math.floor(divideUp(columns, 32) / 4)));
  const { sharedBytes } = device.properties;
  const tiles = (width: number) => width / 8 * (paired ? 2 : 1);
  const input = norm !== null
    ? "norm"
    : tile === 16 && rows * inputPitch(columns) <= mostInputBytes
    ? "shared"
    : "global";
  const bytes = (width: number) => {
    const count = tiles(width), slots = count === 1 ? 12 : count === 2 ? 16 : 4 * count;
    return (input === "norm" ? 4 * 16 * (mostRuns + 1) : 0) +
      (input === "global" ? 0 : rows * inputPitch(columns)) +
      32 * warps * 16 * Math.max(slots, tile / 16 * count);
  };
  const limit = Math.min(mostSkinnyBytes, sharedBytes);
  // Measured: sixteen are better even where they leave half of the multiprocessors without work.
  const width = features >= leastWide && bytes(16) <= limit ? 16 : 8;
  device.launch(
    device.kernel(
      `skinny_${weight.type}_${tile}` as ModuleName,
      `skinny_${input}_${paired ? "pair" : "n"}${width}`,
      limit,
    ),
    [divideUp(features, width), experts?.most ?? 1],
    32 * warps,
    bytes(width),
    fewArguments(product, x, norm, experts),
  );
}

/** What kernels for few rows are given. */
function fewArguments(
  product: FewRows,
  x: bigint,
  norm: Norm | null,
  experts: ExpertTiles | null,
): Argument[] {
  const { tiles = 0n, order = 0n, perToken = 1 } = experts ?? {};
  return [...productArguments(product, x, norm), tiles, order, perToken];
}

/** What every kernel of products is given first. */
function productArguments(product: FewRows, x: bigint, norm: Norm | null): Argument[] {
  const { weight, bias, output, epilogue, rows } = product;
  const features = featuresOf(product);
  return [
    x,
    normWeight(norm),
    new Float(norm?.epsilon ?? 0),
    weight.buffer.address,
    vector(bias),
    output.buffer.address,
    ElementType[output.type],
    rows,
    features,
    weight.spec.columns,
    product.stride ?? features,
    Epilogue[epilogue],
  ];
}

/** Whether experts' products of few rows have kernels. */
export function hasFewRows({ spec: { dtype, columns } }: CudaMatrix): boolean {
  const type = quantizedTypes.find((type) => type === dtype);
  return type === undefined || suits(type, columns);
}

/**
 * Most rows for which streaming beats tiles, measured on an H100: long rows' inputs and the sums of large matrices are
 * many reads for blocks of few features.
 */
function mostFewRows({ rows, columns, dtype }: MatrixSpec): number {
  const numbers = rows * columns;
  if (columns > 8192 || numbers > 2 ** 28) return 16;
  // Of int8 also those whose tiles are so few that they are split.
  const split = dtype === "q8" && numbers > 2 ** 23 && numbers < 2 ** 24;
  return numbers > 2 ** 25 || split ? 32 : quantizedRows;
}

/** The kernel of `quantized.cu` for a product; null where another one must do it. */
function planFew(
  { context: { device: { properties } } }: Forward,
  product: FewRows,
  norm: Norm | null,
  experts: ExpertTiles | null,
): FewRowsPlan | null {
  const { weight: { spec }, epilogue, rows } = product;
  const dtype = quantizedTypes.find((type) => type === spec.dtype);
  if (dtype === undefined || rows > mostFewRows(spec) || !suits(dtype, spec.columns)) return null;
  return planQuantized(
    {
      dtype,
      tokens: rows,
      features: featuresOf(product),
      columns: spec.columns,
      paired: epilogue === "gate-mul",
      norm: norm !== null,
    },
    experts === null ? properties.multiprocessors : Infinity,
    Math.min(mostSkinnyBytes, properties.sharedBytes),
  );
}

/** Launches the kernel of `stream.cu`, where it suits; whether it did. */
function launchStream(
  { context: { device } }: Forward,
  product: Product,
  x: bigint,
  norm: Norm | null,
): boolean {
  const { weight: { spec, buffer }, bias, output, epilogue, rows } = product;
  const { multiprocessors, sharedBytes } = device.properties;
  const dtype = quantizedTypes.find((type) => type === spec.dtype);
  if (rows !== 1 || dtype === undefined) return false;
  const features = featuresOf(product), { columns } = spec;
  const shape = { dtype, features, columns, paired: epilogue === "gate-mul", norm: norm !== null };
  const plan = planStream(shape, multiprocessors, sharedBytes);
  if (plan === null) return false;
  device.launch(
    device.kernel(plan.module, plan.kernel, sharedBytes),
    [plan.blocks, 1],
    plan.threads,
    plan.sharedBytes,
    [
      x,
      normWeight(norm),
      new Float(norm?.epsilon ?? 0),
      buffer.address,
      vector(bias),
      output.buffer.address,
      ElementType[output.type],
      features,
      columns,
      Epilogue[epilogue],
      plan.slots,
    ],
  );
  return true;
}

function launchFew(
  { context: { device } }: Forward,
  plan: FewRowsPlan,
  product: FewRows,
  x: bigint,
  norm: Norm | null,
  experts: ExpertTiles | null,
): void {
  const most = Math.min(mostSkinnyBytes, device.properties.sharedBytes);
  device.launch(
    device.kernel(plan.module, plan.kernel, most),
    [plan.blocks, experts?.most ?? 1],
    plan.threads,
    plan.sharedBytes,
    fewArguments(product, x, norm, experts),
  );
}
