// Products on the matrix units: every tile against float64, then times on the shapes of models.

import { rowBytes } from "../../kernels/formats/mod.ts";
import type { KernelLaunch } from "../../kernels/cuda/gemm/launch.ts";
import {
  launchProduct,
  planProduct,
  type ProductBuffers,
  type ProductPlan,
} from "../../kernels/cuda/gemm/product.ts";
import type { ProductShape } from "../../kernels/cuda/gemm/shape.ts";
import {
  mmaQ8Tiles,
  mmaTiles,
  mostClusterSplits,
  narrowTiles,
  type ProductTile,
  wideTiles,
} from "../../kernels/cuda/gemm/tiles.ts";
import { launchExpand, launchPrepare } from "../../kernels/cuda/gemm/prepare.ts";
import { Deviation, type Element, type Pool, valuesOf } from "./data.ts";
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
  return [...mmaTiles, ...(experts?.gather ? [] : wideTiles), ...(experts ? [] : narrowTiles)];
}

/** Every tile with every number of splits. */
function choices(shape: ProductShape, gpu: Gpu, splits: readonly number[]) {
  return everyTile(shape, gpu).flatMap((tile) => splits.map((count) => ({ tile, splits: count })));
}

const name = ({ tile, splits }: ProductPlan) => `${tile.kernel}${splits > 1 ? `/${splits}` : ""}`;

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

/** A shape to time. */
export interface TimedShape {
  /** For the table. */
  readonly label: string;
  /** What is multiplied. */
  readonly shape: ProductShape;
}

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

/** Compares `prepare` with float64. */
export function checkPrepare(gpu: Gpu, element: Element): { lines: string[]; right: boolean } {
  const rows = 5, columns = 20_488, epsilon = 1e-6;
  const input = Float32Array.from(
    { length: rows * columns },
    (_, i) => Math.sin(i) * (i < columns ? 1e5 : 1),
  );
  const weight = Float32Array.from({ length: columns }, (_, i) => 1 + Math.cos(i));
  const addresses = [
    gpu.upload(input),
    gpu.upload(weight),
    gpu.alloc(2 * rows * columns),
    gpu.alloc(4 * rows),
  ] as const;
  let worst = 0;
  for (const norm of [true, false]) {
    const launch: KernelLaunch = launchPrepare({
      rows,
      columns,
      element,
      input: addresses[0],
      inputType: "f32",
      inputStride: columns,
      norm: norm ? { weight: addresses[1], epsilon } : null,
      output: addresses[2],
      rowScale: addresses[3],
      gather: null,
    }, gpu.capability);
    gpu.run(launch);
    const out = new Uint16Array(gpu.read(addresses[2], 2 * rows * columns));
    const scales = new Float32Array(gpu.read(addresses[3], 4 * rows));
    const values = valuesOf(element), deviation = new Deviation();
    for (let r = 0; r < rows; r++) {
      const x = input.subarray(r * columns, (r + 1) * columns);
      const factor = norm ? 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / columns + epsilon) : 1;
      x.forEach((v, k) =>
        deviation.add(values[out[r * columns + k]!]! * scales[r]!, v * factor * (norm ? weight[k]! : 1))
      );
    }
    worst = Math.max(worst, deviation.relative);
  }
  for (const address of addresses) gpu.free(address);
  return {
    lines: [`prepare ${element}: largest deviation ${worst.toExponential(1)}`],
    right: worst < (element === "bf16" ? 3e-3 : 4e-4),
  };
}

/** Compares `expand` with what int8 weights mean. */
export function checkExpand(gpu: Gpu, pool: Pool): { lines: string[]; right: boolean } {
  const rows = 37, columns = 1096, stride = rowBytes("q8", columns) / 2, weightAt = 1 << 20;
  const output = gpu.alloc(2 * rows * columns);
  gpu.run(launchExpand(pool.pointer(weightAt), output, rows, columns, pool.element, gpu));
  const out = new Uint16Array(gpu.read(output, 2 * rows * columns)),
    values = valuesOf(pool.element),
    halves = valuesOf("f16");
  const deviation = new Deviation();
  out.forEach((bits, i) => {
    const base = weightAt + Math.floor(i / columns) * stride, k = i % columns;
    const byte = (pool.bits(base + (k >> 1)) >> (8 * (k & 1))) & 0xff;
    deviation.add(values[bits]!, (byte << 24 >> 24) * halves[pool.bits(base + columns / 2 + (k >> 5))]!);
  });
  gpu.free(output);
  const off = deviation.relative;
  return {
    lines: [`expand ${pool.element}: deviation ${off.toExponential(1)}`],
    right: off < (pool.element === "bf16" ? 3e-3 : 4e-4),
  };
}

/** Microseconds that int8 weights take to expand. */
export function timeExpand(gpu: Gpu, pool: Pool, scratch: Scratch, rows: number, columns: number): number {
  const words = rowBytes("q8", columns) / 2 * rows,
    copies = Math.max(1, Math.min(8, Math.floor(pool.length / words)));
  return gpu.time(
    Array.from(
      { length: copies },
      (_, c) =>
        gpu.prepare(launchExpand(pool.pointer(c * words), scratch.output, rows, columns, pool.element, gpu)),
    ),
  );
}
