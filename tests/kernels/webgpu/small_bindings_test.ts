// Matrices that are larger than a binding, and logits that are: with a limit far below the device's, so that small
// matrices are split.

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import type { Activation, Backend, Matrix, MatrixSpec, Ops } from "../../../kernels/ops.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";
import { encode } from "../numbers.ts";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import type { DeviceCaps } from "../../../kernels/webgpu/shader/kernel.ts";
import { Random, relativeError } from "../../random.ts";
import { plan, samplingRows, type TestSequence } from "../plans.ts";

const maxBindingBytes = 64 * 1024;
const vocabSize = 3001;
const maxTokens = 24;

/** The tested backend and the reference, with the same contents. */
async function pair(caps: Partial<DeviceCaps> = {}): Promise<[Backend, Backend]> {
  const tested = await createWebGpuBackend({
    caps: { maxBindingBytes, ...caps },
  });
  const both: [Backend, Backend] = [tested, new ReferenceBackend()];
  for (const backend of both) {
    backend.createState({
      numLayers: 1,
      heads: { numHeads: 1, numKvHeads: 1, headDim: 16 },
      vocabSize,
      vocabStart: 0,
      pageSize: 16,
      numPages: 8,
      maxRows: 12,
      contextLength: 64,
      maxTokens,
      maxSamples: 12,
      hiddenSize: 64,
    });
  }
  return both;
}

function matrices(
  both: readonly Backend[],
  spec: MatrixSpec,
  values: Float32Array,
): Matrix[] {
  const bytes = encode(values, spec.dtype, spec.columns);
  const rows = spec.rows * (spec.experts ?? 1), rowBytes = bytes.length / rows;
  return both.map((backend) => {
    const matrix = backend.createMatrix(spec);
    // In pieces that end in the middle of parts.
    for (let row = 0; row < rows; row += 37) {
      backend.writeRows(
        matrix,
        row,
        bytes.subarray(row * rowBytes, Math.min(rows, row + 37) * rowBytes),
      );
    }
    return matrix;
  });
}

function activations(
  both: readonly Backend[],
  width: number,
  values: Float32Array,
): Activation[] {
  return both.map((backend) => {
    const activation = backend.createActivation(width, "residual");
    backend.writeActivation(activation, values);
    return activation;
  });
}

async function run(
  both: readonly Backend[],
  sequences: TestSequence[],
  forward: (ops: Ops, i: number) => void,
) {
  for (const [i, backend] of both.entries()) {
    const step = plan(1, sequences, {
      tokens: [{ row: 0, first: 0, ids: [5, 3000, 1024, 1500, 2999] }],
    });
    const recorded = backend.record(step, (ops) => forward(ops, i));
    recorded.submit();
    await recorded.read();
  }
}

async function assertEqual(
  both: readonly Backend[],
  output: readonly Activation[],
  rows: number,
  what: string,
) {
  const [got, expected] = await Promise.all(
    both.map((b, i) => b.readActivation(output[i]!, rows)),
  );
  assert.ok(relativeError(got!, expected!) < 2e-3, what);
}

const unsampled = (
  count: number,
): TestSequence[] => [{ row: 0, cached: 0, extend: count, sample: false }];

// A large GPU's kernels divide sums, whose parts must fit a binding too.
for (
  const [name, caps] of [["the adapter's", {}], ["a large GPU's", {
    software: false,
    parallelism: 512,
  }]] as const
) {
  gpuTest(
    `a matrix split by rows gives what the whole one gives, plain and paired, with its bias: ${name} kernels`,
    async () => {
      const both = await pair(caps);
      using _tested = both[0];
      const random = new Random(3);
      const columns = 96, rows = 660;
      const cases = [["plain", "bf16"], ["paired", "bf16"], ["paired", "q8"], ["paired", "q4_0"]] as const;
      for (const [layout, dtype] of cases) {
        const spec = { name: "w", rows, columns, dtype, layout };
        const weight = matrices(both, spec, random.normals(rows * columns, 0.1));
        const values = random.normals(rows);
        const bias = both.map((b) => b.createVector(values));
        const width = layout === "paired" ? rows / 2 : rows;
        for (const count of [1, 11]) {
          const input = activations(both, columns, random.normals(count * columns));
          const output = activations(both, width, new Float32Array(0));
          await run(both, unsampled(count), (ops, i) =>
            ops.linear({
              input: input[i]!,
              weight: weight[i]!,
              bias: bias[i]!,
              output: output[i]!,
              epilogue: layout === "paired" ? "gate-mul" : "store",
            }));
          await assertEqual(both, output, count, `${layout} ${dtype}, ${count} tokens`);
        }
      }
    },
  );
}

