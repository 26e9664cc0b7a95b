// Candidates for the tiles of matrix products, timed at a model's shapes: what `kernels/webgpu/linear/divide.ts` should
// choose on a new kind of device, or after a change of the kernel.
//
//   deno run -A bench/tiles.ts [--shape qwen3-0.6b] [--rows 64,2048] [--products gate/up,down] [--candidates 60]
//                              [--tiles "64×64×32 8×4 buffers 2 slices 1 unroll 4 split 2; …"] [--best 6] [--out FILE]
//   for p in q/k/v output gate/up down; do deno run -A bench/tiles.ts --products $p --lock /tmp/tiles & done; wait
//
// Most of the time goes into compiling; with a lock file several processes share that, and the device is one's at a time.
// Candidates are drawn at random from all tiles that make sense, unless they are given. Every candidate's result is compared with that of the
// tile which is chosen now, before it is timed: a fast wrong tile counts for nothing. Times contain the sum over parts
// behind and the preparation of the next product's input, so that tiles with and without divided sums compare.

import { openModel } from "../engine/model/open.ts";
import type { DeviceCaps } from "../kernels/webgpu/kernel.ts";
import { gemmTile, tileBytes } from "../kernels/webgpu/linear/divide.ts";
import { type GemmTile, threadCount } from "../kernels/webgpu/linear/gemm_tile.ts";
import type { LinearRole, LinearShape, Preparation } from "../kernels/webgpu/linear/linear.ts";
import { planGemm } from "../kernels/webgpu/linear/plan.ts";
import { prepareCall } from "../kernels/webgpu/linear/prepare.ts";
import { canPrepareNext } from "../kernels/webgpu/linear/reduce.ts";
import { list, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { relativeError } from "../tests/random.ts";
import { BenchDevice, type Bound } from "./gpu.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    shape: { type: "string", default: "qwen3-0.6b" },
    rows: { type: "string", default: "16,32,64,256,2048" },
    products: { type: "string", default: "q/k/v,output,gate/up,down" },
    candidates: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    best: { type: "string", default: "6" },
    tiles: { type: "string" },
    lock: { type: "string" },
    out: { type: "string" },
  },
});

interface Product {
  readonly name: string;
  readonly shape: LinearShape;
  /** What the product behind it wants; it is part of this one's cost. */
  readonly next: Preparation | null;
}

/** The products of a layer, and the head; their input is prepared already, as it is in a step. */
async function modelProducts(): Promise<Product[]> {
  const { config } = await openModel(`bench/shapes/${options.shape}`, { dummy: true });
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim, vocabSize } = config;
  const make = (
    rows: number,
    columns: number,
    epilogue: LinearShape["epilogue"],
    input: Partial<LinearShape>,
  ): LinearShape => ({
    rows,
    columns,
    dtype: "bf16",
    epilogue,
    normEpsilon: null,
    bias: false,
    input: "f32",
    output: "f32",
    outputStride: epilogue === "silu-mul" ? rows / 2 : rows,
    outputOffset: 0,
    countWord: 0,
    ...input,
  });
  const normed = { normEpsilon: 1e-6, prepared: true }, halves = { input: "f16" } as const;
  const norm: Preparation = { normEpsilon: 1e-6, type: "f16" },
    scale: Preparation = { normEpsilon: null, type: "f16" };
  const wide = numHeads * headDim;
  const all: Product[] = [
    { name: "q/k/v", shape: make(wide + 2 * numKvHeads * headDim, hiddenSize, "store", normed), next: null },
    { name: "output", shape: make(hiddenSize, wide, "add", halves), next: norm },
    { name: "gate/up", shape: make(2 * intermediateSize, hiddenSize, "silu-mul", normed), next: scale },
    { name: "down", shape: make(hiddenSize, intermediateSize, "add", { prepared: true }), next: norm },
    { name: "head", shape: make(vocabSize, hiddenSize, "store", halves), next: null },
  ];
  const wanted = list(options.products, (name) => name);
  return all.filter(({ name }) => wanted.includes(name));
}

