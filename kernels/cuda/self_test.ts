// A look at whether the GPU computes what it should, before `auto` trusts it: products on every path, and attention of a
// prompt and of the token behind it, over two pages, against numbers computed here. Takes about a tenth of a second once the driver has compiled the kernels.

import type { Backend, Ops } from "../ops.ts";
import { formats } from "../formats/mod.ts";
import type { BatchPlan } from "../plan.ts";
import { packSampling } from "../sampling.ts";
import { CudaError } from "./errors.ts";

/** Inputs and results are rounded to bfloat16. */
const tolerance = 2e-2;

const columns = 96, features = 80, mostTokens = 130;
const heads = { numHeads: 2, numKvHeads: 1, headDim: 128 };

/** Numbers in [−1, 1) that anybody can compute. */
const numbers = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => ((i + seed) * 7919 % 1999) / 999.5 - 1);

/**
 * Makes a backend, tries it and closes it.
 * @throws {CudaError} naming what came out wrong
 */
export async function selfTest(create: () => Promise<Backend>): Promise<void> {
  using backend = await create();
  const weights = formats.bf16.encode(numbers(columns * features, 3), columns);
  const stored = formats.bf16.decode(weights, columns);
  const matrix = backend.createMatrix({ name: "self-test", rows: features, columns, dtype: "bf16" });
  backend.writeRows(matrix, 0, weights);
  backend.createState({
    numLayers: 1,
    heads,
    vocabSize: 8,
    vocabStart: 0,
    pageSize: 16,
    numPages: 2,
    maxRows: 1,
    contextLength: 32,
    maxTokens: mostTokens,
    maxSamples: 1,
    hiddenSize: 64,
  });
  const input = backend.createActivation(columns, "residual"),
    output = backend.createActivation(features, "hidden");
  const x = numbers(mostTokens * columns, 11);
  backend.writeActivation(input, x);
  const run = (plan: BatchPlan, forward: (ops: Ops) => void) => {
    const step = backend.record(plan, forward);
    step.submit();
    return step.read();
  };
  // One token, few and many: a kernel each.
  for (const tokens of [1, 24, mostTokens]) {
    await run(plan(0, tokens), (ops) => ops.linear({ input, weight: matrix, output, epilogue: "store" }));
    const found = await backend.readActivation(output, tokens);
    const expected = new Float64Array(tokens * features);
    for (let t = 0; t < tokens; t++) {
      for (let n = 0; n < features; n++) {
        for (let k = 0; k < columns; k++) {
          expected[t * features + n]! += x[t * columns + k]! * stored[n * columns + k]!;
        }
      }
    }
    compare(`a product for ${tokens} tokens`, found, expected);
  }
  await checkAttention(backend, run);
}

async function checkAttention(
  backend: Backend,
  run: (plan: BatchPlan, forward: (ops: Ops) => void) => unknown,
): Promise<void> {
  const { numHeads, headDim } = heads, width = (numHeads + 2) * headDim, half = headDim / 2, prompt = 20;
  const qkv = backend.createActivation(width, "residual");
  const output = backend.createActivation(numHeads * headDim, "residual");
  const values = numbers((prompt + 1) * width, 29);
  // Angles of zero: nothing turns.
  const rope = backend.createRopeTable(
    new Float32Array(32 * half).fill(1),
    new Float32Array(32 * half),
    half,
  );
  const scale = 0.1;
  const attend = (ops: Ops) => ops.attention({ qkv, heads, rope, output, layer: 0, scale, window: null });
  for (
    const [first, count, what] of [[0, prompt, "attention of a prompt"], [prompt, 1, "decoding"]] as const
  ) {
    backend.writeActivation(qkv, values.subarray(first * width, (first + count) * width));
    await run(plan(first, count), attend);
    const found = await backend.readActivation(output, count);
    const expected = new Float64Array(count * numHeads * headDim);
    for (let t = 0; t < count; t++) {
      for (let h = 0; h < numHeads; h++) {
        attendHead(values, first + t, h, scale, expected.subarray((t * numHeads + h) * headDim));
      }
    }
    compare(what, found, expected);
  }
}

/** What query head h of the token at `position` sees, into `output`. */
function attendHead(
  values: Float32Array,
  position: number,
  h: number,
  scale: number,
  output: Float64Array,
): void {
  const { numHeads, headDim } = heads, width = (numHeads + 2) * headDim;
  const weights = Array.from({ length: position + 1 }, (_, j) => {
    let dot = 0;
    for (let i = 0; i < headDim; i++) {
      dot += values[position * width + h * headDim + i]! * values[j * width + numHeads * headDim + i]!;
    }
    return Math.exp(scale * dot);
  });
  const total = weights.reduce((a, b) => a + b, 0);
  for (let i = 0; i < headDim; i++) {
    output[i] = weights.reduce(
      (sum, weight, j) => sum + weight / total * values[j * width + (numHeads + 1) * headDim + i]!,
      0,
    );
  }
}

function compare(what: string, found: Float32Array, expected: Float64Array): void {
  let difference = 0, norm = 0;
  expected.forEach((value, i) => {
    difference += (found[i]! - value) ** 2;
    norm += value * value;
  });
  const error = Math.sqrt(difference / norm);
  if (error <= tolerance) return;
  throw new CudaError(`the GPU fails the self-test: ${what} is wrong by ${error.toExponential(1)}`);
}

/** `tokens` tokens behind the first `cached` of row 0, with both pages. */
function plan(cached: number, tokens: number): BatchPlan {
  return {
    id: 0,
    steps: 1,
    pageWrites: Uint32Array.of(0, 0, 1, 0, 1, 0),
    tokenWrites: new Uint32Array(),
    tokenIds: new Uint32Array(),
    row: Uint32Array.of(0),
    cachedLength: Uint32Array.of(cached),
    extendLength: Uint32Array.of(tokens),
    sampling: packSampling([]),
  };
}
