// Rules that every generated shader must keep, because the compiler does not enforce them (see docs of naga 29).

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { dtypes, formats } from "../../../kernels/formats/mod.ts";
import type { HeadLayout } from "../../../kernels/ops.ts";
import { addRows } from "../../../kernels/webgpu/collective/add.ts";
import { kvDTypes } from "../../../kernels/kv_format.ts";
import { cacheLayout } from "../../../kernels/webgpu/attention/cache.ts";
import { decodeAttention } from "../../../kernels/webgpu/attention/decode.ts";
import { mergeSplits } from "../../../kernels/webgpu/attention/merge.ts";
import { prefillAttention, prefillTile } from "../../../kernels/webgpu/attention/prefill.ts";
import { embed } from "../../../kernels/webgpu/embed/embed.ts";
import { largeGpu } from "../large_gpu.ts";
import type { DeviceCaps, KernelSource } from "../../../kernels/webgpu/shader/kernel.ts";
import { expertTile, matvecTile } from "../../../kernels/webgpu/linear/divide.ts";
import { gemmCall } from "../../../kernels/webgpu/linear/gemm.ts";
import { matvecCall } from "../../../kernels/webgpu/linear/matvec.ts";
import { prepareCall } from "../../../kernels/webgpu/linear/prepare.ts";
import { planLinear } from "../../../kernels/webgpu/linear/plan.ts";
import { combineExperts } from "../../../kernels/webgpu/moe/combine.ts";
import { route } from "../../../kernels/webgpu/moe/route.ts";
import { listTiles } from "../../../kernels/webgpu/moe/tiles.ts";
import { ropeStore } from "../../../kernels/webgpu/attention/rope_store.ts";
import { drawChunks, drawFinish } from "../../../kernels/webgpu/sample/draw.ts";
import { logprobChunks, logprobFinish } from "../../../kernels/webgpu/sample/logprobs.ts";
import { applyBias, applyPenalties, countHistory } from "../../../kernels/webgpu/sample/penalties.ts";
import { sampleLimits } from "../../../kernels/webgpu/sample/threshold.ts";
import { scatter } from "../../../kernels/webgpu/plan/scatter.ts";

const devices: DeviceCaps[] = [
  largeGpu,
  { ...largeGpu, minSubgroup: 8, maxSubgroup: 32, maxWorkgroupBytes: 32768 },
  { ...largeGpu, minSubgroup: 32, maxSubgroup: 64, maxWorkgroupThreads: 256 },
  {
    ...largeGpu,
    minSubgroup: 8,
    maxSubgroup: 8,
    maxWorkgroupBytes: 32768,
    parallelism: 2,
    software: true,
  },
];
const layouts: HeadLayout[] = [
  { numHeads: 16, numKvHeads: 8, headDim: 128 },
  { numHeads: 14, numKvHeads: 2, headDim: 64 },
  { numHeads: 4, numKvHeads: 4, headDim: 48 },
  { numHeads: 8, numKvHeads: 1, headDim: 256 },
];

/** Every kernel for a device. */
function everyKernel(caps: DeviceCaps): KernelSource[] {
  const found: { readonly source: KernelSource }[] = [
    scatter(5),
    addRows(64, "f32", 3),
  ];
  for (const [heads, kvDType] of layouts.flatMap((heads) => kvDTypes.map((type) => [heads, type] as const))) {
    const state = { heads, kvDType, pageSize: 16, contextLength: 1000 } as Parameters<
      typeof cacheLayout
    >[0];
    const cache = cacheLayout(state);
    for (const window of [null, 128]) {
      const shape = {
        heads,
        cache,
        scale: 0.125,
        window,
        qkv: "f32",
        output: "f16",
      } as const;
      const norms = [null, { qNorm: null, kNorm: null }, { qNorm: 1e-6, kNorm: 1e-6 }];
      for (
        const [threads, headBlock, batch] of [[32, 8, 4], [128, 8, 4], [512, 8, 4], [512, 1, 8], [1024, 1, 4]]
      ) {
        const layout = { threads: threads!, headBlock: headBlock!, batch: batch! };
        for (const own of norms) found.push(decodeAttention(shape, own, 2, 4, layout, caps));
      }
      found.push(mergeSplits(shape, 2, caps));
      const tile = prefillTile(heads, caps);
      if (tile) found.push(prefillAttention(shape, tile, 3));
    }
    for (const [qNorm, kNorm] of [[null, null], [1e-6, 1e-6]] as const) {
      found.push(
        ropeStore({ heads, cache, qkv: "f32" }, { qNorm, kNorm }, 3, caps),
      );
    }
  }
  for (const dtype of dtypes) {
    found.push(
      embed({
        columns: 5 * formats[dtype].blockColumns,
        dtype,
        firstId: 7,
        rows: 9,
        contextLength: 64,
        zeroOthers: true,
        output: "f32",
      }, 3),
    );
    // Narrow, middling, wide, and a vocabulary; a number of tokens of each class.
    for (
      const [rows, columns] of [[640, 512], [1024, 3072], [4096, 4096], [6144, 1024], [70000, 512]] as const
    ) {
      for (const tokens of [1, 2, 4, 8, 16, 32, 64, 128, 300, 1000]) {
        for (const epilogue of ["store", "add", "gate-mul"] as const) {
          const shape = {
            rows,
            columns,
            dtype,
            epilogue,
            normEpsilon: epilogue === "gate-mul" ? 1e-6 : null,
            bias: epilogue === "store",
            input: "f32",
            output: "f32",
            outputStride: rows,
            outputOffset: 0,
            countWord: 0,
          } as const;
          found.push(...planLinear(shape, tokens, caps).calls);
        }
      }
    }
    for (const input of ["token", "pair"] as const) {
      const shape = {
        rows: input === "token" ? 144 : 136,
        columns: input === "token" ? 136 : 72,
        dtype,
        epilogue: input === "token" ? "gate-mul" : "add",
        normEpsilon: null,
        bias: false,
        input: "f32",
        output: "f32",
        outputStride: 136,
        outputOffset: 0,
        countWord: 0,
        experts: { input, perToken: 3, first: 4, count: 8, firstPair: 6 },
      } as const;
      found.push(matvecCall(shape, matvecTile(shape, 1, caps), 2));
      for (const each of [1, 12, 36, 100]) {
        found.push(gemmCall(shape, 5, expertTile(each, caps), { role: "input", type: "f32", scaled: false }));
      }
    }
  }
  for (const gather of [false, true]) {
    const shape = { columns: 96, input: "f32", countWord: 0 } as const;
    found.push(prepareCall(shape, 3, { normEpsilon: 1e-6, type: "f32" }, gather));
  }
  const logits = { vocabSize: 5003, stride: 5004 };
  found.push(
    drawChunks(logits, true, 2, caps),
    drawChunks(logits, false, 2, caps),
    drawFinish(3, 64, 2, caps),
    sampleLimits(logits, 2, caps),
    logprobChunks(logits, 2, caps),
    logprobFinish(logits, 2, caps),
    countHistory(logits, 64, 10, 2),
    applyPenalties(logits, 64, 10, 2),
    applyBias(logits, 4, 2),
    route({ experts: 8, expertsPerToken: 3, renormalize: false }, 2, caps),
    listTiles(
      {
        experts: 8,
        expertsPerToken: 3,
        tilePairs: 16,
        firstToken: 0,
        mostTokens: 9,
      },
      0,
      caps,
    ),
    combineExperts({
      width: 72,
      expertsPerToken: 3,
      epilogue: "add",
      firstToken: 0,
      output: "f32",
    }, 2),
  );
  return found.map(({ source }) => source);
}