/** A small generator of numbers in [0, 1), so that every process draws the same candidates. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Tiles to time: the one that is chosen now, and a sample of all that could be. */
function candidates({ shape }: Product, tokens: number, caps: DeviceCaps): GemmTile[] {
  const now = gemmTile(shape, tokens, caps);
  if (options.tiles !== undefined) {
    return [
      now,
      ...options.tiles.split(";").map((text) => parse(text, now, tokens)),
    ];
  }
  const few = tokens <= 64;
  const found: GemmTile[] = [];
  const each = <T>(values: readonly T[], body: (value: T) => void) => values.forEach(body);
  each(
    few ? [Math.min(64, tokens), tokens / 2] : [64, 128],
    (tileTokens) =>
      each(
        few ? [16, 32, 64, 128] : [32, 64, 128],
        (tileRows) =>
          each(few ? [32, 64, 128, 256] : [32, 64], (step) =>
            each(
              [[8, 4], [4, 4], [8, 8], [4, 8], ...(few ? [[8, 2], [4, 2], [2, 4], [2, 8]] : [])],
              (thread) =>
                each(few ? [1, 2, 4, 8] : [1], (slices) =>
                  each([1, 2] as const, (buffers) =>
                    each(tokens >= 1024 ? [1] : [1, 2, 4, 8, 16], (split) =>
                      each([2, 4, 8], (unroll) => {
                        const [threadTokens, threadRows] = thread as [number, number];
                        const across = tileRows / threadRows, down = tileTokens / threadTokens;
                        const lanesX = Math.max(Math.min(8, across), 32 / Math.max(1, down));
                        const sliceOctets = step / 8 / slices;
                        const tile: GemmTile = {
                          ...now,
                          ...{
                            arithmetic: "f16",
                            tileTokens,
                            tileRows,
                            step,
                            threadTokens,
                            threadRows,
                            lanesX,
                          },
                          ...{ slices, buffers, split, unroll: Math.min(unroll, sliceOctets) },
                        };
                        const threads = threadCount(tile);
                        const whole = [across / lanesX, down * lanesX / 32, sliceOctets / 2].every(
                          Number.isInteger,
                        );
                        const loads = Math.max(tileTokens, tileRows) * step / 8 / threads;
                        const groups = Math.ceil(shape.rows / tileRows) * Math.ceil(tokens / tileTokens) *
                          split;
                        if (!whole || threads < 64 || threads > (few ? 512 : 256) || loads > 8) {
                          return;
                        }
                        if (tileBytes(tile) > caps.maxWorkgroupBytes || (split > 1 && groups > 1200)) {
                          return;
                        }
                        if (groups < 96 || shape.columns / split < 2 * step) {
                          return;
                        }
                        if (unroll > sliceOctets && unroll !== 2) {
                          return;
                        }
                        if (shape.epilogue === "silu-mul" && threadRows % 2 !== 0) {
                          return;
                        }
                        found.push(tile);
                      })))),
            )),
      ),
  );
  const random = seeded(whole(options.seed, "seed") + tokens + shape.rows);
  const sample = found.map((tile) => ({ tile, at: random() })).sort((a, b) => a.at - b.at)
    .slice(0, whole(options.candidates, "candidates"));
  return [now, ...sample.map(({ tile }) => tile)];
}

const describe = (t: GemmTile) =>
  `${t.tileTokens}×${t.tileRows}×${t.step} ${t.threadTokens}×${t.threadRows} buffers ${t.buffers} slices ${t.slices} ` +
  `unroll ${t.unroll} split ${t.split}`;

/** A tile from the numbers that {@link describe} names, in that order; without lanes, the usual ones. */
function parse(text: string, now: GemmTile, tokens: number): GemmTile {
  const numbers = text.trim().split(/[^0-9]+/).map(Number);
  if (numbers.length !== 9) throw new Error(`"${text}" is not a tile of nine numbers`);
  const [height, tileRows, step, threadTokens, threadRows, buffers, slices, unroll, split] = numbers as [
    ...[number, number, number, number, number, 1 | 2, number, number, number],
  ];
  const tileTokens = Math.min(height, Math.max(16, tokens));
  const lanesX = Math.max(Math.min(8, tileRows / threadRows), 32 / Math.max(1, tileTokens / threadTokens));
  return {
    ...now,
    ...{
      arithmetic: "f16",
      tileTokens,
      tileRows,
      step,
      threadTokens,
      threadRows,
      lanesX,
      buffers,
      slices,
      unroll,
      split,
    },
  };
}

using bench = await BenchDevice.open();
const caps = { ...bench.caps, software: false, f16: true };
const products = await modelProducts();
const rows = list(options.rows, (part) => whole(part, "rows"));

