// Products of few rows and of the rows of experts, without a GPU: what their launches promise, and the kernels themselves,
// compiled for the processor, against float64.

import fc from "fast-check";
import assert from "node:assert/strict";
import { mostSharedBytes } from "../../../kernels/cuda/gemm/launch.ts";
import { planRows, type RowsLayout, type RowsShape, rowsTypes } from "../../../kernels/cuda/linear/rows.ts";
import { modules } from "../../../kernels/cuda/modules.ts";
import { unpack } from "../../../kernels/cuda/unpack.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { aligned, bf16, bf16Bits, numbers } from "./emulator/data.ts";
import { emulate, emulatedTest, type Run } from "./emulator/emulator.ts";

Deno.test("the launch of any product of few rows fits the device, and names a compiled kernel", () => {
  const compiled = new Map(rowsTypes.map((type) => [type, unpack(modules[`rows_${type}`])]));
  const shapes = fc.record({
    dtype: fc.constantFrom(...rowsTypes),
    tokens: fc.integer({ min: 1, max: 9 }),
    features: fc.integer({ min: 1, max: 200_000 }),
    columns: fc.integer({ min: 1, max: 1536 }).map((n) => 8 * n),
    paired: fc.boolean(),
    norm: fc.boolean(),
    tiles: fc.integer({ min: 1, max: 200 }),
  });
  let found = 0;
  fc.assert(fc.property(shapes, fc.constantFrom(80, 86, 90), (shape, capability) => {
    const most = mostSharedBytes(capability), plan = planRows(shape, 132, most);
    if (plan === null) return;
    found++;
    assert.ok(plan.sharedBytes <= most && [256, 512].includes(plan.threads));
    assert.ok(plan.blocks >= 1 && plan.blocks <= 2 * 132 && plan.slots >= 2 && plan.slots <= 4);
    assert.ok(compiled.get(shape.dtype)!.includes(`.entry ${plan.kernel}(`), plan.kernel);
  }));
  assert.ok(found > 10);
});

Deno.test("the experts of gpt-oss-20b and Qwen3-30B-A3B take the kernels that stay", () => {
  for (const tokens of [1, 8]) {
    const plan = (dtype: RowsShape["dtype"], features: number, columns: number, paired: boolean) =>
      planRows(
        { dtype, tokens, features, columns, paired, norm: false, tiles: 32 },
        132,
        mostSharedBytes(90),
      );
    for (const dtype of ["q8", "bf16"] as const) {
      assert.ok(plan(dtype, 2880, 2880, true) && plan(dtype, 2880, 2880, false));
      assert.ok(plan(dtype, 768, 2048, true) && plan(dtype, 2048, 768, false));
    }
  }
});

const names = ["rows", "rows_pair", "rows_norm", "rows_norm_pair"];

/** A library's entry: everything but sizes is a pointer. */
const entry = (names: readonly string[]) => `
extern "C" void run(int which, int grid, int threads, long shared, const void* x, const float* norm, const u8* w,
                    const float* bias, void* y, int yType, int M, int N, int K, int epilogue, const u32* tiles,
                    const u32* order, int perToken, int slots) {
  const auto kernels = {${names.join(", ")}};
  emulated::launch(grid, threads, shared, [=] {
    kernels.begin()[which](x, norm, 1e-6f, w, bias, y, yType, M, N, K, N, epilogue, tiles, order, perToken, 0, 1.702f,
                           0.0f, 7.0f, 1.0f, slots);
  });
}`;

for (const dtype of rowsTypes) {
  emulatedTest(`${dtype}: the kernels of few rows, run thread by thread, give what float64 gives`, () => {
    const withNorm = dtype !== "f16", known = withNorm ? names : names.slice(0, 2);
    const defines = { KIND: dtype.toUpperCase(), ...withNorm ? { WITH_NORM: "1" } : {} };
    const library = { source: "linear/rows.cu", defines, entry: entry(known) };
    return emulate({ ...library, parameters: "iiilpppppiiiiippii" }, (run) => compare(dtype, known, run));
  });
}

interface Case {
  readonly features: number;
  readonly columns: number;
  readonly paired?: boolean;
  readonly norm?: boolean;
  readonly add?: boolean;
  readonly bias?: boolean;
  /** Rows, or the experts of the pairs, which tokens have `perToken` of. */
  readonly rows?: number;
  readonly pairs?: readonly number[];
  readonly perToken?: number;
  /** Most rows of a tile. */
  readonly tile?: number;
  readonly layout: RowsLayout;
  readonly multiprocessors: number;
}

