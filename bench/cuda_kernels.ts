// The CUDA kernels of products and attention by themselves: checked against float64, then timed.
//
//   deno run -A bench/cuda_kernels.ts --ptx FOLDER
//     [--only check-products,check-attention,few,steps,prompts,q8,decode,prefill,experts] [--all] [--chosen] [--every N]
//     [--kernel PART-OF-NAME] [--rows 64,256] [--out FILE]
//
// FOLDER has a PTX file for every module (NAME.ptx). Times are medians of replays of a graph in which weights rotate
// through more memory than the caches hold. `--all` lists every candidate and not only the best three, `--chosen` times
// what the chooser takes only, `--every` checks each N-th case. The figures of cuBLAS and of PyTorch's flash attention
// come from bench/cuda_kernels/torch_figures.py, to be run beside it: a card's clock falls with its temperature.

import { timeDecode, timePrefill } from "./cuda_kernels/attention.ts";
import { checkAttention } from "./cuda_kernels/attention_checks.ts";
import { prefillTiles } from "../kernels/cuda/attention/attention.ts";
import { Pool } from "./cuda_kernels/data.ts";
import { Gpu } from "./cuda_kernels/gpu.ts";
import { checkExpand, checkPrepare } from "./cuda_kernels/preparation.ts";
import { checkProducts } from "./cuda_kernels/product_checks.ts";
import { type Scratch, timeExpand, timeProduct } from "./cuda_kernels/products.ts";
import { large, small, stepLine, timeStep } from "./cuda_kernels/steps.ts";
import { mostExpertTiles, planProduct } from "../kernels/cuda/gemm/product.ts";
import type { ProductShape } from "../kernels/cuda/gemm/shape.ts";

const option = (name: string) => {
  const at = Deno.args.indexOf(name);
  return at < 0 ? null : Deno.args[at + 1] ?? null;
};
const folder = option("--ptx");
if (folder === null) {
  console.error("bench/cuda_kernels.ts needs --ptx FOLDER with the compiled modules");
  Deno.exit(2);
}
const only = option("--only")?.split(",") ??
  ["check-products", "check-attention", "few", "prompts", "q8", "decode", "prefill", "experts"];
const all = Deno.args.includes("--all");
const chosenOnly = Deno.args.includes("--chosen");
const elements = (["bf16", "f16"] as const).filter((type) =>
  (option("--elements") ?? type).split(",").includes(type)
);
const every = Number(option("--every") ?? 1);
const gpu = new Gpu(folder);
console.log(`${gpu.name}, ${gpu.multiprocessors} multiprocessors, compute capability ${gpu.capability / 10}`);
// The head of Qwen3-8B takes ten.
const copies = only.includes("steps") ? 12 : 8;
const pools = { bf16: new Pool("bf16", gpu, 1 << 26, copies), f16: new Pool("f16", gpu, 1 << 26, 8) };
const outputBytes = 256 << 20;
const scratch: Scratch = {
  partials: gpu.alloc(256 << 20),
  counters: gpu.alloc(1 << 20),
  output: gpu.alloc(outputBytes),
  outputBytes,
};
gpu.fill(scratch.counters, 0, 1 << 20);
gpu.fill(scratch.output, 0, outputBytes);

const wrong: string[] = [];
for (const element of elements) {
  const pool = pools[element];
  // One type in full, the other in part: the code is the same but for the instructions.
  const results = [
    ...(only.includes("check-products")
      ? [
        checkProducts(gpu, pool, scratch, every * (element === "bf16" ? 1 : 3)),
        checkPrepare(gpu, element),
        checkExpand(gpu, pool),
      ]
      : []),
    ...(only.includes("check-attention")
      ? [checkAttention(gpu, pool, every * (element === "f16" ? 1 : 3))]
      : []),
  ];
  for (const { lines, right } of results) {
    console.log(lines.slice(-30).join("\n"));
    if (!right) wrong.push(element);
  }
}
if (wrong.length > 0) {
  console.log("WRONG RESULTS");
  Deno.exit(1);
}

function product(
  tokens: number,
  rows: number,
  columns: number,
  mode: ProductShape["mode"],
  dtype: ProductShape["dtype"] = "bf16",
): ProductShape {
  return { tokens, rows, columns, mode, dtype, element: "bf16" };
}
const tail = (
  timings: { name: string; microseconds: number; chosen: boolean }[],
  figure: (us: number) => string,
) =>
  timings.filter((t, i) => all || i < 3 || t.chosen).map((t) =>
    `${t.chosen ? "*" : ""}${t.name} ${t.microseconds.toFixed(1)} us ${figure(t.microseconds)}`
  ).join(" | ");

