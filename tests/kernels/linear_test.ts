// Matrix products on the device against float64, over shapes that do not divide evenly into anything.

import { gpuTest } from "../gpu.ts";
import assert from "node:assert/strict";
import { type DType, dtypes, formats } from "../../kernels/formats/mod.ts";
import type { DeviceCaps } from "../../kernels/webgpu/shader/kernel.ts";
import { type LinearPlan, type LinearShape, noScratch } from "../../kernels/webgpu/linear/linear.ts";
import type { GemmTile } from "../../kernels/webgpu/linear/gemm_tile.ts";
import { matvecCall, type MatvecTile } from "../../kernels/webgpu/linear/matvec.ts";
import { planGemm, planLinear } from "../../kernels/webgpu/linear/plan.ts";
import { decode, linearCase, relativeError, seeded } from "./linear_case.ts";
import { largeGpu } from "./large_gpu.ts";
import { LinearDevice } from "./linear_device.ts";

const base: LinearShape = {
  rows: 64,
  columns: 64,
  dtype: "bf16",
  epilogue: "store",
  normEpsilon: null,
  bias: false,
  input: "f32",
  output: "f32",
  outputStride: 64,
  outputOffset: 0,
  countWord: 0,
};

/** The error of one product on random inputs; the plan holds `tokens` where the kernels look for it. */
async function measure(
  device: LinearDevice,
  shape: LinearShape,
  tokens: number,
  plan: LinearPlan,
  inputScale = 1,
): Promise<number> {
  const { contents, expected } = linearCase(
    shape,
    tokens,
    shape.rows * 31 + shape.columns + tokens,
    inputScale,
  );
  const words = new Uint32Array(16).fill(0xffff);
  words[shape.countWord] = tokens;
  const bytes = await device.run(plan, words, contents);
  return relativeError(decode(bytes, shape.output), expected);
}

function describe(shape: LinearShape, tokens: number): string {
  return `${tokens} × ${JSON.stringify(shape)}`;
}

/** Blocks of columns in a row. */
const columnBlocks = (dtype: DType) => formats[dtype].blockColumns === 8 ? [1, 3, 8, 13, 32, 65] : [1, 2, 3];

/** Draws a shape that exercises a mixture of features. */
function randomShape(random: () => number, dtype: DType): LinearShape {
  const pick = <T>(...choices: readonly T[]) => choices[Math.floor(random() * choices.length)]!;
  const epilogue = pick("store", "add", "gate-mul");
  const rows = epilogue === "gate-mul" ? 2 * pick(1, 13, 40, 67) : pick(1, 7, 65, 130, 192);
  const width = epilogue === "gate-mul" ? rows / 2 : rows;
  const outputOffset = pick(0, 3);
  return {
    rows,
    columns: formats[dtype].blockColumns * pick(...columnBlocks(dtype)),
    dtype,
    epilogue,
    normEpsilon: pick(null, 1e-6, 1e-5),
    bias: pick(true, false),
    input: pick("f32", "f16"),
    output: pick("f32", "f16"),
    outputStride: width + outputOffset + pick(0, 5),
    outputOffset,
    countWord: pick(0, 2),
  };
}

gpuTest("planLinear's kernels agree with float64 for any shape, type, norm, bias and epilogue", async () => {
  using device = await LinearDevice.open();
  const random = seeded(7);
  for (const dtype of dtypes) {
    for (const tokens of [1, 2, 3, 4, 5, 8, 9, 17, 33, 70, 130]) {
      const shape = randomShape(random, dtype);
      const error = await measure(device, shape, tokens, planLinear(shape, tokens, device.caps));
      assert(error < 1e-3, `${describe(shape, tokens)}: ${error}`);
    }
  }
});

gpuTest("the kernels chosen for a GPU compute the same products", async () => {
  using device = await LinearDevice.open();
  const random = seeded(11);
  const quantized = dtypes.filter((dtype) => formats[dtype].quantized);
  let turn = 0;
  // Few workgroups fill this imaginary device, so that small shapes get the tiles of large ones.
  for (const parallelism of [4, 512]) {
    const caps: DeviceCaps = { ...device.caps, software: false, parallelism, halfFrom: 0 };
    for (const tokens of [1, 4, 12, 20, 50, 100, ...(parallelism === 4 ? [513] : [])]) {
      for (const dtype of ["bf16", quantized[turn++ % quantized.length]!] as const) {
        const shape = randomShape(random, dtype);
        const error = await measure(device, shape, tokens, planLinear(shape, tokens, caps));
        assert(
          error < (shape.epilogue === "gate-mul" ? 1.6e-3 : 1.1e-3),
          `${describe(shape, tokens)}: ${error}`,
        );
      }
    }
  }
});

