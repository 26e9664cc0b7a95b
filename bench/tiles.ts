// Candidates for the tiles of matrix products, timed at a model's shapes: what `kernels/webgpu/linear/divide.ts` should
// choose on a new kind of device, or after a change of the kernel.
//
//   deno run -A bench/tiles.ts [--shape qwen3-0.6b] [--rows 256,2048] [--products gate/up,down] [--best 8] [--out FILE]
//
// Every candidate's result is compared with that of the tile which is chosen now, before it is timed: a fast wrong tile
// counts for nothing. Times contain the norm in front and the sum over parts behind, where a plan has them.

import { openModel } from "../engine/model/open.ts";
import { gemmTile, tileBytes } from "../kernels/webgpu/linear/divide.ts";
import type { GemmTile } from "../kernels/webgpu/linear/gemm_tile.ts";
import type { LinearRole, LinearShape } from "../kernels/webgpu/linear/linear.ts";
import { planGemm } from "../kernels/webgpu/linear/plan.ts";
import { list, readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { relativeError } from "../tests/random.ts";
import { BenchDevice } from "./gpu.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    shape: { type: "string", default: "qwen3-0.6b" },
    rows: { type: "string", default: "256,2048" },
    products: { type: "string", default: "q/k/v,output,gate/up,down" },
    best: { type: "string", default: "8" },
    passes: { type: "string", default: "5" },
    out: { type: "string" },
  },
});
const passes = whole(options.passes, "passes");

/** The products of a layer. */
async function productShapes(): Promise<{ name: string; shape: LinearShape }[]> {
  const { config } = await openModel(`bench/shapes/${options.shape}`, { dummy: true });
  const { hiddenSize, intermediateSize, numHeads, numKvHeads, headDim } = config;
  const make = (
    rows: number,
    columns: number,
    epilogue: LinearShape["epilogue"],
    normed: boolean,
  ): LinearShape => ({
    rows,
    columns,
    dtype: "bf16",
    epilogue,
    normEpsilon: normed ? 1e-6 : null,
    bias: false,
    input: "f32",
    output: "f32",
    outputStride: epilogue === "silu-mul" ? rows / 2 : rows,
    outputOffset: 0,
    countWord: 0,
  });
  const all = [
    { name: "q/k/v", shape: make((numHeads + 2 * numKvHeads) * headDim, hiddenSize, "store", true) },
    { name: "output", shape: make(hiddenSize, numHeads * headDim, "store", false) },
    { name: "gate/up", shape: make(2 * intermediateSize, hiddenSize, "silu-mul", true) },
    { name: "down", shape: make(hiddenSize, intermediateSize, "store", false) },
  ];
  const wanted = list(options.products, (name) => name);
  return all.filter(({ name }) => wanted.includes(name));
}

/**
 * What is tried beside the tile that is chosen now. A thread with 8 × 8 results loads a third less from workgroup memory
 * for a product than one with 8 × 4, but has twice the registers; code that is written out less has fewer loads in
 * flight and needs fewer registers, so that more warps fit; two buffers need one barrier a step instead of two.
 */
const tried = [
  shapeOf(128, 64, 64, 8, 4, 8, 1, 8),
  shapeOf(128, 64, 64, 8, 4, 8, 1, 4),
  shapeOf(128, 64, 64, 8, 4, 8, 1, 2),
  shapeOf(128, 64, 64, 8, 4, 16, 1, 4),
  shapeOf(128, 64, 32, 8, 4, 8, 2, 4),
  shapeOf(128, 64, 32, 8, 4, 8, 2, 2),
  shapeOf(64, 64, 64, 8, 4, 8, 1, 8),
  shapeOf(64, 64, 64, 8, 4, 8, 1, 4),
  shapeOf(64, 64, 64, 8, 4, 8, 1, 2),
  shapeOf(64, 64, 32, 8, 4, 8, 2, 4),
  shapeOf(64, 64, 64, 4, 4, 8, 1, 4),
  shapeOf(64, 128, 64, 4, 8, 16, 1, 4),
  shapeOf(64, 128, 64, 4, 8, 8, 1, 2),
  shapeOf(128, 128, 32, 8, 8, 8, 1, 4),
  shapeOf(128, 128, 32, 8, 8, 8, 1, 2),
  shapeOf(128, 128, 32, 8, 8, 8, 2, 2),
  shapeOf(64, 128, 64, 8, 8, 8, 1, 2),
  shapeOf(128, 64, 64, 8, 8, 8, 1, 2),
  shapeOf(64, 64, 64, 8, 8, 8, 1, 2),
  shapeOf(64, 64, 64, 8, 8, 8, 1, 4),
];