if (only.includes("few")) {
  console.log("few rows (tokens x rows x columns): best candidates, * chosen; GB/s of weights");
  const eight = [[4096, 4096, "add-f32"], [6144, 4096, "store"], [24576, 4096, "silu-mul"], [
    4096,
    12288,
    "add-f32",
  ]] as const;
  const small = [[1024, 2048, "add-f32"], [6144, 1024, "silu-mul"], [1024, 3072, "add-f32"], [
    151936,
    1024,
    "store-f32",
  ]] as const;
  for (const dtype of ["bf16", "q8"] as const) {
    for (const [rows, columns, mode] of [...eight, ...(dtype === "bf16" ? small : [])]) {
      for (const tokens of dtype === "q8" ? [16, 64] : [1, 8, 16, 32, 64, 128]) {
        const shape = product(tokens, rows, columns, mode, dtype);
        const bytes = rows * columns * (dtype === "q8" ? 1.0625 : 2);
        const splits = [1, 2, 3, 4, 6, 8, 12, 16];
        const timings = timeProduct(
          gpu,
          pools[dtype === "q8" ? "f16" : "bf16"],
          scratch,
          dtype === "q8" ? { ...shape, element: "f16" } : shape,
          splits,
          (t) => !chosenOnly && t.tokens <= Math.max(tokens, 16),
        );
        console.log(
          `${dtype} ${tokens}x${rows}x${columns} ${mode}: ${
            tail(timings, (us) => `${(bytes / us / 1e3).toFixed(0)} GB/s`)
          }`,
        );
      }
    }
  }
}

if (only.includes("steps")) {
  console.log("steps: µs of memory at 3 TB/s and of 700 TFLOP/s, what is chosen, the best");
  const rows = (option("--rows") ?? "48,64,96,128,160,192,224,256").split(",").map(Number), found = [];
  for (const shape of [...large, ...small]) {
    for (const tokens of rows) {
      if (small.includes(shape) && tokens % 64 !== 0) continue;
      const timings = timeStep(gpu, pools.bf16, scratch, shape, tokens);
      found.push({ shape, tokens, timings });
      console.log(stepLine(shape, tokens, timings));
    }
  }
  const out = option("--out");
  if (out !== null) Deno.writeTextFileSync(out, JSON.stringify(found) + "\n");
}

if (only.includes("prompts")) {
  console.log("prompts: TFLOP/s");
  const shapes: [number, number, number, ProductShape["mode"]][] = [
    [4096, 4096, 4096, "store"],
    [2048, 4096, 1024, "store"],
    [2048, 6144, 1024, "store"],
    [2048, 6144, 1024, "silu-mul"],
    [2048, 1024, 3072, "store"],
    [2048, 1024, 3072, "add-f32"],
    [2048, 12288, 4096, "store"],
    [2048, 24576, 4096, "store"],
    [2048, 24576, 4096, "silu-mul"],
    [2048, 4096, 12288, "add-f32"],
    [512, 4096, 1024, "store"],
    [512, 6144, 1024, "silu-mul"],
    [512, 1024, 3072, "add-f32"],
    [512, 6144, 4096, "store"],
    [512, 24576, 4096, "silu-mul"],
    [256, 4096, 4096, "add-f32"],
    [256, 24576, 4096, "silu-mul"],
  ];
  for (const [tokens, rows, columns, mode] of shapes) {
    const flops = 2 * tokens * rows * columns;
    const timings = timeProduct(
      gpu,
      pools.bf16,
      scratch,
      product(tokens, rows, columns, mode),
      tokens > 1024 ? [1, 2] : [1, 2, 3, 4],
      (t) => !chosenOnly && t.tokens >= 64,
    );
    console.log(
      `${tokens}x${rows}x${columns} ${mode}: ${tail(timings, (us) => `${(flops / us / 1e6).toFixed(0)}`)}`,
    );
  }
}

