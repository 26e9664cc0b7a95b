// Products for many rows: the tiles of `gemm/`, with weights expanded first where that is worth it.

import { formats } from "../../formats/mod.ts";
import { divideUp, type Forward, scratch } from "../forward.ts";
import { launchExpand } from "../gemm/prepare.ts";
import { launchProduct, planProduct } from "../gemm/product.ts";
import { type CudaMatrix, ElementType, paddedRows } from "../memory.ts";
import { inputType, type Product } from "./product.ts";

/** A product for many rows; `x` is of the weights' type, or bfloat16 for q8. */
export function launchTiled(forward: Forward, product: Product, x: bigint): void {
  const { context: { device } } = forward;
  const { weight, bias, output, epilogue, rows } = product;
  const { columns } = weight.spec, { capability, multiprocessors } = device.properties;
  const gpu = { capability, multiprocessors }, element = inputType(weight);
  const features = epilogue === "gate-mul" ? weight.spec.rows / 2 : weight.spec.rows;
  const stride = product.stride ?? features;
  const mode = epilogue === "gate-mul"
    ? "silu-mul"
    : epilogue === "add"
    ? "add-f32"
    : output.type === "f32"
    ? "store-f32"
    : "store";
  // Products store numbers of their own kind: another one takes a conversion.
  const direct = mode === "store-f32" || mode === "add-f32" || output.type === element;
  const target = direct ? output.buffer.address : scratch(forward, "converted", 2 * rows * stride);
  const expanded = expand(forward, weight, rows);
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
    inputRows: paddedRows(rows),
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

/** From so many rows on quantized weights are expanded once rather than in every tile, if they are no larger than this. */
const expandedRows = 512, mostExpandedBytes = 256 * 2 ** 20;

/** Where quantized weights stand as bfloat16 numbers, if that is worth it; else null. */
function expand(
  forward: Forward,
  { spec: { rows: features, columns, dtype }, type, buffer }: CudaMatrix,
  rows: number,
): bigint | null {
  const bytes = 2 * features * columns, { device } = forward.context;
  const { capability } = device.properties;
  if (!formats[dtype].quantized || capability !== 90 || rows < expandedRows || bytes > mostExpandedBytes) {
    return null;
  }
  const to = scratch(forward, "expanded", bytes);
  device.start(launchExpand(buffer.address, to, features, columns, ElementType[type], device.properties));
  return to;
}
