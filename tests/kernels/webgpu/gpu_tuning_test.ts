// The kernels that a real GPU gets, on whatever adapter there is: tests run mostly on a software driver, for which
// smaller ones are chosen.

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import type { DType } from "../../../kernels/formats/mod.ts";
import type { HeadLayout, StateSpec } from "../../../kernels/ops.ts";
import { kvDTypes } from "../../../kernels/kv_format.ts";
import { ReferenceBackend } from "../../../kernels/reference/backend.ts";
import { encode } from "../numbers.ts";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import { Random, relativeError } from "../../random.ts";
import { plan, scatteredPages, type TestSequence } from "../plans.ts";

const base: StateSpec = {
  numLayers: 1,
  heads: { numHeads: 1, numKvHeads: 1, headDim: 16 },
  vocabSize: 64,
  vocabStart: 0,
  pageSize: 16,
  numPages: 64,
  maxRows: 4,
  contextLength: 256,
  maxTokens: 160,
  maxSamples: 4,
  hiddenSize: 64,
};

const pretendGpu = (halfFrom = 0) =>
  createWebGpuBackend({ caps: { software: false, parallelism: 64, halfFrom } });

const layouts: [HeadLayout, pageSize: number, window: number | null][] = [
  [{ numHeads: 8, numKvHeads: 2, headDim: 32 }, 16, null],
  [{ numHeads: 6, numKvHeads: 2, headDim: 32 }, 1, 20],
  [{ numHeads: 6, numKvHeads: 2, headDim: 48 }, 1, 20],
  [{ numHeads: 70, numKvHeads: 1, headDim: 16 }, 32, null],
  [{ numHeads: 4, numKvHeads: 2, headDim: 64 }, 16, null],
  [{ numHeads: 3, numKvHeads: 3, headDim: 64 }, 1, 20],
  [{ numHeads: 4, numKvHeads: 4, headDim: 64 }, 4, 50],
  [{ numHeads: 6, numKvHeads: 2, headDim: 64 }, 8, 37],
  [{ numHeads: 5, numKvHeads: 1, headDim: 64 }, 16, 130],
  // With operands in f16 these need more workgroup memory than a software driver has; there the float32 kernel takes
  // their place.
  [{ numHeads: 4, numKvHeads: 2, headDim: 128 }, 16, null],
  [{ numHeads: 5, numKvHeads: 1, headDim: 128 }, 1, 130],
  [{ numHeads: 3, numKvHeads: 1, headDim: 128 }, 4, 20],
  [{ numHeads: 2, numKvHeads: 2, headDim: 128 }, 32, 70],
];
const small = [layouts[0]!, layouts[4]!, layouts[5]!, layouts[9]!];
const cases = kvDTypes.flatMap((kvDType) => [
  ...layouts.map((layout) => [...layout, 0, kvDType] as const),
  // As in small models, whose attention stays in float32.
  ...small.map((layout) => [...layout, Infinity, kvDType] as const),
]);
for (const [heads, pageSize, window, halfFrom, kvDType] of cases) {
  const { numHeads, numKvHeads, headDim } = heads;
  gpuTest(
    `tiled prefill and split decode equal the reference: ${numHeads}/${numKvHeads} heads of ${headDim}, pages of ${pageSize}, window ${window}${
      halfFrom ? ", in float32" : ""
    }${kvDType === "auto" ? "" : `, cache in ${kvDType}`}`,
    async () => {
      using tested = await pretendGpu(halfFrom);
      const both = [tested, new ReferenceBackend()];
      const random = new Random(headDim);
      const width = (numHeads + 2 * numKvHeads) * headDim, half = headDim / 2;
      const pagesPerRow = 256 / pageSize;
      const pages = scatteredPages([0, 2], pagesPerRow, 2 * pagesPerRow + 1);
      const angles = Array.from(
        { length: 256 * half },
        (_, i) => Math.floor(i / half) / 50 ** (i % half / half),
      );
      const contexts = both.map((backend) => {
        backend.createState({
          ...base,
          heads,
          kvDType,
          pageSize,
          numPages: 2 * pagesPerRow + 1,
        });
        // A read of a slot that nothing was written to would show.
        backend.poisonPages(
          Uint32Array.from({ length: 2 * pagesPerRow + 1 }, (_, i) => i),
        );
        return {
          backend,
          rope: backend.createRopeTable(
            Float32Array.from(angles, Math.cos),
            Float32Array.from(angles, Math.sin),
            half,
          ),
          qkv: backend.createActivation(width, "hidden"),
          output: backend.createActivation(numHeads * headDim, "attended"),
        };
      });
      const batches: TestSequence[][] = [
        [{ row: 0, cached: 0, extend: 75 }, { row: 2, cached: 0, extend: 9 }],
        [{ row: 2, cached: 9, extend: 1 }, { row: 0, cached: 75, extend: 70 }],
        [{ row: 0, cached: 145, extend: 1 }, { row: 2, cached: 10, extend: 3 }],
        [{ row: 0, cached: 146, extend: 1 }, { row: 2, cached: 13, extend: 1 }],
        [{ row: 2, cached: 14, extend: 1 }],
      ];
      for (const [id, sequences] of batches.entries()) {
        const count = sequences.reduce((sum, s) => sum + s.extend, 0);
        const values = random.normals(count * width, 1.5);
        const rows = [];
        for (const { backend, rope, qkv, output } of contexts) {
          backend.writeActivation(qkv, values);
          const unsampled = sequences.map((s) => ({ ...s, sample: false }));
          const recorded = backend.record(
            plan(id, unsampled, id === 0 ? { pages } : {}),
            (ops) => {
              ops.attention({
                qkv,
                heads,
                rope,
                output,
                layer: 0,
                scale: 1 / Math.sqrt(headDim),
                window,
              });
            },
          );
          recorded.submit();
          await recorded.read();
          rows.push(await backend.readActivation(output, count));
        }
        const error = relativeError(rows[0]!, rows[1]!);
        assert.ok(error < 2e-3, `batch ${id}: ${error}`);
      }
    },
  );
}