if (only.includes("q8")) {
  console.log("int8 weights for prompts: expanding tiles on the way (TFLOP/s), or the whole matrix in front");
  for (
    const [tokens, rows, columns] of [[128, 12288, 4096], [512, 12288, 4096], [2048, 12288, 4096]] as const
  ) {
    const shape: ProductShape = { ...product(tokens, rows, columns, "store", "q8"), element: "f16" };
    const timings = timeProduct(gpu, pools.f16, scratch, shape, [1], (t) => !chosenOnly && t.tokens >= 64);
    const whole = timeExpand(gpu, pools.f16, scratch, rows, columns);
    console.log(
      `${tokens}x${rows}x${columns}: ${
        tail(timings, (us) => `${(2 * tokens * rows * columns / us / 1e6).toFixed(0)}`)
      }; ` +
        `expanding ${whole.toFixed(1)} us`,
    );
  }
}

if (only.includes("experts")) {
  console.log("experts (128, 8 a token, 1536 x 2048 and 2048 x 768): GB/s of the experts' weights, TFLOP/s");
  for (const tokens of [16, 64, 256, 2048]) {
    for (
      const [rows, columns, mode, gather] of [[1536, 2048, "silu-mul", true], [
        2048,
        768,
        "store-f32",
        false,
      ]] as const
    ) {
      const pairs = tokens * 8, count = 128;
      const shape: ProductShape = { ...product(pairs, rows, columns, mode), experts: { count, gather } };
      const plan = planProduct(shape, gpu);
      const lists: number[] = [];
      const each = pairs / count;
      for (let e = 0; e < Math.min(count, pairs); e++) {
        for (let i = 0; i < each; i += plan.tileTokens) {
          lists.push(e, e * each + i, Math.min(plan.tileTokens, each - i));
        }
      }
      const tiles = gpu.upload(Uint32Array.from([lists.length / 3, ...lists]));
      const order = gpu.upload(Uint32Array.from({ length: pairs }, (_, i) => (i * 7 + 3) % pairs));
      const experts = { tiles, order, perToken: gather ? 8 : 0, scatter: !gather, inputRows: pairs };
      const timings = timeProduct(
        gpu,
        pools.bf16,
        scratch,
        shape,
        [1],
        (t) => t.tokens === plan.tileTokens,
        experts,
      );
      const bytes = 2 * rows * columns * Math.min(count, pairs), flops = 2 * pairs * rows * columns;
      console.log(
        `${tokens} tokens ${rows}x${columns} (at most ${
          mostExpertTiles(pairs, count, plan.tileTokens)
        } tiles): ${
          tail(
            timings,
            (us) => `${(bytes / us / 1e3).toFixed(0)} GB/s ${(flops / us / 1e6).toFixed(0)} TFLOP/s`,
          )
        }`,
      );
      gpu.free(tiles);
      gpu.free(order);
    }
  }
}

if (only.includes("decode")) {
  console.log("decode attention, heads of 128, f16: GB/s of keys and values");
  for (const [numHeads, numKvHeads] of [[16, 8], [32, 8]] as const) {
    for (
      const [queries, length] of [
        [1, 128],
        [1, 1024],
        [1, 8192],
        [1, 32768],
        [8, 1024],
        [32, 1024],
        [64, 1024],
        [32, 4096],
        [256, 512],
      ] as const
    ) {
      const best = [...new Set([undefined, 1, 2, 4, 8, 16, 32, 64])].map((s) =>
        timeDecode(gpu, pools.f16, numHeads, numKvHeads, queries, length, s)
      );
      const show = (r: typeof best[0]) =>
        `${r.splits} splits ${r.microseconds.toFixed(1)} us ${r.gigabytes.toFixed(0)} GB/s`;
      const least = best.slice(1).reduce((a, b) => a.microseconds < b.microseconds ? a : b);
      console.log(
        `${numHeads}/${numKvHeads} ${queries} x ${length}: chosen ${show(best[0]!)}; best ${show(least)}`,
      );
    }
  }
}

if (only.includes("prefill")) {
  console.log("prefill attention, heads of 128, f16: TFLOP/s");
  for (const [numHeads, numKvHeads] of [[16, 8], [32, 8]] as const) {
    for (const [cached, extend] of [[0, 512], [0, 2048], [0, 8192], [6144, 2048], [0, 32768]] as const) {
      const found = prefillTiles({ numHeads, numKvHeads, headDim: 128 }, gpu.capability, "f16").map((
        tile,
      ) => ({
        kernel: tile.kernel,
        ...timePrefill(gpu, pools.f16, numHeads, numKvHeads, cached, extend, tile),
      }));
      const shown = found.map((f) => `${f.kernel} ${f.microseconds.toFixed(0)} us ${f.tflops.toFixed(0)}`);
      console.log(`${numHeads}/${numKvHeads} ${cached}+${extend}: ${shown.join(" | ")}`);
    }
  }
}
