// Speed of the CPU backend: streaming and products by themselves, then decode and prefill of a model's shape with
// random weights, through the same decoder and backend as in the engine.
//
//   deno run -A bench/cpu.ts [--shape qwen3-0.6b] [--dtype auto,int8] [--threads 2] [--batches 1,2,4,8] [--prompt 512]
//     [--context 128] [--kv-dtype auto,int8] [--kernels-only | --attention-only | --model-only]
//
// The ceiling for streaming is a product of one row with a large float32 matrix: one load and one multiply-add per
// 16 bytes. Every figure is the best of several runs, since others may use the machine too.

import { choice, readOptions } from "./common/arguments.ts";
import { Decoder } from "../engine/model/decoder.ts";
import { loadDecoderWeights } from "../engine/model/load.ts";
import { openModel } from "../engine/model/open.ts";
import type { DTypeOption } from "../engine/weights/device_types.ts";
import { createCpuBackend } from "../kernels/cpu/backend.ts";
import { type DType, rowBytes } from "../kernels/formats/mod.ts";
import { kvBytesPerToken, type KvDType, kvDTypes, kvFormat } from "../kernels/kv_format.ts";
import { type Backend, matrixBytes, type StateSpec } from "../kernels/ops.ts";
import { plan, smallState, type TestSequence } from "../tests/kernels/plans.ts";

const { values: options } = readOptions(import.meta.url, {
  options: {
    shape: { type: "string", default: "qwen3-0.6b" },
    dtype: { type: "string", default: "auto,int8" },
    threads: { type: "string", default: String(navigator.hardwareConcurrency) },
    batches: { type: "string", default: "1,2,4,8" },
    prompt: { type: "string", default: "512" },
    context: { type: "string", default: "128" },
    "kv-dtype": { type: "string", default: "auto" },
    "kernels-only": { type: "boolean", default: false },
    "attention-only": { type: "boolean", default: false },
    "model-only": { type: "boolean", default: false },
  },
});
const threads = Number(options.threads);
const kvTypes = options["kv-dtype"].split(",").map((name) => choice(name, "kv-dtype", kvDTypes));

/** Smallest time of `runs` calls, in seconds. */
async function best(runs: number, run: () => unknown): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await run();
    least = Math.min(least, performance.now() - start);
  }
  return least / 1000;
}

/** For products and attention of up to 512 tokens. */
const state: StateSpec = { ...smallState, contextLength: 1024, maxTokens: 512 };

/** Products of a [rows, columns] matrix with 1 … 512 tokens. */
async function benchProducts(): Promise<void> {
  using backend = await createCpuBackend({ threads, allThreads: "started" });
  console.log(`${backend.info.description}\n`);
  backend.createState(state);
  const cases: [DType, rows: number, columns: number, tokens: number[]][] = [
    ["f32", 65536, 2048, [1]],
    ["bf16", 131072, 2048, [1]],
    ["f16", 131072, 2048, [1]],
    ["bf16", 65536, 1024, [1, 2, 3, 4, 8, 16, 128, 512]],
    ["bf16", 4096, 1024, [1, 8, 512]],
    ["bf16", 1024, 3072, [1, 8, 512]],
    ["f16", 4096, 1024, [1, 8, 512]],
    ["f32", 4096, 1024, [1, 8, 512]],
    ["q8", 131072, 2048, [1]],
    ["q8", 65536, 1024, [1, 2, 3, 4, 8, 16, 128, 512]],
    ["q8", 4096, 1024, [1, 8, 512]],
    ["q8", 1024, 3072, [1, 8, 512]],
  ];
  console.log("product                  tokens     µs      GB/s   GFLOP/s");
  for (const [dtype, rows, columns, counts] of cases) {
    const matrix = backend.createMatrix({ name: "w", rows, columns, dtype });
    const piece = new Uint8Array(Math.min(rows, 4096) * rowBytes(dtype, columns)).fill(0x3c);
    for (let row = 0; row < rows; row += 4096) backend.writeRows(matrix, row, piece);
    const input = backend.createActivation(columns, "hidden"),
      output = backend.createActivation(rows, "hidden");
    for (const tokens of counts) {
      const step = plan(1, [{ row: 0, cached: 0, extend: tokens, sample: false }]);
      const repeat = Math.max(1, Math.round(2e8 / (rows * columns * Math.max(4, tokens))));
      const seconds = await best(8, () => {
        const recorded = backend.record(step, (ops) => {
          for (let i = 0; i < repeat; i++) ops.linear({ input, weight: matrix, output, epilogue: "store" });
        });
        recorded.submit();
        return recorded.read();
      }) / repeat;
      const gigabytes = rows * rowBytes(dtype, columns) / seconds / 1e9;
      const gigaflops = 2 * rows * columns * tokens / seconds / 1e9;
      console.log(
        `${dtype.padEnd(5)}${`${rows} × ${columns}`.padEnd(18)}${String(tokens).padStart(8)}` +
          `${(seconds * 1e6).toFixed(0).padStart(9)}${gigabytes.toFixed(1).padStart(9)}` +
          `${gigaflops.toFixed(1).padStart(10)}`,
      );
    }
  }
}