function shapeOf(
  tileTokens: number,
  tileRows: number,
  step: number,
  threadTokens: number,
  threadRows: number,
  lanesX: number,
  buffers: 1 | 2,
  unroll: number,
) {
  return { tileTokens, tileRows, step, threadTokens, threadRows, lanesX, buffers, unroll, slices: 1 };
}

/** The tiles to time, the one that is chosen now first. */
function candidates(now: GemmTile, { caps }: BenchDevice): GemmTile[] {
  const others = tried.map((changes): GemmTile => ({ ...now, ...changes }))
    .filter((tile) => tileBytes(tile) <= caps.maxWorkgroupBytes && describe(tile) !== describe(now));
  return [now, ...others];
}

const describe = (t: GemmTile) =>
  `${t.tileTokens}×${t.tileRows}×${t.step} ${t.threadTokens}×${t.threadRows} lanes ${t.lanesX} buffers ${t.buffers} ` +
  `unroll ${t.unroll} flush ${t.flush}${t.split > 1 ? ` split ${t.split}` : ""}`;

using bench = await BenchDevice.open();
console.log(`${bench.description}\n`);
const results = [];
for (const { name, shape } of await productShapes()) {
  for (const tokens of list(options.rows, (part) => whole(part, "rows"))) {
    const words = new Uint32Array(64);
    words[shape.countWord] = tokens;
    const planBuffer = bench.words(words);
    const outputs = tokens * shape.outputStride;
    const compared = Math.min(4 * outputs, 1 << 20);
    // Weights rotate through more than the last-level cache holds.
    const weightBytes = 2 * shape.rows * shape.columns;
    const weights = Array.from(
      { length: bench.caps.software ? 1 : Math.ceil(200e6 / weightBytes) },
      (_, i) => bench.random(weightBytes, "bf16", 1 / Math.sqrt(shape.columns), 11 + i),
    );
    const input = bench.random(4 * tokens * shape.columns, "f32", 1, 2);
    const normWeight = bench.random(4 * shape.columns, "f32", 1, 3);
    const output = bench.buffer(4 * outputs);
    const now = gemmTile(shape, tokens, { ...bench.caps, software: false, f16: true });
    const lines: { tile: string; microseconds: number; teraflops: number; error: number; compile: number }[] =
      [];
    let expected: Float32Array | null = null;
    for (const tile of candidates(now, bench)) {
      const plan = planGemm(shape, tokens, tile);
      const scratchA = bench.buffer(plan.scratchA), scratchB = bench.buffer(plan.scratchB);
      const compiled = bench.compileTime;
      const bound = weights.map((weight) => {
        const buffers: Record<LinearRole, GPUBuffer> = {
          ...{ input, normWeight, weight, bias: input, output, scratchA, scratchB },
        };
        return plan.calls.map((call) => bench.bind(call, planBuffer, buffers));
      });
      bench.submit((pass) => bound[0]!.forEach((one) => bench.record(pass, one)));
      const got = new Float32Array(bench.read(output, compared));
      expected ??= got;
      const error = relativeError(got, expected);
      const microseconds = error < 3e-3 ? bench.time(bound, bound.length > 1 ? 8 : 1, passes) : NaN;
      const teraflops = 2 * tokens * shape.rows * shape.columns / microseconds / 1e6;
      lines.push({
        tile: describe(tile),
        microseconds,
        teraflops,
        error,
        compile: bench.compileTime - compiled,
      });
      scratchA.destroy();
      scratchB.destroy();
    }
    for (const buffer of [...weights, input, normWeight, output, planBuffer]) buffer.destroy();
    const [chosen] = lines;
    const sorted = lines.toSorted((a, b) => (a.microseconds || Infinity) - (b.microseconds || Infinity));
    results.push({ name, tokens, shape, chosen, lines: sorted });
    const shown = [chosen!, ...sorted.slice(0, whole(options.best, "best"))];
    console.log(
      table(
        [`${name} ${shape.rows}×${shape.columns}, ${tokens} rows`, "µs", "TFLOP/s", "error", "compile ms"],
        shown.map((line, i) => [
          `${i === 0 ? "now: " : ""}${line.tile}`,
          figure(line.microseconds),
          figure(line.teraflops),
          line.error.toExponential(1),
          figure(line.compile),
        ]),
      ) + "\n",
    );
    if (bench.errors.length > 0) throw new Error(bench.errors[0]);
  }
}
if (options.out !== undefined) {
  const result = { kind: "tiles", environment: await environment(), device: bench.description, results };
  await writeResult(options.out, result);
}
Deno.exit(0);
