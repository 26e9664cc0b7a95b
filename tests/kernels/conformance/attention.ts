// Attention: heads, pages, windows, caps and sinks, over batches that follow each other in the cache.

import assert from "node:assert/strict";
import type { HeadLayout, StateSpec } from "../../../kernels/ops.ts";
import { Random } from "../../random.ts";
import { plan, scatteredPages, type TestSequence } from "../plans.ts";
import { baseState, Pair, type Suite, tolerance } from "./pair.ts";

const layouts: [
  HeadLayout,
  pageSize: number,
  qkNorm: boolean,
  window: number | null,
  softCap?: number | null,
  sinks?: boolean,
][] = [
  [{ numHeads: 4, numKvHeads: 2, headDim: 32 }, 16, true, null],
  [{ numHeads: 14, numKvHeads: 2, headDim: 16 }, 1, false, null],
  [{ numHeads: 8, numKvHeads: 8, headDim: 48 }, 4, false, 24],
  [{ numHeads: 16, numKvHeads: 2, headDim: 64 }, 64, true, null],
  [{ numHeads: 6, numKvHeads: 2, headDim: 128 }, 32, true, 50],
  [{ numHeads: 2, numKvHeads: 1, headDim: 256 }, 16, false, null],
  [{ numHeads: 14, numKvHeads: 2, headDim: 8 }, 16, false, null],
  [{ numHeads: 9, numKvHeads: 1, headDim: 80 }, 2, true, null],
  [{ numHeads: 8, numKvHeads: 4, headDim: 32 }, 16, false, 40, 2],
  [{ numHeads: 4, numKvHeads: 2, headDim: 256 }, 16, false, null, 2],
  [{ numHeads: 16, numKvHeads: 2, headDim: 64 }, 16, false, 48, null, true],
  [{ numHeads: 4, numKvHeads: 1, headDim: 128 }, 1, true, null, 3, true],
];

/** Registers a test for each layout and type of keys and values. */
export function testAttention({ test, caches }: Suite): void {
  const attentions = layouts.flatMap((layout) => caches.map((kvDType) => ({ kvDType, layout })));
  for (const { kvDType, layout } of attentions) {
    const [heads, pageSize, qkNorm, window, softCap = null, sunk = false] = layout;
    const { numHeads, numKvHeads, headDim } = heads;
    const title = `attention equals the reference: ${numHeads}/${numKvHeads} heads of ${headDim}, pages of ` +
      `${pageSize}${qkNorm ? ", q/k norm" : ""}${window ? `, window ${window}` : ""}` +
      `${softCap === null ? "" : `, scores capped`}${sunk ? ", sinks" : ""}` +
      `${kvDType === "auto" ? "" : `, cache in ${kvDType}`}`;
    test(title, async (tested) => {
      const contextLength = 512;
      const state: StateSpec = {
        ...baseState,
        heads,
        kvDType,
        pageSize,
        numPages: 4 * Math.ceil(contextLength / pageSize),
        contextLength,
      };
      const pair = new Pair(tested, state);
      const random = new Random(headDim);
      const width = (numHeads + 2 * numKvHeads) * headDim, half = headDim / 2;
      const angles = Array.from(
        { length: contextLength * half },
        (_, i) => Math.floor(i / half) / 100 ** (i % half / half),
      );
      const rope = pair.each((b) =>
        b.createRopeTable(Float32Array.from(angles, Math.cos), Float32Array.from(angles, Math.sin), half)
      );
      const qValues = random.normals(headDim, 0.2).map((v) => v + 1);
      const norm = pair.each((b) => ({ weight: b.createVector(qValues), epsilon: 1e-6 }));
      const sinkValues = random.normals(numHeads, 3);
      const sinks = pair.each((b) => sunk ? b.createVector(sinkValues) : undefined);
      const pages = scatteredPages([0, 3, 1], Math.ceil(contextLength / pageSize), state.numPages);
      // A read of a slot that nothing was written to would show.
      for (const b of pair.backends) b.poisonPages(Uint32Array.from({ length: state.numPages }, (_, i) => i));
      const qkv = pair.activation(width, null, "hidden");
      const output = pair.activation(numHeads * headDim, null, "attended");
      // The first tokens of sequences alone, prefill from nothing, a chunk behind a cached prefix beside decodes,
      // decodes with different lengths, one after the other so that each sees the keys of those before it.
      const sequence = (row: number, cached: number, extend: number): TestSequence => ({
        row,
        cached,
        extend,
      });
      const batches: TestSequence[][] = [
        [sequence(0, 0, 1), sequence(3, 0, 1)],
        [sequence(0, 1, 32), sequence(3, 1, 1), sequence(1, 0, 100)],
        [sequence(1, 100, 60), sequence(0, 33, 1), sequence(3, 2, 7)],
        [sequence(1, 160, 150), sequence(3, 9, 1)],
        [sequence(0, 34, 1), sequence(3, 10, 1), sequence(1, 310, 1)],
        [sequence(0, 35, 1), sequence(3, 11, 1), sequence(1, 311, 1)],
        [sequence(1, 312, 1)],
        [sequence(1, 313, 5), sequence(0, 36, 2)],
      ];
      for (const [id, sequences] of batches.entries()) {
        const count = sequences.reduce((sum, s) => sum + s.extend, 0);
        const values = random.normals(count * width, 1.5);
        const step = plan(id, sequences.map((s) => ({ ...s, sample: false })), id === 0 ? { pages } : {});
        for (const [i, backend] of pair.backends.entries()) {
          backend.writeActivation(qkv[i]!, values);
        }
        await pair.run(step, (ops, i) => {
          ops.attention({
            qkv: qkv[i]!,
            heads,
            ...(qkNorm ? { qNorm: norm[i]!, kNorm: norm[i]! } : {}),
            rope: rope[i]!,
            output: output[i]!,
            layer: 0,
            scale: 1 / Math.sqrt(headDim),
            window,
            softCap,
            sinks: sinks[i],
          });
        });
        const error = await pair.error(output, count);
        assert.ok(error < tolerance, `batch ${id}: ${error}`);
      }
    });
  }
}
