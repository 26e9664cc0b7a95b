// Forwards that are recorded from a tape give what running the decoder's code for each gives: in bursts, from step to
// step, when shapes come back, and after a larger step has replaced the buffers that an earlier tape was made with.

import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { Decoder } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import type { Ops } from "../../../kernels/ops.ts";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import { plan, samplingRows, type TestSampling } from "../plans.ts";

const state = { pageSize: 4, numPages: 160, maxRows: 12, contextLength: 48, maxTokens: 128, maxSamples: 12 };
const pagesPerRow = state.contextLength / state.pageSize;

/** Decodes with one function for all steps, or a new one for each; the tokens, and how often the decoder's code ran. */
async function decode(oneFunction: boolean): Promise<{ tokens: number[]; runs: number; forwards: number }> {
  const directory = new URL("../../data/reference/qwen3-tied", import.meta.url).pathname;
  const opened = await openModel(directory, { dummy: false });
  using backend = await createWebGpuBackend({ caps: { software: false, halfFrom: 0, parallelism: 64 } });
  const shard = { rank: 0, size: 1 };
  const weights = await loadDecoderWeights(opened, backend, { dtype: "auto", shard });
  const decoder = new Decoder(backend, opened.config, weights, shard, state);
  let runs = 0, forwards = 0, id = 0;
  const run = (ops: Ops) => {
    runs++;
    decoder.forward(ops);
  };
  const tokens: number[] = [];
  const step = async (
    rows: number,
    cached: number,
    extend: number,
    steps: number,
    sampling: TestSampling = {},
  ) => {
    const sequences = Array.from({ length: rows }, (_, row) => ({ row, cached, extend }));
    const parameters = sequences.map(() => sampling);
    const recorded = backend.record(
      plan(++id, sequences, {
        steps,
        sampling: samplingRows(sequences, parameters),
        ...(id > 1 ? {} : {
          pages: Array.from(
            { length: state.maxRows * pagesPerRow },
            (_, i) => [Math.floor(i / pagesPerRow), i % pagesPerRow, i] as [number, number, number],
          ),
          tokens: Array.from({ length: state.maxRows }, (_, row) => ({
            row,
            first: 0,
            ids: Array.from({ length: 9 }, (_, i) => (17 * row + 5 * i) % 100),
          })),
        }),
      }),
      oneFunction ? run : (ops) => run(ops),
    );
    forwards += steps;
    recorded.submit();
    const result = await recorded.read();
    tokens.push(...result.tokens, ...result.topTokens);
  };
  await step(3, 0, 9, 1);
  await step(3, 9, 1, 4);
  await step(3, 13, 1, 4);
  // More rows than before: buffers grow, and what was taped is of no use.
  await step(12, 0, 9, 1);
  await step(12, 9, 1, 3);
  await step(3, 12, 1, 4);
  await step(12, 16, 1, 2);
  // Log-probabilities beside penalties need a copy of the logits: not everything on a tape is a dispatch.
  for (const cached of [18, 22, 26]) {
    await step(3, cached, 1, 4, { presencePenalty: 1.5, promptLength: 9, logprobs: 3 });
  }
  return { tokens, runs, forwards };
}

gpuTest(
  "a forward recorded from a tape computes what one recorded from the decoder's code does",
  async () => {
    const fresh = await decode(false), taped = await decode(true);
    assert.deepEqual(taped.tokens, fresh.tokens);
    assert.ok(new Set(taped.tokens).size > 5, "the tokens tell steps apart");
    assert.equal(taped.forwards, 31);
    assert.ok(taped.runs < fresh.runs && fresh.runs < fresh.forwards, `${taped.runs}, ${fresh.runs}`);
  },
);
