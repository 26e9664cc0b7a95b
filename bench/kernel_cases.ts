// The kernels of a model's decoder at its real shapes, one after the other: what each moves and computes at least,
// and an operation to time.

import type { ModelConfig } from "../engine/model/config.ts";
import { ropeTables } from "../engine/model/rope.ts";
import type { Backend, HeadLayout, Matrix, Ops } from "../kernels/ops.ts";
import { type EqualPlan, equalPlan } from "./common/equal_plan.ts";

/** One kernel at one size. */
export interface KernelCase {
  /** For example "gate/up 6144×1024". */
  readonly kernel: string;
  /** For example "32 rows". */
  readonly size: string;
  /** Least bytes from memory, and least operations (a multiply–add counts two). */
  readonly bytes: number;
  readonly operations: number;
  /** The step it runs in. */
  readonly plan: Omit<EqualPlan, "id">;
  /** Records the i-th repetition; repetitions rotate through weights, so that these come from memory. */
  readonly record: (ops: Ops, i: number) => void;
}

export interface CaseSizes {
  /** Activation rows of the products. */
  readonly rows: readonly number[];
  /** Keys of decode attention, for each of the batches that fit. */
  readonly contexts: readonly number[];
  readonly batches: readonly number[];
  /** Prompt lengths of prefill attention. */
  readonly prompts: readonly number[];
}

/** More than any last-level cache holds. */
const rotatedBytes = 256e6;
/** Most keys of one sequence times sequences, so that the cache of one layer stays near a gigabyte. */
const mostKeys = 1 << 18;
const pageSize = 16;

/** Fills a matrix with random bf16 numbers of about the usual size. */
function fill(backend: Backend, matrix: Matrix, random: Uint8Array): void {
  const { rows, columns } = matrix.spec;
  const rowBytes = 2 * columns;
  const most = Math.floor(random.byteLength / rowBytes);
  for (let row = 0; row < rows; row += most) {
    backend.writeRows(matrix, row, random.subarray(0, Math.min(most, rows - row) * rowBytes));
  }
}

/** bf16 numbers between 2⁻⁹ and 2⁻⁵, of either sign. */
function randomWeights(bytes: number): Uint8Array {
  const words = new Uint16Array(bytes / 2);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = (state >>> 31 << 15) | (118 + (state >>> 8 & 3) << 7) | (state >>> 16 & 127);
  }
  return new Uint8Array(words.buffer);
}