for (const dtype of ["bf16", "q8", "q4_1"] as const) {
  gpuTest(`experts in ${dtype} equal the reference for every size of tile`, () => checkExperts(dtype));
}

async function checkExperts(dtype: DType): Promise<void> {
  using tested = await pretendGpu();
  const both = [tested, new ReferenceBackend()];
  for (const backend of both) backend.createState(base);
  const random = new Random(8);
  const experts = 3, hidden = 72, inner = 40;
  const make = (
    rows: number,
    columns: number,
    scale: number,
    extra: { dtype: DType; experts?: number; layout?: "paired" },
  ) => {
    const values = random.normals(rows * columns * (extra.experts ?? 1), scale);
    return both.map((backend) => {
      const matrix = backend.createMatrix({
        name: "m",
        rows,
        columns,
        ...extra,
      });
      backend.writeRows(matrix, 0, encode(values, extra.dtype, columns));
      return matrix;
    });
  };
  const router = make(experts, hidden, 0.3, { dtype: "bf16" });
  const gateUp = make(2 * inner, hidden, 0.15, { dtype, experts, layout: "paired" });
  const down = make(hidden, inner, 0.2, { dtype, experts });
  const norm = both.map((b) => ({
    weight: b.createVector(new Float32Array(hidden).fill(1)),
    epsilon: 1e-6,
  }));
  // Pairs per expert: 1 (no tiles), 6, 20, 40 and 100.
  for (const count of [2, 9, 30, 60, 150]) {
    const values = random.normals(count * hidden);
    const rows = [];
    for (const [i, backend] of both.entries()) {
      const input = backend.createActivation(hidden, "residual");
      const output = backend.createActivation(hidden, "residual");
      backend.writeActivation(input, values);
      const step = plan(1, [{
        row: 0,
        cached: 0,
        extend: count,
        sample: false,
      }]);
      const recorded = backend.record(step, (ops) =>
        ops.moe({
          input,
          norm: norm[i]!,
          router: router[i]!,
          gateUp: gateUp[i]!,
          down: down[i]!,
          expertsPerToken: 2,
          renormalize: true,
          output,
          epilogue: "store",
        }));
      recorded.submit();
      await recorded.read();
      rows.push(await backend.readActivation(output, count));
    }
    const error = relativeError(rows[0]!, rows[1]!);
    assert.ok(error < 2e-3, `${count} tokens: ${error}`);
  }
}
