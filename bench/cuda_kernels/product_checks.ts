// Every tile of the products against float64, on shapes with odd ends.

import { rowBytes } from "../../kernels/formats/mod.ts";
import {
  launchProduct,
  planProduct,
  type ProductBuffers,
  type ProductShape,
} from "../../kernels/cuda/gemm/product.ts";
import type { ProductTile } from "../../kernels/cuda/gemm/tiles.ts";
import { Deviation, type Pool, valuesOf } from "./data.ts";
import type { Gpu } from "./gpu.ts";
import { choices, type Scratch } from "./products.ts";

interface Case {
  readonly shape: ProductShape;
  readonly bias: boolean;
  readonly scaled: boolean;
}

/** Reference of one output; `row` is the weight's row within its expert. */
function reference(
  { shape: { columns, rows, dtype, mode }, bias, scaled }: Case,
  inputs: {
    pool: Pool;
    inputAt: number;
    weightAt: number;
    bias: Float32Array;
    scales: Float32Array;
    old: number;
  },
  token: number,
  n: number,
  firstRow: number,
): number {
  const { pool, inputAt, weightAt } = inputs;
  const stride = rowBytes(dtype, columns) / 2;
  const values = valuesOf(pool.element), halves = valuesOf("f16");
  const weight = (row: number, k: number) => {
    const base = weightAt + (firstRow + row) * stride;
    if (dtype !== "q8") return pool.at(base + k);
    const byte = (pool.bits(base + (k >> 1)) >> (8 * (k & 1))) & 0xff;
    return (byte << 24 >> 24) * halves[pool.bits(base + columns / 2 + (k >> 5))]!;
  };
  void values;
  const sum = (row: number) => {
    let total = 0;
    for (let k = 0; k < columns; k++) total += pool.at(inputAt + token * columns + k) * weight(row, k);
    return (scaled ? inputs.scales[token]! : 1) * total + (bias ? inputs.bias[row]! : 0);
  };
  if (mode !== "silu-mul") return sum(n) + (mode === "add-f32" ? inputs.old : 0);
  const gate = sum(n);
  return gate / (1 + Math.exp(-gate)) * sum(rows / 2 + n);
}

/** Runs one case with one tile; returns how far it is off. */
function checkOne(
  gpu: Gpu,
  pool: Pool,
  scratch: Scratch,
  one: Case,
  tile: ProductTile,
  splits: number,
): number {
  const { shape, bias, scaled } = one;
  const { tokens, rows, mode, experts } = shape;
  const inputAt = 1 << 20, weightAt = 1 << 23;
  const width = mode === "silu-mul" ? rows / 2 : rows;
  const wide = mode === "store-f32" || mode === "add-f32";
  const biases = Float32Array.from({ length: rows }, (_, i) => Math.sin(i));
  const scales = Float32Array.from({ length: tokens }, (_, i) => 2 ** (i % 5));
  const old = new Float32Array(tokens * width).map((_, i) => Math.cos(i));
  const plan = planProduct(shape, gpu, { tile, splits });
  // Experts: pairs in a made-up order, experts of uneven size, one of them empty.
  const perToken = 2,
    order = new Uint32Array(tokens),
    lists: number[] = [],
    expertOf = new Uint32Array(tokens);
  if (experts) {
    for (let i = 0; i < tokens; i++) order[i] = (i * 9 + 3) % tokens;
    let first = 0;
    for (let e = 0; e < experts.count && first < tokens; e++) {
      if (e === 1) continue;
      const count = e === experts.count - 1 ? tokens - first : Math.min(tokens - first, 5 + 60 * (e % 3));
      for (let i = 0; i < count; i += plan.tileTokens) {
        lists.push(e, first + i, Math.min(plan.tileTokens, count - i));
      }
      expertOf.fill(e, first, first + count);
      first += count;
    }
  }
  const memory: bigint[] = [];
  const keep = (data: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>) => {
    const address = gpu.upload(data);
    memory.push(address);
    return address;
  };
  const bytes = tokens * width * (wide ? 4 : 2);
  if (mode === "add-f32") gpu.write(scratch.output, old);
  else gpu.fill(scratch.output, 0xff, bytes);
  gpu.fill(scratch.output + BigInt(bytes), 0xee, 4096);
  const buffers: ProductBuffers = {
    weight: pool.pointer(weightAt),
    input: pool.pointer(inputAt),
    output: scratch.output,
    outputStride: width,
    bias: bias ? keep(biases) : null,
    rowScale: scaled ? keep(scales) : null,
    partials: scratch.partials,
    counters: scratch.counters,
    ...(experts && {
      experts: {
        tiles: keep(Uint32Array.from([lists.length / 3, ...lists])),
        order: keep(order),
        perToken: experts.gather ? perToken : 0,
        scatter: experts.gather,
        inputRows: tokens,
      },
    }),
  };
  gpu.run(launchProduct(plan, gpu, buffers));
  const data = gpu.read(scratch.output, bytes + 4096);
  const outside = new Uint8Array(data, bytes);
  if (outside.some((b) => b !== 0xee)) return Infinity;
  const words = new Uint16Array(data, 0, bytes >> 1),
    floats = wide ? new Float32Array(data, 0, bytes >> 2) : null;
  const values = valuesOf(shape.element);
  const at = (i: number) => floats ? floats[i]! : values[words[i]!]!;
  for (let i = 0; i < tokens * width; i++) if (!Number.isFinite(at(i))) return Infinity;
  const deviation = new Deviation();
  const pick = (count: number, most: number) =>
    Array.from({ length: Math.min(count, most) }, (_, i) => i === 0 ? most - 1 : (i * 7919 + 13) % most);
  const inputs = { pool, inputAt, weightAt, bias: biases, scales, old: 0 };
  for (const place of pick(6, tokens)) {
    const token = experts?.gather ? Math.floor(order[place]! / perToken) : place;
    const out = experts?.gather ? order[place]! : place;
    for (const n of pick(7, width)) {
      const want = reference(
        one,
        { ...inputs, old: old[out * width + n]! },
        token,
        n,
        expertOf[place]! * rows,
      );
      deviation.add(at(out * width + n), want);
    }
  }
  for (const address of memory) gpu.free(address);
  return deviation.relative;
}