/** Items of several tiles in a block and blocks without one, rows that begin at half of sixteen bytes, ends of pieces. */
const cases: readonly Case[] = [
  {
    features: 40,
    columns: 352,
    rows: 3,
    bias: true,
    layout: { warps: 8, blocks: 1, slots: 2 },
    multiprocessors: 2,
  },
  {
    features: 24,
    columns: 2880,
    rows: 8,
    add: true,
    layout: { warps: 16, blocks: 1, slots: 2 },
    multiprocessors: 1,
  },
  // Three tiles of an expert take turns of one item, two of two, which eleven do not divide into.
  {
    features: 20,
    columns: 160,
    bias: true,
    pairs: Array.from({ length: 40 }, (_, i) => i % 4 === 3 ? 1 : i % 9 === 0 ? 0 : 2),
    perToken: 1,
    tile: 8,
    layout: { warps: 8, blocks: 1, slots: 2 },
    multiprocessors: 11,
  },
  {
    features: 88,
    columns: 96,
    paired: true,
    pairs: Array.from({ length: 20 }, (_, i) => i % 2),
    perToken: 2,
    tile: 8,
    layout: { warps: 8, blocks: 1, slots: 3 },
    multiprocessors: 17,
  },
  { features: 20, columns: 608, rows: 7, layout: { warps: 8, blocks: 1, slots: 4 }, multiprocessors: 5 },
  {
    features: 20,
    columns: 96,
    rows: 1,
    paired: true,
    bias: true,
    layout: { warps: 8, blocks: 1, slots: 3 },
    multiprocessors: 2,
  },
  {
    features: 24,
    columns: 864,
    paired: true,
    bias: true,
    pairs: [3, 1, 0, 3, 3, 1],
    perToken: 2,
    tile: 8,
    layout: { warps: 8, blocks: 1, slots: 3 },
    multiprocessors: 4,
  },
  {
    features: 36,
    columns: 416,
    pairs: Array.from({ length: 24 }, (_, i) => i % 3 === 0 ? 1 : 2),
    perToken: 1,
    tile: 8,
    layout: { warps: 8, blocks: 1, slots: 2 },
    multiprocessors: 2,
  },
  {
    features: 20,
    columns: 224,
    paired: true,
    bias: true,
    pairs: Array.from({ length: 28 }, (_, i) => i % 7 === 0 ? 2 : 0),
    perToken: 2,
    tile: 8,
    layout: { warps: 8, blocks: 1, slots: 2 },
    multiprocessors: 2,
  },
];
const normCases: readonly Case[] = [
  {
    features: 48,
    columns: 2880,
    rows: 2,
    norm: true,
    bias: true,
    layout: { warps: 8, blocks: 1, slots: 3 },
    multiprocessors: 2,
  },
  {
    features: 24,
    columns: 352,
    rows: 8,
    norm: true,
    paired: true,
    layout: { warps: 8, blocks: 1, slots: 2 },
    multiprocessors: 2,
  },
];

/** Pairs in the order of their experts, and the list of tiles. */
function tilesOf(experts: readonly number[], most: number) {
  const order = experts.map((_, pair) => pair).sort((a, b) => experts[a]! - experts[b]! || a - b);
  const tiles: number[] = [];
  for (let first = 0; first < order.length;) {
    const expert = experts[order[first]!]!;
    let rows = 1;
    while (rows < most && experts[order[first + rows]!] === expert) rows++;
    tiles.push(expert, first, rows);
    first += rows;
  }
  return { order: Uint32Array.from(order), tiles: Uint32Array.from([tiles.length / 3, ...tiles]) };
}

function compare(dtype: RowsShape["dtype"], known: readonly string[], run: Run): void {
  for (const [i, made] of [...cases, ...dtype === "f16" ? [] : normCases].entries()) {
    const { features, columns, paired = false, norm = false, add = false, bias = false, perToken = 1 } = made;
    const list = made.pairs === undefined ? null : tilesOf(made.pairs, made.tile!);
    const outputs = made.pairs?.length ?? made.rows!, inputs = outputs / perToken;
    const tokens = made.tile ?? outputs, experts = made.pairs ? Math.max(...made.pairs) + 1 : 1;
    const shape = { dtype, tokens, features, columns, paired, norm, tiles: list ? list.tiles[0]! : 1 };
    const plan = planRows(shape, made.multiprocessors, mostSharedBytes(90), [made.layout])!;
    assert.ok(plan !== null, JSON.stringify(shape));
    const rows = paired ? 2 * features : features;
    const weights = formats[dtype].encode(numbers(experts * rows * columns, 100 + i), columns);
    const values = formats[dtype].decode(weights, columns);
    const x = numbers(inputs * columns, 200 + i), gains = numbers(columns, 300 + i).map((g) => 1 + g);
    const biases = numbers(experts * rows, 400 + i),
      y = numbers(outputs * features, 500 + i),
      before = y.slice();
    const half = new Float16Array(1);
    const rounded = (v: number) => dtype === "f16" ? (half[0] = v, half[0]!) : bf16(v);
    const input = Float64Array.from(x, (v, k) => rounded(norm ? Math.fround(v * gains[k % columns]!) : v));
    const scales = Array.from({ length: inputs }, (_, m) => {
      const row = x.subarray(m * columns, (m + 1) * columns);
      return norm ? 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / columns + 1e-6) : 1;
    });
    const halves = dtype === "f16" ? new Uint16Array(Float16Array.from(input).buffer) : bf16Bits(input);
    const bytes = new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength);
    run(
      known.indexOf(plan.kernel),
      plan.blocks,
      plan.threads,
      BigInt(plan.sharedBytes),
      norm ? x : halves,
      norm ? gains : null,
      aligned(bytes),
      bias ? biases : null,
      y,
      0,
      tokens,
      features,
      columns,
      add ? 1 : 0,
      list?.tiles ?? null,
      list?.order ?? null,
      perToken,
      plan.slots,
    );
    let difference = 0, size = 0;
    for (let out = 0; out < outputs; out++) {
      const expert = made.pairs?.[out] ?? 0, m = Math.floor(out / perToken);
      const sum = (row: number) => {
        let sum = 0;
        for (let k = 0; k < columns; k++) {
          sum += values[(expert * rows + row) * columns + k]! * input[m * columns + k]!;
        }
        return sum * scales[m]! + (bias ? biases[expert * rows + row]! : 0);
      };
      for (let n = 0; n < features; n++) {
        let right = sum(n) + (add ? before[out * features + n]! : 0);
        if (paired) {
          const gate = Math.min(right, 7), up = Math.max(-7, Math.min(sum(features + n), 7));
          right = gate / (1 + Math.exp(-1.702 * gate)) * (up + 1);
        }
        difference += (y[out * features + n]! - right) ** 2, size += right ** 2;
      }
    }
    const error = Math.sqrt(difference / size);
    assert.ok(error < 2e-5, `${JSON.stringify(made)}: relative error ${error}`);
  }
}
