// Decode attention that norms and rotates its token's heads itself: the kernel, compiled for the processor, against
// float64. Free slots hold NaN.

import assert from "node:assert/strict";
import { numbers } from "./emulator/data.ts";
import { decodeInstructions, emulate, emulatedTest, type Run } from "./emulator/emulator.ts";

/** A library's entry: workgroups of one query after the other. */
const entry = `
extern "C" void run(const u32* plan, const u16* qkv, const float* cosine, const float* sine, const float* qNorm,
                    const float* kNorm, u16* keys, u16* values, const u32* pageTable, float* output, float* partials,
                    u32* counters, int queries, int splits, int headDim, int numHeads, int numKvHeads, int window,
                    int pagesPerRow) {
  const Attention p = {plan, nullptr, keys, values, pageTable, output, partials, counters, numHeads, numKvHeads, headDim,
                       0, 2, pagesPerRow, numKvHeads * 4 * headDim / 8, 4 * headDim / 8, headDim / 8, window, OUT_F32,
                       0.1f};
  const Fresh f = {qkv, cosine, sine, qNorm, kNorm, OUT_BF16, 1e-6f, 1e-5f};
  const unsigned blocks = numKvHeads * ((numHeads / numKvHeads + 7) / 8);
  for (int query = 0; query < queries; query++)
    emulated::launch(splits, 128, 0, [=] {
      blockIdx.z = query;
      (headDim == 64 ? decode_fresh_64 : decode_fresh_128)(p, f);
    }, blocks);
}`;

const cases = [
  { headDim: 128, numHeads: 8, numKvHeads: 2, window: 0, splitKeys: 4096, norm: true },
  { headDim: 128, numHeads: 8, numKvHeads: 2, window: 0, splitKeys: 96, norm: true },
  { headDim: 64, numHeads: 3, numKvHeads: 1, window: 0, splitKeys: 32, norm: false },
  { headDim: 64, numHeads: 10, numKvHeads: 1, window: 21, splitKeys: 16, norm: true },
  { headDim: 128, numHeads: 2, numKvHeads: 2, window: 1, splitKeys: 64, norm: true },
] as const;

emulatedTest(
  "fresh decode attention is what float64 makes of it, and stores the token's key and value",
  () =>
    emulate({
      source: "attention/decode.cu",
      headers: ["gemm/common.cuh", "attention/paged.cuh", "attention/fresh.cuh", "attention/single.cuh"],
      instructions: decodeInstructions,
      defines: { ELEMENT: "F16" },
      entry,
      parameters: "ppppppppppppiiiiiii",
    }, (run) => cases.forEach((one, i) => compare(run, one, i))),
);

const half = (x: number) => new Uint16Array(new Float16Array([x]).buffer)[0]!;
const single = (bits: number) => new Float16Array(Uint16Array.of(bits).buffer)[0]!;
const bf16 = (x: number) => (new Uint32Array(new Float32Array([x]).buffer)[0]! + 0x8000) >>> 16;
const wide = (bits: number) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;