/** Compares every tile with float64; returns lines to print and whether all are right. */
export function checkProducts(
  gpu: Gpu,
  pool: Pool,
  scratch: Scratch,
  every = 1,
): { lines: string[]; right: boolean } {
  const element = pool.element;
  const cases: Case[] = [];
  const modes = ["store", "store-f32", "add-f32", "silu-mul"] as const;
  for (const dtype of [element, "q8"] as const) {
    for (
      const [tokens, rows, columns] of [[13, 200, 328], [17, 152, 72], [129, 384, 64], [
        300,
        1000,
        1096,
      ]] as const
    ) {
      modes.forEach((mode, i) =>
        cases.push({ shape: { tokens, rows, columns, dtype, element, mode }, bias: i !== 1, scaled: i === 0 })
      );
    }
    cases.push({
      shape: { tokens: 9, rows: 151, columns: 200, dtype, element, mode: "store" },
      bias: true,
      scaled: true,
    });
    cases.push({
      shape: { tokens: 9, rows: 151, columns: 200, dtype, element, mode: "add-f32" },
      bias: true,
      scaled: true,
    });
    for (const mode of ["silu-mul", "store-f32"] as const) {
      for (const gather of [true, false]) {
        cases.push({
          shape: {
            tokens: 350,
            rows: 192,
            columns: 256,
            dtype,
            element,
            mode,
            experts: { count: 9, gather },
          },
          bias: false,
          scaled: false,
        });
      }
    }
  }
  const worst = new Map<string, number>();
  let right = true;
  const lines: string[] = [];
  for (const one of cases.filter((_, i) => i % every === 0)) {
    const { tokens, rows, columns, mode, dtype, experts } = one.shape;
    const rounded = mode === "store" || mode === "silu-mul";
    const limit = dtype === "q8"
      ? (element === "bf16" ? 6e-3 : 1e-3)
      : rounded
      ? (element === "bf16" ? 3e-3 : 5e-4)
      : 2e-5;
    for (const { tile, splits } of choices(one.shape, gpu, experts ? [1] : [1, 3])) {
      const off = checkOne(gpu, pool, scratch, one, tile, splits);
      const key = `${dtype} ${tile.kernel}`;
      worst.set(key, Math.max(worst.get(key) ?? 0, off));
      if (off < limit) continue;
      right = false;
      const what = `${mode}${experts ? ` experts ${experts.gather}` : ""}`;
      lines.push(`WRONG ${key} /${splits} ${tokens}x${rows}x${columns} ${what}: ${off.toExponential(1)}`);
    }
  }
  lines.push(
    `${element}: ${cases.length} cases; largest deviation ${
      [...worst].map(([k, v]) => `${k} ${v.toExponential(1)}`).join(", ")
    }`,
  );
  return { lines, right };
}