const all = devices.map((caps) => ({ caps, sources: everyKernel(caps) }));

Deno.test("every variable in every shader has an initialiser, because naga does not zero it again in a loop", () => {
  for (const { sources } of all) {
    for (const source of sources) {
      for (const line of source.code().split("\n")) {
        for (const [declaration] of line.matchAll(/\bvar\s+[^;{]*/g)) {
          assert.match(declaration, /=/, `${source.key}: ${declaration}`);
        }
      }
    }
  }
});

Deno.test("no shader enables subgroups, which naga refuses, or divides its accesses from its bindings", () => {
  for (const { sources } of all) {
    for (const source of sources) {
      const code = source.code();
      assert.doesNotMatch(code, /enable\s+subgroups/, source.key);
      const declared = [
        ...code.matchAll(
          /@group\(1\)\s*@binding\((\d+)\)\s*var<storage,\s*(\w+)>/g,
        ),
      ];
      assert.deepEqual(
        declared.map(([, index]) => Number(index)),
        source.access.map((_, i) => i),
        source.key,
      );
      assert.deepEqual(declared.map(([, , access]) => access), [
        ...source.access,
      ], source.key);
    }
  }
});

gpuTest("equal keys mean equal code, on a device", () => {
  for (const { sources } of all) {
    const seen = new Map<string, string>();
    for (const source of sources) {
      const code = source.code();
      assert.equal(seen.get(source.key) ?? code, code, source.key);
      seen.set(source.key, code);
    }
  }
});

Deno.test("no shader takes more workgroup memory or threads than its device has", () => {
  const sizes: Record<string, number> = {
    f32: 4,
    u32: 4,
    f16: 2,
    "atomic<u32>": 4,
  };
  const bytesOf = (type: string): number => {
    const array = /^array<(.*),\s*(\d+)u?>$/.exec(type);
    if (array) return bytesOf(array[1]!.trim()) * Number(array[2]);
    const vector = /^vec([234])<(.*)>$/.exec(type);
    if (vector) {
      return (vector[1] === "3" ? 4 : Number(vector[1])) * bytesOf(vector[2]!);
    }
    const short = /^vec([24])([fuh])$/.exec(type);
    if (short) return Number(short[1]) * (short[2] === "h" ? 2 : 4);
    const matrix = /^mat2x4<(.*)>$/.exec(type);
    if (matrix) return 8 * bytesOf(matrix[1]!);
    const bytes = sizes[type];
    if (bytes === undefined) throw new Error(`unknown type ${type}`);
    return bytes;
  };
  for (const { caps, sources } of all) {
    for (const source of sources) {
      const code = source.code();
      const threads = Number(/@workgroup_size\((\d+)\)/.exec(code)![1]);
      assert.ok(threads <= caps.maxWorkgroupThreads, `${source.key}: ${threads} threads`);
      let total = 0;
      for (
        const [, type] of code.matchAll(
          /var<workgroup>\s*\w+\s*:\s*([^;]+);/g,
        )
      ) total += bytesOf(type!.trim());
      assert.ok(
        total <= caps.maxWorkgroupBytes,
        `${source.key}: ${total} of ${caps.maxWorkgroupBytes}`,
      );
    }
  }
});