gpuTest("a split embedding finds every id, in whichever part it stands", async () => {
  const both = await pair();
  using _tested = both[0];
  const random = new Random(4);
  const table = matrices(
    both,
    { name: "e", rows: vocabSize, columns: 40, dtype: "f16" },
    random.normals(vocabSize * 40),
  );
  const output = activations(both, 40, random.normals(5 * 40));
  await run(both, unsampled(5), (ops, i) => ops.embed(table[i]!, output[i]!));
  await assertEqual(both, output, 5, "embedding");
});

gpuTest("experts split over several bindings give what they give in one", async () => {
  const both = await pair();
  using _tested = both[0];
  const random = new Random(5);
  const experts = 12, hidden = 64, inner = 48;
  const router = matrices(both, {
    name: "r",
    rows: experts,
    columns: hidden,
    dtype: "f32",
  }, random.normals(experts * hidden));
  const gateUp = matrices(
    both,
    {
      name: "g",
      rows: 2 * inner,
      columns: hidden,
      dtype: "bf16",
      experts,
      layout: "paired",
    },
    random.normals(experts * 2 * inner * hidden, 0.1),
  );
  const down = matrices(
    both,
    { name: "d", rows: hidden, columns: inner, dtype: "f32", experts },
    random.normals(experts * hidden * inner, 0.2),
  );
  const weight = new Float32Array(hidden).fill(1);
  const norm = both.map((b) => ({
    weight: b.createVector(weight),
    epsilon: 1e-6,
  }));
  for (const [count, epilogue] of [[3, "store"], [20, "add"]] as const) {
    const input = activations(both, hidden, random.normals(count * hidden));
    const output = activations(both, hidden, random.normals(count * hidden));
    await run(both, unsampled(count), (ops, i) =>
      ops.moe({
        input: input[i]!,
        norm: norm[i]!,
        router: router[i]!,
        gateUp: gateUp[i]!,
        down: down[i]!,
        expertsPerToken: 3,
        renormalize: true,
        output: output[i]!,
        epilogue,
      }));
    await assertEqual(both, output, count, `experts, ${count} tokens`);
  }
});

gpuTest(
  "sampled rows whose logits do not fit a binding go through the head in groups, each with its own draw",
  async () => {
    const both = await pair();
    using _tested = both[0];
    const random = new Random(6);
    const hidden = 32;
    const head = matrices(
      both,
      { name: "h", rows: vocabSize, columns: hidden, dtype: "f32" },
      random.normals(vocabSize * hidden),
    );
    const weight = new Float32Array(hidden).fill(1);
    const norm = both.map((b) => ({
      weight: b.createVector(weight),
      epsilon: 1e-6,
    }));
    const input = activations(both, hidden, random.normals(12 * hidden));
    const sequences = Array.from(
      { length: 12 },
      (_, row) => ({ row, cached: 3, extend: 1 }),
    );
    const sampling = samplingRows(
      sequences,
      sequences.map((_, s) => ({
        temperature: s % 2,
        topK: s % 3 === 0 ? 4 : 0,
        seed: [s, 1] as const,
        logprobs: s % 4,
      })),
    );
    const results = [];
    for (const [i, backend] of both.entries()) {
      const recorded = backend.record(
        plan(1, sequences, { sampling, returnLogits: true }),
        (ops) => ops.sample({ input: input[i]!, norm: norm[i]!, head: head[i]! }),
      );
      recorded.submit();
      results.push(await recorded.read());
    }
    const [got, expected] = results;
    assert.ok(relativeError(got!.logits!, expected!.logits!) < 1e-4);
    assert.deepEqual(got!.tokens, expected!.tokens);
    assert.deepEqual(got!.topTokens, expected!.topTokens);
    got!.logprobs.forEach((p, s) => {
      const other = expected!.logprobs[s]!;
      assert.ok(
        Number.isNaN(other) ? Number.isNaN(p) : Math.abs(p - other) < 1e-3,
        `row ${s}`,
      );
    });
  },
);

gpuTest("what cannot fit a binding is refused by name", async () => {
  using tested = await createWebGpuBackend({
    caps: { maxBindingBytes },
  });
  assert.throws(
    () =>
      tested.createMatrix({
        name: "giant",
        rows: 600,
        columns: 64,
        dtype: "f32",
        experts: 2,
      }),
    { name: "DeviceError", message: /giant/ },
  );
});