/** Rotation, store and attention of 16 query and 8 key/value heads of 128, one layer: single tokens and a prompt. */
async function benchAttention(kvDType: KvDType): Promise<void> {
  const heads = { numHeads: 16, numKvHeads: 8, headDim: 128 }, contextLength = 4096, width = 32 * 128;
  using backend = await createCpuBackend({ threads, allThreads: "started" });
  backend.createState({ ...state, kvDType, heads, numPages: 2048, maxRows: 8, contextLength });
  const qkv = backend.createActivation(width, "hidden"),
    output = backend.createActivation(16 * 128, "hidden");
  backend.writeActivation(qkv, new Float32Array(512 * width).fill(0.5));
  // A turn by nothing, so that the numbers stay as they are however often they are turned.
  const angles = contextLength * heads.headDim / 2;
  const rope = backend.createRopeTable(
    new Float32Array(angles).fill(1),
    new Float32Array(angles),
    heads.headDim / 2,
  );
  const pages = Array.from(
    { length: 2048 },
    (_, i) => [Math.floor(i / 256), i % 256, i] as const,
  );
  console.log(`\nattention, cache ${kvDType.padEnd(5)}             µs      GB/s   GFLOP/s`);
  const cases: [string, TestSequence[]][] = [
    ...[256, 1024, 4095].map((cached): [string, TestSequence[]] => [
      `1 token behind ${cached}`,
      [{ row: 0, cached, extend: 1 }],
    ]),
    ["8 × 1 token behind 512", Array.from({ length: 8 }, (_, row) => ({ row, cached: 512, extend: 1 }))],
    ["512 tokens", [{ row: 0, cached: 0, extend: 512 }]],
    ["512 tokens behind 2048", [{ row: 0, cached: 2048, extend: 512 }]],
  ];
  // The first case twice: V8 optimises a kernel while it runs.
  for (const [i, [name, sequences]] of [cases[0]!, ...cases].entries()) {
    const step = plan(1, sequences.map((s) => ({ ...s, sample: false })), i === 0 ? { pages } : {});
    const repeat = sequences[0]!.extend > 1 ? 1 : 20;
    const seconds = await best(i === 0 ? 100 : 10, () => {
      const recorded = backend.record(step, (ops) => {
        for (let i = 0; i < repeat; i++) {
          ops.attention({ qkv, heads, rope, output, layer: 0, scale: 0.09, window: null });
        }
      });
      recorded.submit();
      return recorded.read();
    }) / repeat;
    if (i === 0) continue;
    let keys = 0, pairs = 0;
    for (const { cached, extend } of sequences) {
      keys += cached + extend;
      pairs += extend * cached + extend * (extend + 1) / 2;
    }
    const gigabytes = keys * kvBytesPerToken(kvFormat(backend, kvDType), heads, 1) / seconds / 1e9;
    console.log(
      `${name.padEnd(26)}${(seconds * 1e6).toFixed(0).padStart(9)}${gigabytes.toFixed(1).padStart(10)}` +
        `${(4 * pairs * 16 * 128 / seconds / 1e9).toFixed(1).padStart(10)}`,
    );
  }
}