gpuTest("one token's product with weights of four and six bits is what float64 gives", async () => {
  using device = await LinearDevice.open();
  const random = seeded(13), epilogues = ["store", "add", "gate-mul"] as const;
  let turn = 0;
  for (const dtype of ["q4_0", "q4_1", "q4_k", "q6_k"] as const) {
    // The last have two blocks a thread; others leave threads without one.
    for (const columns of [256, 1280, 4352, 9216]) {
      for (const gated of [true, false]) {
        const shape = {
          ...randomShape(random, dtype),
          ...{
            epilogue: epilogues[gated ? 2 : turn % 2]!,
            columns,
            rows: 52,
            outputStride: 60,
            outputOffset: 3,
          },
        };
        // Fewer workgroups than there are rows for, and more.
        const caps: DeviceCaps = { ...device.caps, software: false, parallelism: turn++ % 3 === 0 ? 1 : 512 };
        const plan = planLinear(shape, 1, caps);
        assert.match(plan.calls[0]!.source.key, /^single/);
        const error = await measure(device, shape, 1, plan);
        assert(error < (shape.output === "f16" ? 1e-3 : 2e-5), `${describe(shape, 1)}: ${error}`);
      }
    }
  }
});

gpuTest("a product whose plan was made for more rows than the step has leaves the others alone", async () => {
  using device = await LinearDevice.open();
  for (const [planned, tokens] of [[8, 5], [64, 9], [130, 1]] as const) {
    const shape = { ...base, rows: 72, columns: 96, outputStride: 72, normEpsilon: 1e-6 };
    const error = await measure(device, shape, tokens, planLinear(shape, planned, device.caps));
    assert(error < 1e-3, `${planned} planned, ${tokens} there: ${error}`);
  }
});

gpuTest("every matrix–vector division of the work gives the same product", async () => {
  using device = await LinearDevice.open();
  const lanes = device.caps.minSubgroup;
  const base2 = {
    tokens: 2,
    sumLanes: lanes,
    rowLanes: 1,
    subgroups: true,
    units: 1,
    rowSubgroups: 1,
    split: 1,
    unroll: 1,
  };
  const divisions: readonly MatvecTile[] = [
    { ...base2, units: 2, rowSubgroups: 2, split: 2, unroll: 2 },
    { ...base2, sumLanes: lanes / 2, rowLanes: 2, split: 4, unroll: 4 },
    { ...base2, sumLanes: lanes / 4, rowLanes: 4, rowSubgroups: 2, units: 4, tokens: 4 },
    { ...base2, sumLanes: 16, subgroups: false, rowSubgroups: 2, unroll: 2 },
    { ...base2, sumLanes: 8, rowLanes: 2, subgroups: false, units: 2, split: 2 },
  ];
  for (const tile of divisions) {
    const cases = [
      ["add", "bf16"],
      ["gate-mul", "bf16"],
      ["gate-mul", "q8"],
      ["add", "q4_1"],
      ["gate-mul", "q6_k"],
    ] as const;
    for (const [epilogue, dtype] of cases) {
      const shape = {
        ...base,
        dtype,
        rows: 70,
        columns: dtype === "q6_k" ? 1024 : 1048,
        outputStride: 70,
        normEpsilon: 1e-6,
        epilogue,
        bias: true,
      };
      const plan = { calls: [matvecCall(shape, tile)], scratch: noScratch };
      const error = await measure(device, shape, 2, plan);
      assert(error < 1e-4, `${JSON.stringify(tile)} ${epilogue}: ${error}`);
    }
  }
});

const small = {
  tileTokens: 32,
  tileRows: 64,
  step: 32,
  threadTokens: 4,
  threadRows: 4,
  lanesX: 8,
  slices: 1,
  unroll: 1,
  flush: 2,
};
const tiles: readonly GemmTile[] = [
  { ...small, arithmetic: "f16", buffers: 2, split: 2 },
  { ...small, arithmetic: "f16", buffers: 1, split: 1, tileTokens: 128, threadTokens: 8, unroll: 4 },
  { ...small, arithmetic: "f16", buffers: 2, split: 5, tileTokens: 16, step: 16, threadRows: 2, lanesX: 16 },
  { ...small, arithmetic: "f16", buffers: 2, split: 3, step: 64, threadTokens: 2, threadRows: 8, lanesX: 4 },
  { ...small, arithmetic: "f16", buffers: 1, split: 1, step: 128, slices: 4, threadTokens: 8 },
  { ...small, arithmetic: "f16", buffers: 2, split: 2, step: 64, slices: 4, tileTokens: 16 },
  { ...small, arithmetic: "f32", buffers: 2, split: 2, step: 16 },
  { ...small, arithmetic: "f32", buffers: 2, split: 1, step: 32, slices: 2 },
];