/** The dispatches of a product with a tile, bound to `buffers`. */
function bind(
  { shape, next }: Product,
  tokens: number,
  tile: GemmTile,
  plan: GPUBuffer,
  buffers: Record<LinearRole, GPUBuffer>,
): Bound[] {
  const onTheWay = tile.split > 1 && canPrepareNext(shape) ? next : null;
  const bound = planGemm({ ...shape, next: onTheWay }, tokens, tile).calls
    .map((call) => bench.bind(call, plan, buffers));
  if (next === null || onTheWay !== null) return bound;
  const behind = {
    ...shape,
    columns: shape.outputStride,
    normEpsilon: next.normEpsilon,
    input: shape.output,
  };
  return [
    ...bound,
    bench.bind(prepareCall(behind, tokens, next), plan, {
      ...buffers,
      ...{ input: buffers.output, normWeight: buffers.nextNormWeight, prepared: buffers.nextPrepared },
    }),
  ];
}

console.log(`${bench.description}\n`);
const results = [];
for (const product of products) {
  const { name, shape, next } = product;
  for (const tokens of rows) {
    const words = new Uint32Array(64);
    words[shape.countWord] = tokens;
    const plan = bench.words(words);
    const outputs = tokens * shape.outputStride;
    const compared = Math.min(4 * outputs, 1 << 20);
    // Weights rotate through more than the last-level cache holds.
    const weightBytes = 2 * shape.rows * shape.columns;
    const weights = Array.from(
      { length: caps.parallelism < 64 ? 1 : Math.ceil(200e6 / weightBytes) },
      (_, i) => bench.random(weightBytes, "bf16", 1 / Math.sqrt(shape.columns), 11 + i),
    );
    const tiles = candidates(product, tokens, caps);
    const most = Math.max(...tiles.map(({ split }) => split > 1 ? split : 0));
    const shared = {
      input: bench.random(4 * tokens * shape.columns, shape.input, 1, 2),
      prepared: bench.random(2 * tokens * shape.columns, "f16", 1, 2),
      rowScales: bench.random(4 * tokens, "f32", 1, 4),
      normWeight: bench.random(4 * shape.columns, "f32", 1, 3),
      nextNormWeight: bench.random(4 * shape.outputStride, "f32", 1, 3),
      nextPrepared: bench.buffer(2 * outputs),
      output: bench.buffer(4 * outputs),
      parts: bench.buffer(4 * most * tokens * shape.rows),
    };
    const bound = tiles.map((tile) =>
      weights.map((weight) => bind(product, tokens, tile, plan, { ...shared, weight, bias: shared.input }))
    );
    const lock = options.lock === undefined
      ? null
      : Deno.openSync(options.lock, { create: true, write: true });
    lock?.lockSync(true);
    const zeros = new Uint8Array(compared);
    let expected: Float32Array | null = null;
    const lines = tiles.map((tile, i) => {
      bench.device.queue.writeBuffer(shared.output, 0, zeros);
      bench.submit((pass) => bound[i]![0]!.forEach((one) => bench.record(pass, one)));
      const got = new Float32Array(bench.read(shared.output, compared));
      expected ??= got;
      return {
        tile: describe(tile),
        error: relativeError(got, expected),
        microseconds: Infinity,
        teraflops: 0,
      };
    });
    if (bench.errors.length > 0) throw new Error(bench.errors[0]);
    const operations = 2 * tokens * shape.rows * shape.columns;
    const count = Math.max(1, Math.min(16, Math.ceil(1000 / (operations / 3e7))));
    // An idle chip runs at a fraction of its clock: it is kept busy until that has risen, and from then on.
    const began = performance.now();
    while (!bench.caps.software && performance.now() - began < 700) bench.time(bound[0]!, count, 1);
    for (let round = 0; round < 2; round++) {
      lines.forEach((line, i) => {
        if (!(line.error < 3e-3)) return;
        line.microseconds = Math.min(line.microseconds, bench.time(bound[i]!, count, 3));
        line.teraflops = operations / line.microseconds / 1e6;
      });
    }
    lock?.close();
    for (const buffer of [...weights, ...Object.values(shared), plan]) buffer.destroy();
    const sorted = lines.toSorted((a, b) => a.microseconds - b.microseconds);
    results.push({ name, tokens, shape, next, chosen: lines[0], lines: sorted });
    console.log(
      table(
        [
          `${name} ${shape.rows}×${shape.columns}, ${tokens} rows, ${lines.length} tiles`,
          "µs",
          "TFLOP/s",
          "error",
        ],
        [lines[0]!, ...sorted.slice(0, whole(options.best, "best"))].map((line, i) => [
          `${i === 0 ? "now: " : ""}${line.tile}`,
          figure(line.microseconds),
          figure(line.teraflops),
          line.error.toExponential(1),
        ]),
      ) + "\n",
    );
  }
}
if (options.out !== undefined) {
  const result = { kind: "tiles", environment: await environment(), device: bench.description, results };
  await writeResult(options.out, result);
}
Deno.exit(0);
