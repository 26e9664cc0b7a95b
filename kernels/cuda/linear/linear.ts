// Which kernels a matrix product takes: float32 for small matrices and float32 weights, the matrix units otherwise, with
// one kernel for few tokens and one for many.

import type { Norm } from "../../ops.ts";
import { Float } from "../arguments.ts";
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
import { launchExpand } from "../gemm/prepare.ts";
import { launchProduct, planProduct } from "../gemm/product.ts";
import type { ModuleName } from "../modules.ts";

/** The kernels' numbers of what happens behind a product. */
export const Epilogue = { store: 0, add: 1, "silu-mul": 2 } as const;

/** A product over `rows` rows. */
export interface Product {
  /** [rows, columns] */
  readonly input: Pick<CudaActivation, "type" | "buffer">;
  /** Applied to the input first. */
  readonly norm: Norm | null;
  /** [rows, columns] */
  readonly weight: CudaMatrix;
  /** [rows] */
  readonly bias: CudaVector | null;
  /** [rows, rows of the weight], or half as wide for "silu-mul". */
  readonly output: Pick<CudaActivation, "type" | "buffer">;
  /** As in `LinearArgs`. */
  readonly epilogue: keyof typeof Epilogue;
  /** How many. */
  readonly rows: number;
  /** From one row of the output to the next; that of a row's features where nothing is said. */
  readonly stride?: number;
  /** Not on the matrix units, however large the matrix is. */
  readonly exact?: boolean;
}

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

/** Whether products with a weight run on the matrix units. */
export function usesMatrixUnits({ spec: { rows, columns, dtype } }: CudaMatrix, halfFrom: number): boolean {
  return dtype !== "f32" && rows * columns >= halfFrom;
}

/** The type in which products with a weight take their inputs on the matrix units. */
export const inputType = ({ spec }: CudaMatrix): "bf16" | "f16" => spec.dtype === "f16" ? "f16" : "bf16";

/** output = epilogue(norm(input) · weightᵀ + bias) */
export function launchLinear(forward: Forward, product: Product): void {
  const { context: { halfFrom, device: { properties: { capability } } } } = forward;
  const { weight, norm, input, rows } = product;
  if (product.exact || !usesMatrixUnits(weight, halfFrom)) return launchPlain(forward, product);
  const type = inputType(weight), { dtype } = weight.spec;
  const { columns } = weight.spec;
  const skinny = rows <= (capability === 90 && dtype !== "q8" ? skinnyRowsBesideWgmma : skinnyRows);
  const fused = skinny && rows <= normRows && rows * inputPitch(columns) <= mostInputBytes &&
    columns <= squareRun * mostRuns;
  if (fused && norm !== null && input.type === "f32" && dtype !== "f16") {
    return launchSkinny(forward, product, input.buffer.address, norm);
  }
  const x = norm === null && input.type === type
    ? input.buffer.address
    : prepare(forward, input, norm, type, rows, columns, "prepared");
  if (skinny) launchSkinny(forward, product, x, null);
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
  const { input, norm, weight, bias, output, epilogue, rows } = product;
  const { device } = forward.context;
  const { columns } = weight.spec;
  const features = epilogue === "silu-mul" ? weight.spec.rows / 2 : weight.spec.rows;
  const x = input.type === "f32"
    ? input.buffer.address
    : prepare(forward, input, null, "f32", rows, columns, "wide");
  device.launch(
    device.kernel(`plain_${weight.type}`, "plain"),
    [divideUp(features, 8), divideUp(rows, 8)],
    256,
    0,
    [
      x,
      normWeight(norm),
      new Float(norm?.epsilon ?? 0),
      weight.buffer.address,
      vector(bias),
      output.buffer.address,
      ElementType[output.type],
      rows,
      features,
      columns,
      product.stride ?? features,
      Epilogue[epilogue],
      0n,
      0,
    ],
  );
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
  product: Pick<Product, "weight" | "bias" | "output" | "epilogue" | "rows" | "stride">,
  x: bigint,
  norm: Norm | null,
  experts: ExpertTiles | null = null,
): void {
  const { weight, bias, output, epilogue, rows } = product;
  const { device } = forward.context;
  const { columns, dtype } = weight.spec;
  const paired = epilogue === "silu-mul";
  const features = paired ? weight.spec.rows / 2 : weight.spec.rows;
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
    const count = tiles(width), quantized = dtype === "q8";
    const slots = (count === 1 ? 12 : count === 2 ? 16 : 4 * count) * (quantized ? 0.5 : 1);
    const scales = quantized ? 16 * divideUp(8 * count * 8 * divideUp(divideUp(columns, 32), 4), 16) : 0;
    return (input === "norm" ? 4 * 16 * (mostRuns + 1) : 0) +
      (input === "global" ? 0 : rows * inputPitch(columns)) +
      scales + 32 * warps * 16 * Math.max(slots, tile / 16 * count);
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
    [
      x,
      normWeight(norm),
      new Float(norm?.epsilon ?? 0),
      weight.buffer.address,
      vector(bias),
      output.buffer.address,
      ElementType[output.type],
      rows,
      features,
      columns,
      product.stride ?? features,
      Epilogue[epilogue],
      experts?.tiles ?? 0n,
      experts?.order ?? 0n,
      experts?.perToken ?? 1,
    ],
  );
}