/** Prepares a backend for a model's kernels and lists them. The backend must be fresh. */
export function kernelCases(backend: Backend, config: ModelConfig, sizes: CaseSizes): KernelCase[] {
  const { hiddenSize: hidden, vocabSize, headDim, numHeads, numKvHeads, intermediateSize } = config;
  const heads: HeadLayout = { numHeads, numKvHeads, headDim };
  const qkvWidth = (numHeads + 2 * numKvHeads) * headDim;
  const contextLength = Math.max(...sizes.contexts, ...sizes.prompts) + pageSize;
  const maxTokens = Math.max(...sizes.rows, ...sizes.prompts, ...sizes.batches);
  const maxRows = Math.max(...sizes.batches);
  const pagesPerRow = Math.ceil(contextLength / pageSize);
  const numPages = Math.ceil(mostKeys / pageSize) + pagesPerRow;
  backend.createState({
    numLayers: 1,
    heads,
    vocabSize,
    vocabStart: 0,
    pageSize,
    numPages,
    maxRows,
    contextLength,
    maxTokens,
    maxSamples: maxRows,
    hiddenSize: 64,
  });
  const random = randomWeights(1 << 24);
  const matrices = (name: string, rows: number, columns: number, layout: "plain" | "paired" = "plain") => {
    const count = Math.ceil(rotatedBytes / (2 * rows * columns));
    return Array.from({ length: count }, () => {
      const matrix = backend.createMatrix({ name, rows, columns, dtype: "bf16", layout });
      fill(backend, matrix, random);
      return matrix;
    });
  };
  const x = backend.createActivation(hidden, "residual");
  const qkv = backend.createActivation(qkvWidth, "hidden");
  const attended = backend.createActivation(numHeads * headDim, "attended");
  const gated = backend.createActivation(intermediateSize, "hidden");
  const norm = { weight: backend.createVector(new Float32Array(hidden).fill(1)), epsilon: 1e-6 };
  const headNorm = { weight: backend.createVector(new Float32Array(headDim).fill(1)), epsilon: 1e-6 };
  const { cosine, sine, half } = ropeTables(config.rope, config, contextLength);
  const rope = backend.createRopeTable(cosine, sine, half);
  const cases: KernelCase[] = [];

  const product = (
    name: string,
    rows: number,
    columns: number,
    args: Omit<Parameters<Ops["linear"]>[0], "weight">,
  ) => {
    const weights = matrices(name, rows, columns, args.epilogue === "gate-mul" ? "paired" : "plain");
    for (const tokens of sizes.rows) {
      cases.push({
        kernel: `${name} ${rows}×${columns}`,
        size: `${tokens} ${tokens === 1 ? "row" : "rows"}`,
        bytes: 2 * rows * columns,
        operations: 2 * tokens * rows * columns,
        plan: { batch: 1, cached: 0, extend: tokens, sampled: false },
        record: (ops, i) => ops.linear({ ...args, weight: weights[i % weights.length]! }),
      });
    }
  };
  product("q/k/v", qkvWidth, hidden, { input: x, norm, output: qkv, epilogue: "store" });
  product("output", hidden, numHeads * headDim, { input: attended, output: x, epilogue: "add" });
  product("gate/up", 2 * intermediateSize, hidden, { input: x, norm, output: gated, epilogue: "gate-mul" });
  product("down", hidden, intermediateSize, { input: gated, output: x, epilogue: "add" });

  // Sequences share pages where there are not enough: it does not matter here what is read from them.
  const pages = (batch: number, keys: number) =>
    Array.from(
      { length: batch },
      (_, row) =>
        Array.from(
          { length: Math.ceil(keys / pageSize) },
          (_, i) => [row, i, (row * Math.ceil(keys / pageSize) + i) % numPages],
        ),
    )
      .flat(2);
  const attention = (ops: Ops) =>
    ops.attention({
      qkv,
      heads,
      qNorm: headNorm,
      kNorm: headNorm,
      rope,
      output: attended,
      layer: 0,
      scale: 1 / Math.sqrt(headDim),
      window: null,
    });
  const keyBytes = 4 * numKvHeads * headDim;
  for (const batch of sizes.batches) {
    for (const context of sizes.contexts.filter((n) => n * batch <= mostKeys)) {
      cases.push({
        kernel: `attention, decode ${numHeads}/${numKvHeads}×${headDim}`,
        size: `${batch} at ${context}`,
        bytes: batch * context * keyBytes,
        operations: 4 * batch * context * numHeads * headDim,
        plan: { batch, cached: context - 1, extend: 1, sampled: false, pages: pages(batch, context) },
        record: attention,
      });
    }
  }
  for (const prompt of sizes.prompts) {
    cases.push({
      kernel: `attention, prefill ${numHeads}/${numKvHeads}×${headDim}`,
      size: `${prompt} tokens`,
      bytes: prompt * keyBytes,
      operations: 2 * prompt * (prompt + 1) * numHeads * headDim,
      plan: { batch: 1, cached: 0, extend: prompt, sampled: false, pages: pages(1, prompt) },
      record: attention,
    });
  }
  const [table] = matrices("head", vocabSize, hidden);
  for (const batch of sizes.batches) {
    cases.push({
      kernel: `norm, head, greedy ${vocabSize}×${hidden}`,
      size: `${batch} ${batch === 1 ? "row" : "rows"}`,
      bytes: 2 * vocabSize * hidden,
      operations: 2 * batch * vocabSize * hidden,
      plan: { batch, cached: 15, extend: 1, sampled: true, pages: pages(batch, pageSize) },
      record: (ops) => ops.sample({ input: x, norm, head: table! }),
    });
  }
  return cases;
}

/** Microseconds of one repetition: the difference between long and short steps, so that what a step costs drops out. */
export async function timeCase(
  backend: Backend,
  { plan, record }: KernelCase,
  passes: number,
): Promise<number> {
  let id = 0;
  const run = async (count: number): Promise<number> => {
    const step = backend.record(equalPlan({ ...plan, id: ++id }), (ops) => {
      for (let i = 0; i < count; i++) record(ops, i);
    });
    const began = performance.now();
    step.submit();
    await step.read();
    return 1000 * (performance.now() - began);
  };
  // A step samples once.
  const short = plan.sampled ? 0 : 4;
  await run(plan.sampled ? 1 : short);
  // Long enough that the clock's and the readback's jitter is small beside it.
  const guess = Math.max(1, await run(short) / Math.max(1, short));
  const long = plan.sampled ? 1 : Math.min(200, Math.max(4 * short, Math.ceil(4000 / guess)));
  const differences: number[] = [];
  for (let i = 0; i < passes; i++) {
    const before = await run(short);
    differences.push((await run(long) - before) / (long - short));
  }
  return differences.toSorted((a, b) => a - b)[passes >> 1]!;
}