function compare(run: Run, one: typeof cases[number], seed: number): void {
  const { headDim: D, numHeads, numKvHeads, window, splitKeys, norm } = one;
  const positions = [0, 1, 16, 63, 64, 197], queries = positions.length, pageSize = 4;
  const longest = Math.max(...positions) + 1, pagesPerRow = Math.ceil(longest / pageSize);
  const seen = (position: number) => window > 0 ? Math.min(window, position + 1) : position + 1;
  const splits = Math.max(...positions.map((p) => Math.ceil(seen(p) / splitKeys)));
  const heads = numHeads + 2 * numKvHeads, group = numHeads / numKvHeads;
  // A query more than there are in the plan leaves at once.
  const plan = new Uint32Array(16 + 3 * (queries + 1));
  plan[4] = queries, plan[5] = splitKeys;
  positions.forEach((position, i) => plan.set([i, i, position], 16 + 3 * i));
  const pageTable = Uint32Array.from(
    { length: queries * pagesPerRow },
    (_, i) => (i * 7 + 3) % (queries * pagesPerRow),
  );
  assert.equal(new Set(pageTable).size, pageTable.length);
  const size = queries * pagesPerRow * numKvHeads * pageSize * D;
  const keys = new Uint16Array(size).fill(0x7e00), values = new Uint16Array(size).fill(0x7e00);
  const slot = (row: number, position: number, head: number) =>
    ((pageTable[row * pagesPerRow + Math.floor(position / pageSize)]! * numKvHeads + head) * pageSize +
      position % pageSize) * D;
  const old = numbers(1 << 16, seed + 1);
  positions.forEach((position, row) => {
    for (let at = 0; at < position; at++) {
      for (let head = 0; head < numKvHeads; head++) {
        for (let d = 0; d < D; d++) {
          const i = slot(row, at, head) + d;
          keys[i] = half(old[(i * 3 + 1) % old.length]!), values[i] = half(old[(i * 5 + 2) % old.length]!);
        }
      }
    }
  });
  const qkv = Uint16Array.from(numbers(queries * heads * D, seed + 2), bf16);
  const cosine = new Float32Array(longest * D / 2), sine = new Float32Array(longest * D / 2);
  cosine.forEach((_, i) => {
    const angle = Math.floor(i / (D / 2)) * 0.7 ** (i % (D / 2));
    cosine[i] = Math.cos(angle), sine[i] = Math.sin(angle);
  });
  const [qNorm, kNorm] = [3, 4].map((n) => numbers(D, seed + n).map((g) => 1 + g / 4)) as [
    Float32Array<ArrayBuffer>,
    Float32Array<ArrayBuffer>,
  ];
  const output = new Float32Array(queries * numHeads * D);
  const partials = new Float32Array(queries * numHeads * splits * (D + 2));
  const counters = new Uint32Array(queries * heads);
  run(
    ...[plan, qkv, cosine, sine, norm ? qNorm : null, norm ? kNorm : null, keys, values, pageTable],
    ...[output, partials, counters],
    ...[queries + 1, splits, D, numHeads, numKvHeads, window, pagesPerRow],
  );
  assert.ok(counters.every((n) => n === 0));
  const rotated = (token: number, head: number, weight: Float32Array, epsilon: number) => {
    const x = Array.from({ length: D }, (_, d) => wide(qkv[(token * heads + head) * D + d]!));
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / D + epsilon);
    const n = norm ? x.map((v, d) => v * scale * weight[d]!) : x;
    return n.map((v, d) => {
      const low = d < D / 2, i = positions[token]! * D / 2 + d % (D / 2);
      return v * cosine[i]! + (low ? -1 : 1) * n[low ? d + D / 2 : d - D / 2]! * sine[i]!;
    });
  };
  positions.forEach((position, token) => {
    const first = window > 0 ? Math.max(0, position + 1 - window) : 0;
    for (let kvHead = 0; kvHead < numKvHeads; kvHead++) {
      const own = slot(token, position, kvHead);
      rotated(token, numHeads + kvHead, kNorm, 1e-5).forEach((v, d) => {
        assert.ok(Math.abs(single(keys[own + d]!) - v) < 2e-3 * Math.abs(v) + 1e-4, "the key is stored");
        const value = wide(qkv[(token * heads + numHeads + numKvHeads + kvHead) * D + d]!);
        assert.equal(values[own + d], half(value));
      });
    }
    for (let head = 0; head < numHeads; head++) {
      const kvHead = Math.floor(head / group), q = rotated(token, head, qNorm, 1e-6);
      const scores = Array.from({ length: position + 1 - first }, (_, i) => {
        const at = slot(token, first + i, kvHead);
        return 0.1 * q.reduce((sum, v, d) => sum + v * single(keys[at + d]!), 0);
      });
      const most = Math.max(...scores), weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((a, b) => a + b);
      for (let d = 0; d < D; d++) {
        const want = weights.reduce((sum, w, i) =>
          sum + w * single(values[slot(token, first + i, kvHead) + d]!), 0) /
          total;
        const got = output[(token * numHeads + head) * D + d]!;
        assert.ok(
          Math.abs(got - want) < 4e-3,
          `case ${seed}, token ${token}, head ${head}: ${got}, not ${want}`,
        );
      }
    }
  });
}