gpuTest("every tile of a tiled product gives the same product", async () => {
  using device = await LinearDevice.open();
  for (const tile of tiles) {
    const cases = [["store", "bf16"], ["store", "q8"], ["gate-mul", "bf16"], ["store", "q4_1"]] as const;
    for (const [epilogue, dtype] of cases) {
      const normEpsilon = epilogue === "store" ? null : 1e-6;
      for (const tokens of [75, 50]) {
        const shape = {
          ...base,
          dtype,
          rows: 138,
          columns: 328,
          outputStride: 138,
          epilogue,
          normEpsilon,
          bias: true,
        };
        const error = await measure(device, shape, tokens, planGemm(shape, tokens, tile));
        // A product of two products carries the errors of both.
        assert(
          error < (epilogue === "gate-mul" ? 1.5e-3 : 1e-3),
          `${tokens} × ${JSON.stringify(tile)} ${epilogue}: ${error}`,
        );
      }
    }
  }
});

gpuTest(
  "a product whose sum is divided prepares the next one's input: norm or scale, in its type",
  async () => {
    using device = await LinearDevice.open();
    const tile: GemmTile = { ...small, arithmetic: "f32", buffers: 2, split: 3, step: 16 };
    const tokens = 11;
    for (const [epilogue, width] of [["add", 136], ["gate-mul", 68], ["store", 1100]] as const) {
      const rows = epilogue === "gate-mul" ? 2 * width : width;
      const shape = { ...base, rows, columns: 264, outputStride: width, epilogue, bias: true };
      const { contents, expected } = linearCase(shape, tokens, 5, epilogue === "gate-mul" ? 300 : 1);
      const weight = Float32Array.from({ length: width }, (_, i) => 0.5 + (i % 7) / 7);
      const words = new Uint32Array(16).fill(tokens);
      const nextNormWeight = new Uint8Array(weight.buffer);
      for (const next of [[1e-6, "f16"], [1e-6, "f32"], [null, "f16"]] as const) {
        const [normEpsilon, type] = next;
        const plan = planGemm({ ...shape, next: { normEpsilon, type } }, tokens, tile);
        const read = async (role: "output" | "nextPrepared" | "rowScales") =>
          decode(
            await device.run(plan, words, { ...contents, nextNormWeight }, role),
            role === "nextPrepared" ? type : "f32",
          );
        assert(relativeError(await read("output"), expected) < 1e-3);
        const prepared = await read("nextPrepared");
        const scales = normEpsilon === null ? await read("rowScales") : null;
        const wanted = new Float64Array(tokens * width);
        for (let t = 0; t < tokens; t++) {
          const row = expected.subarray(t * width, (t + 1) * width);
          const root = Math.sqrt(row.reduce((sum, y) => sum + y * y, 0) / width + (normEpsilon ?? 0));
          const most = row.reduce((top, y) => Math.max(top, Math.abs(y)), 0) / (scales?.[t] ?? 1);
          if (scales !== null) assert(most > 0.999 && most < 2.001, `row ${t} is scaled to ${most}`);
          row.forEach((y, i) =>
            wanted[t * width + i] = scales === null ? y / root * weight[i]! : y / scales[t]!
          );
        }
        const error = relativeError(prepared.subarray(0, tokens * width), wanted);
        assert(error < 1e-3, `${epilogue} ${JSON.stringify(next)}: ${error}`);
      }
    }
  },
);

gpuTest("f16 arithmetic keeps its precision for activations far outside f16's range", async () => {
  using device = await LinearDevice.open();
  const tile = tiles[0]!;
  const shape = { ...base, rows: 72, columns: 256, outputStride: 72 };
  for (const scale of [1e-9, 1e-4, 3e5, 1e12]) {
    const error = await measure(device, shape, 20, planGemm(shape, 20, tile), scale);
    assert(error < 1e-3, `activations of size ${scale}: ${error}`);
  }
});

gpuTest("a grid of more than 65,535 workgroups is folded", () => {
  const shape = { ...base, rows: 3_000_001, outputStride: 3_000_001 };
  const caps: DeviceCaps = { ...largeGpu, parallelism: 100_000 };
  const [x, y, z] = planLinear(shape, 1, caps).calls[0]!.workgroups;
  assert(x <= 65535 && y <= 65535 && z === 1 && x * y * 8 >= 3_000_001);
});
