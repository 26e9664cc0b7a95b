// Decode attention over keys and values of eight bits: the kernel, compiled for the processor, against float64. Free slots
// have scales of NaN.

import assert from "node:assert/strict";
import { numbers } from "./emulator/data.ts";
import { decodeInstructions, emulate, emulatedTest, type Run } from "./emulator/emulator.ts";

/** A library's entry: workgroups of one query after the other. */
const entry = `
extern "C" void run(const u32* plan, const u16* queries, const Cached* keys, const Cached* values, const float2* scales,
                    const u32* pageTable, float* output, float* partials, u32* counters, int count, int splits,
                    int headDim, int numHeads, int numKvHeads, int window, int pagesPerRow) {
  const Attention p = {plan, queries, keys, values, pageTable, output, partials, scales, counters, numHeads, numKvHeads,
                       headDim, numHeads * headDim, 2, pagesPerRow, numKvHeads * 4, 4, 1, window, OUT_F32, 0.1f};
  const unsigned blocks = numKvHeads * ((numHeads / numKvHeads + 7) / 8);
  for (int query = 0; query < count; query++)
    emulated::launch(splits, 128, 0, [=] {
      blockIdx.z = query;
      (headDim <= 64 ? decode_64 : headDim <= 128 ? decode_128 : decode_256)(p);
    }, blocks);
}`;

const instructions = {
  ...decodeInstructions,
  "sub.f16x2": "r = emulated::subtractHalves(__byte_perm(word, 0x64646464u, which), 0x64806480u)",
};

const cases = [
  { headDim: 128, numHeads: 8, numKvHeads: 2, window: 0, splitKeys: 4096, valueSize: 1 },
  { headDim: 128, numHeads: 4, numKvHeads: 2, window: 0, splitKeys: 96, valueSize: 1e-6 },
  { headDim: 80, numHeads: 2, numKvHeads: 2, window: 1, splitKeys: 64, valueSize: 1e4 },
  { headDim: 48, numHeads: 10, numKvHeads: 1, window: 21, splitKeys: 16, valueSize: 1 },
  { headDim: 256, numHeads: 2, numKvHeads: 1, window: 0, splitKeys: 64, valueSize: 1 },
] as const;

emulatedTest(
  "decode attention over a cache of eight bits is what float64 makes of it, whatever the scales",
  () =>
    emulate({
      source: "attention/decode_int8.cu",
      headers: ["gemm/common.cuh", "attention/paged.cuh", "attention/fresh.cuh", "attention/single.cuh"],
      instructions,
      defines: { INT8: "1", ELEMENT: "F16" },
      entry,
      parameters: "pppppppppiiiiiii",
    }, (run) => cases.forEach((one, i) => compare(run, one, i))),
);

const single = (bits: number) => new Float16Array(Uint16Array.of(bits).buffer)[0]!;

function compare(run: Run, one: typeof cases[number], seed: number): void {
  const { headDim: D, numHeads, numKvHeads, window, splitKeys, valueSize } = one;
  const positions = [0, 1, 31, 32, 197],
    queries = positions.length,
    pageSize = 4,
    group = numHeads / numKvHeads;
  const longest = Math.max(...positions) + 1, pagesPerRow = Math.ceil(longest / pageSize);
  const seen = (position: number) => window > 0 ? Math.min(window, position + 1) : position + 1;
  const splits = Math.max(...positions.map((p) => Math.ceil(seen(p) / splitKeys)));
  // A query more than there are in the plan leaves at once.
  const plan = new Uint32Array(16 + 3 * (queries + 1));
  plan[4] = queries, plan[5] = splitKeys;
  positions.forEach((position, i) => plan.set([i, i, position], 16 + 3 * i));
  const pages = queries * pagesPerRow;
  const pageTable = Uint32Array.from({ length: pages }, (_, i) => (i * 7 + 3) % pages);
  assert.equal(new Set(pageTable).size, pages);
  const slots = pages * numKvHeads * pageSize;
  const keys = new Uint8Array(slots * D), values = new Uint8Array(slots * D);
  const scales = new Float32Array(2 * slots).fill(NaN);
  const slot = (row: number, position: number, head: number) =>
    (pageTable[row * pagesPerRow + Math.floor(position / pageSize)]! * numKvHeads + head) * pageSize +
    position % pageSize;
  const old = numbers(1 << 16, seed + 1), sizes = numbers(1 << 10, seed + 2);
  positions.forEach((position, row) => {
    for (let at = 0; at <= position; at++) {
      for (let head = 0; head < numKvHeads; head++) {
        const i = slot(row, at, head);
        // Keys' and values' sizes differ from token to token by up to 2⁶.
        scales[2 * i] = 2 ** sizes[i % 1021]! / 64,
          scales[2 * i + 1] = valueSize * 2 ** (2 * sizes[i % 1019]!) / 64;
        for (let d = 0; d < D; d++) {
          keys[i * D + d] = 128 + Math.round(84 * old[(i * D + d) * 3 % old.length]!);
          values[i * D + d] = 128 + Math.round(84 * old[(i * D + d) * 5 % old.length]!);
        }
      }
    }
  });
  const query = new Uint16Array(Float16Array.from(numbers(queries * numHeads * D, seed + 3)).buffer);
  const output = new Float32Array(queries * numHeads * D);
  const partials = new Float32Array(queries * numHeads * splits * (D + 2));
  const counters = new Uint32Array(queries * numHeads);
  run(
    ...[plan, query, keys, values, scales, pageTable, output, partials, counters],
    ...[queries + 1, splits, D, numHeads, numKvHeads, window, pagesPerRow],
  );
  assert.ok(counters.every((n) => n === 0));
  positions.forEach((position, token) => {
    const first = window > 0 ? Math.max(0, position + 1 - window) : 0;
    for (let head = 0; head < numHeads; head++) {
      const places = Array.from(
        { length: position + 1 - first },
        (_, i) => slot(token, first + i, Math.floor(head / group)),
      );
      const at = (token * numHeads + head) * D;
      const scores = places.map((place) => {
        let sum = 0;
        for (let d = 0; d < D; d++) sum += single(query[at + d]!) * (keys[place * D + d]! - 128);
        return 0.1 * sum * scales[2 * place]!;
      });
      const most = Math.max(...scores), weights = scores.map((s) => Math.exp(s - most));
      const total = weights.reduce((a, b) => a + b);
      let off = 0, size = 0;
      for (let d = 0; d < D; d++) {
        const want = places.reduce(
          (sum, place, i) =>
            sum + weights[i]! / total * (values[place * D + d]! - 128) * scales[2 * place + 1]!,
          0,
        );
        off += (output[at + d]! - want) ** 2, size += want * want;
      }
      const error = Math.sqrt(off / size);
      assert.ok(error < 1e-3, `case ${seed}, token ${token}, head ${head}: ${error}`);
    }
  });
}
