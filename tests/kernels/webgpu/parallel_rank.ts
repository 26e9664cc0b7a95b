// A worker that is one rank of a tensor-parallel group on WebGPU: continues a prompt greedily, for the tests.

import { SharedMemoryCollective } from "../../../engine/executor/collectives.ts";
import { Decoder } from "../../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../../engine/model/load.ts";
import { openModel } from "../../../engine/model/open.ts";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import { plan, samplingRows, scatteredPages } from "../plans.ts";

export interface RankTask {
  readonly directory: string;
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly size: number;
  readonly prompt: readonly number[];
  readonly tokens: number;
}

/** Tokens of the continuation, the first token's log-probability, and how many logits came back. */
export type RankOutcome =
  | {
    readonly tokens: number[];
    readonly logprob: number;
    readonly logits: number;
  }
  | { readonly error: string };

self.onmessage = async ({ data }: MessageEvent<RankTask>) => {
  let outcome: RankOutcome;
  try {
    outcome = await run(data);
  } catch (error) {
    outcome = { error: error instanceof Error ? error.message : String(error) };
  }
  self.postMessage(outcome);
  // A worker that is terminated from outside while the process ends crashes in some drivers.
  self.close();
};

async function run(
  { directory, memory, rank, size, prompt, tokens }: RankTask,
): Promise<RankOutcome> {
  const shard = { rank, size };
  const model = await openModel(directory);
  using backend = await createWebGpuBackend({ collective: new SharedMemoryCollective(memory, rank) });
  const weights = await loadDecoderWeights(model, backend, { dtype: "auto", shard });
  const decoder = new Decoder(backend, model.config, weights, shard, {
    pageSize: 16,
    numPages: 8,
    maxRows: 2,
    contextLength: 128,
    maxTokens: 64,
    maxSamples: 4,
  });
  const sequences = [{ row: 1, cached: 0, extend: prompt.length }];
  const prefill = plan(1, sequences, {
    pages: scatteredPages([1], 8, 8),
    tokens: [{ row: 1, first: 0, ids: prompt }],
    sampling: samplingRows(sequences, [{ logprobs: 1 }]),
    returnLogits: true,
  });
  const first = backend.record(prefill, (ops) => decoder.forward(ops));
  first.submit();
  const { tokens: drawn, logprobs, logits } = await first.read();
  const rest = backend.record(
    plan(2, [{ row: 1, cached: prompt.length, extend: 1 }], {
      steps: tokens - 1,
    }),
    (ops) => decoder.forward(ops),
  );
  rest.submit();
  const continued = await rest.read();
  return {
    tokens: [...drawn, ...continued.tokens],
    logprob: logprobs[0]!,
    logits: logits!.length,
  };
}