/** A model of random weights. */
async function openShape(
  backend: Backend,
  dtype: DTypeOption,
  kvDType: KvDType,
  contextLength: number,
  rows: number,
) {
  const model = await openModel(new URL(`shapes/${options.shape}`, import.meta.url).pathname, {
    dummy: true,
  });
  const shard = { rank: 0, size: 1 };
  const start = performance.now();
  const weights = await loadDecoderWeights(model, backend, { dtype, shard });
  const pageSize = 16, pagesPerRow = contextLength / pageSize;
  console.log(
    `\n${options.shape}, ${dtype}, cache ${kvDType}: ${
      (backend.weightBytes / 2 ** 30).toFixed(2)
    } GiB of weights, made and packed in ` +
      `${((performance.now() - start) / 1000).toFixed(1)} s`,
  );
  const decoder = new Decoder(backend, model.config, weights, shard, {
    kvDType,
    pageSize,
    numPages: rows * pagesPerRow,
    maxRows: rows,
    contextLength,
    maxTokens: 512 + rows,
    maxSamples: rows,
  });
  const pages = Array.from(
    { length: rows * pagesPerRow },
    (_, i) => [Math.floor(i / pagesPerRow), i % pagesPerRow, i] as const,
  );
  // The embedding is looked up, not read through, unless it is the head too.
  const { tieEmbeddings } = model.config;
  const bytesRead = backend.weightBytes - (tieEmbeddings ? 0 : matrixBytes(weights.embedding.spec));
  return { decoder, pages, bytesRead };
}

async function benchModel(dtype: DTypeOption, kvDType: KvDType): Promise<void> {
  using backend = await createCpuBackend({ threads, allThreads: "started" });
  const prompt = Number(options.prompt), context = Number(options.context);
  const batches = options.batches.split(",").map(Number), rows = Math.max(...batches);
  const contextLength = Math.ceil(Math.max(prompt, context + 64) / 16) * 16;
  const { decoder, pages, bytesRead } = await openShape(backend, dtype, kvDType, contextLength, rows);
  let unwritten: typeof pages = pages;
  const step = (sequences: TestSequence[]) => {
    const recorded = backend.record(
      plan(1, sequences, { pages: unwritten }),
      (ops) => decoder.forward(ops),
    );
    unwritten = [];
    recorded.submit();
    return recorded.read();
  };
  const rss = () => `${(Deno.memoryUsage().rss / 2 ** 30).toFixed(2)} GiB resident`;
  const seconds = await best(3, () => step([{ row: 0, cached: 0, extend: prompt }]));
  console.log(
    `prefill  ${prompt} tokens      ${(prompt / seconds).toFixed(1).padStart(8)} tokens/s   ${rss()}`,
  );
  // Pages that nothing was written to are one page of zeros to the system, and never leave the nearest cache.
  for (let row = 0; row < rows; row++) {
    for (let cached = 0; cached < context; cached += 512) {
      await step([{ row, cached, extend: Math.min(512, context - cached) }]);
    }
  }
  let single = 0;
  for (const batch of batches) {
    const sequences = Array.from({ length: batch }, (_, row) => ({ row, cached: context, extend: 1 }));
    const perStep = await best(16, () => step(sequences));
    single ||= batch / perStep;
    const bandwidth = bytesRead / perStep / 1e9;
    console.log(
      `decode   ${String(batch).padStart(3)} sequences    ${
        (batch / perStep).toFixed(1).padStart(8)
      } tokens/s` +
        `   ${(perStep * 1000).toFixed(1).padStart(6)} ms a step   weights at ${bandwidth.toFixed(1)} GB/s` +
        `   × ${(batch / perStep / single).toFixed(2)}`,
    );
  }
}

if (!options["model-only"]) {
  if (!options["attention-only"]) await benchProducts();
  for (const kvDType of kvTypes) await benchAttention(kvDType);
}
if (!options["kernels-only"] && !options["attention-only"]) {
  for (const dtype of options.dtype.split(",")) {
    for (const kvDType of kvTypes) await benchModel(dtype as DTypeOption, kvDType);
  }
}
