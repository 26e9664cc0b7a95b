// The offline workload of mini-SGLang and nano-vllm: requests of random ids, prompt and answer lengths uniform in a
// range. With their numbers (256 requests, 100 … 1,024 tokens, seed 0) these are the very same requests: 142,827
// tokens in, 133,966 out.

import { PythonRandom } from "./python_random.ts";

export interface WorkloadOptions {
  readonly requests: number;
  /** Of prompts and of answers, in tokens, both ends included. */
  readonly minTokens: number;
  readonly maxTokens: number;
  readonly seed: number;
  /** Ids are drawn from 0 … 10,000 and wrapped where the vocabulary is smaller. */
  readonly vocabSize: number;
}

export interface WorkloadRequest {
  readonly ids: Uint32Array;
  /** Tokens to generate, whatever they are. */
  readonly outputTokens: number;
}

export function offlineWorkload(options: WorkloadOptions): WorkloadRequest[] {
  const { requests, minTokens, maxTokens, seed, vocabSize } = options;
  const random = new PythonRandom(seed);
  const prompts = Array.from({ length: requests }, () => {
    const length = random.int(minTokens, maxTokens);
    return Uint32Array.from({ length }, () => random.int(0, 10_000) % vocabSize);
  });
  return prompts.map((ids) => ({ ids, outputTokens: random.int(minTokens, maxTokens) }));
}