/** A product for many rows; `x` is of the weights' type, or bfloat16 for q8. */
function launchTiled(forward: Forward, product: Product, x: bigint): void {
  const { context: { device } } = forward;
  const { weight, bias, output, epilogue, rows } = product;
  const { columns } = weight.spec, { capability, multiprocessors } = device.properties;
  const gpu = { capability, multiprocessors }, element = inputType(weight);
  const features = epilogue === "silu-mul" ? weight.spec.rows / 2 : weight.spec.rows;
  const stride = product.stride ?? features;
  const mode = epilogue === "silu-mul"
    ? "silu-mul"
    : epilogue === "add"
    ? "add-f32"
    : output.type === "f32"
    ? "store-f32"
    : "store";
  // Products store numbers of their own kind: another one takes a conversion.
  const direct = mode === "store-f32" || mode === "add-f32" || output.type === element;
  const target = direct ? output.buffer.address : scratch(forward, "converted", 2 * rows * stride);
  const expanded = expand(forward, weight, rows, element);
  const plan = planProduct(
    {
      tokens: rows,
      rows: weight.spec.rows,
      columns,
      dtype: expanded === null ? weight.spec.dtype : element,
      element,
      mode,
    },
    gpu,
  );
  device.start(launchProduct(plan, gpu, {
    weight: expanded ?? weight.buffer.address,
    input: x,
    output: target,
    outputStride: stride,
    bias: bias?.buffer.address ?? null,
    rowScale: null,
    partials: plan.partialBytes === 0 ? 0n : scratch(forward, "partials", plan.partialBytes),
    counters: plan.counters === 0 ? 0n : scratch(forward, "counters", 4 * plan.counters),
  }));
  if (direct) return;
  const count = rows * stride, types = [ElementType[element], ElementType[output.type]] as const;
  device.launch(device.kernel("prepare", "convert"), [Math.min(1024, divideUp(count, 256)), 1], 256, 0, [
    target,
    types[0],
    output.buffer.address,
    types[1],
    count,
  ]);
}

/** From so many rows on weights of q8 are expanded once rather than in every tile, if they are no larger than this. */
const expandedRows = 512, mostExpandedBytes = 256 * 2 ** 20;

/** Where weights of q8 stand as 16-bit numbers, if that is worth it; else null. */
function expand(
  forward: Forward,
  { spec: { rows: features, columns, dtype }, buffer }: CudaMatrix,
  rows: number,
  element: "bf16" | "f16",
): bigint | null {
  const bytes = 2 * features * columns, { device } = forward.context;
  const { capability } = device.properties;
  if (dtype !== "q8" || capability !== 90 || rows < expandedRows || bytes > mostExpandedBytes) return null;
  const to = scratch(forward, "expanded", bytes);
  device.start(launchExpand(buffer.address, to, features, columns, element, device.properties));
  return to;
}
