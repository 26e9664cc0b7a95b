// Candidates for the tiles of matrix products, timed at a model's shapes: what `kernels/webgpu/linear/divide.ts` should
// choose on a new kind of device, or after a change of a kernel.
//
//   deno run -A bench/tiles.ts [--shape qwen3-0.6b] [--rows 1,8,64,2048] [--products gate/up,down] [--candidates 60]
//                              [--tiles "64×64×32 8×4 buffers 2 slices 1 unroll 4 split 2; …"] [--best 6] [--out FILE]
//   for p in q/k/v output gate/up down; do deno run -A bench/tiles.ts --products $p --lock /tmp/tiles & done; wait
//
// Most of the time goes into compiling; with a lock file several processes share that, and the device is one's at a
// time. Candidates are drawn at random from all tiles that make sense, unless they are given by what their names say.
// Every candidate's result is compared with that of the tile which is chosen now, before it is timed: a fast wrong tile
// counts for nothing. Times contain the sum over parts behind and the preparation of the next product's input, so that
// tiles with and without divided sums compare.

import { openModel } from "../engine/model/open.ts";
import type { LinearRole } from "../kernels/webgpu/linear/linear.ts";
import { prepareCall } from "../kernels/webgpu/linear/prepare.ts";
import { list, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { relativeError } from "../tests/random.ts";
import { BenchDevice, type Bound } from "./gpu.ts";
import { type Candidate, candidates } from "./tiles/candidates.ts";
import { modelProducts, type Product } from "./tiles/products.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    shape: { type: "string", default: "qwen3-0.6b" },
    rows: { type: "string", default: "1,8,16,32,64,256,2048" },
    products: { type: "string", default: "q/k/v,output,gate/up,down" },
    candidates: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    best: { type: "string", default: "6" },
    tiles: { type: "string" },
    lock: { type: "string" },
    out: { type: "string" },
  },
});

using bench = await BenchDevice.open();
const caps = { ...bench.caps, software: false, f16: true };
const { config } = await openModel(`bench/shapes/${options.shape}`, { dummy: true });
const names = list(options.products, (name) => name);
const products = modelProducts(config).filter(({ name }) => names.includes(name));
const rows = list(options.rows, (part) => whole(part, "rows"));
const choice = {
  count: whole(options.candidates, "candidates"),
  seed: whole(options.seed, "seed"),
  given: options.tiles ?? null,
};

/** The dispatches of a candidate, bound to `buffers`, and what the next product's input takes beside them. */
function bind(
  { shape, next }: Product,
  tokens: number,
  { calls, preparesNext }: Candidate,
  plan: GPUBuffer,
  buffers: Record<LinearRole, GPUBuffer>,
): Bound[] {
  const bound = calls.map((call) => bench.bind(call, plan, buffers));
  if (next === null || preparesNext) return bound;
  const columns = shape.outputStride;
  const behind = { ...shape, columns, normEpsilon: next.normEpsilon, input: shape.output };
  const call = prepareCall(behind, tokens, next);
  const { output: input, nextNormWeight: normWeight, nextPrepared: prepared } = buffers;
  return [...bound, bench.bind(call, plan, { ...buffers, input, normWeight, prepared })];
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
    const tiles = candidates(product, tokens, caps, choice);
    const most = Math.max(...tiles.map(({ parts }) => parts));
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
    // Products without bias and experts.
    const { input } = shared, unused = { bias: input, routes: input, order: input, tiles: input };
    const bound = tiles.map((tile) =>
      weights.map((weight) => bind(product, tokens, tile, plan, { ...shared, ...unused, weight }))
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
        tile: tile.name,
        error: relativeError(got, expected),
        microseconds: Infinity,
        teraflops: 0,
      };
    });
    if (bench.errors.length > 0) throw new Error(bench.errors[0]);
    const operations = 2 * tokens * shape.rows * shape.columns;
    // About a millisecond, by the longer of arithmetic and memory.
    const count = Math.max(1, Math.min(16, Math.ceil(1000 / Math.max(operations / 3e7, weightBytes / 4e6))));
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
          ...["µs", "TFLOP/s", "GB/s", "error"],
        ],
        [lines[0]!, ...sorted.slice(0, whole(options.best, "best"))].map((line, i) => [
          `${i === 0 ? "now: " : ""}${line.tile}`,
          figure(line.microseconds),
          figure(line.teraflops),
          figure(weightBytes / line.microseconds / 1e3),
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
