// Tensor parallelism through the whole engine: the same tokens from any number of ranks. Registered once per device
// by the test files beside it.

import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { openModel } from "../../engine/model/open.ts";
import { defaultEngineOptions, type EngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams, type TokenLogprob } from "../../engine/params.ts";
import { testOn } from "../gpu.ts";
import { readReference } from "../models/harness.ts";
import { keptReference, modelTest, referenceModels } from "../models/references.ts";

export const pocket = new URL("../../models/pocket", import.meta.url).pathname;

const greedy: SamplingParams = {
  ...defaultSamplingParams,
  temperature: 0,
  ignoreEos: true,
};

/** An engine that takes token ids, with room for what these tests ask. */
export function startRanks(
  device: EngineOptions["device"],
  modelDir: string,
  tp: number,
  changes: Partial<EngineOptions> = {},
): Promise<Engine> {
  return Engine.start({
    ...defaultEngineOptions,
    modelDir,
    device,
    tp,
    skipTokenizer: true,
    numPages: 64,
    maxRunningRequests: 8,
    maxPrefillTokens: 128,
    ...changes,
  });
}

/** Greedy tokens of some prompts: one of them alone, then all in one batch. */
async function continuations(
  engine: Engine,
  prompts: readonly (readonly number[])[],
  maxTokens: number,
) {
  const tokens = async (prompt: readonly number[]) => (await run(engine, prompt, {}, maxTokens)).tokens;
  const alone = await tokens(prompts.at(-1)!);
  await engine.flush();
  return { alone, batched: await Promise.all(prompts.map(tokens)) };
}

/** The suite on one device, with prompts cut to `longest` tokens and `maxTokens` from each. */
export function testTensorParallel(
  device: EngineOptions["device"],
  { longest, maxTokens }: {
    readonly longest: number;
    readonly maxTokens: number;
  },
): void {
  const test = testOn(device);
  const sameTokens = async (directory: string) => {
    const { config } = await openModel(directory);
    const prompts = (await readReference(`${directory}/reference.safetensors`)).slice(0, 3)
      .map(({ prompt }) => prompt.slice(0, longest));
    let expected: unknown = null;
    for (const tp of [1, 2, 4].filter((n) => config.numHeads % n === 0)) {
      await using engine = await startRanks(device, directory, tp);
      const found = await continuations(engine, prompts, maxTokens);
      expected ??= found;
      assert.deepEqual(found, expected, `${tp} ranks`);
    }
  };
  const title = (model: string) =>
    `${device}: ${model} gives the same tokens with 1, 2 and 4 ranks, alone and batched`;
  for (const model of referenceModels) modelTest(test, model, title(model), sameTokens);
  test(title("pocket"), () => sameTokens(pocket));

  const eightBits: readonly (readonly [string, Partial<EngineOptions>])[] = [
    ["int8", { dtype: "int8" }],
    ["a cache in int8", { kvDType: "int8" }],
  ];
  for (const [what, changes] of eightBits) {
    test(`${device}: pocket with ${what} gives the same tokens with 1, 2 and 4 ranks`, async () => {
      const prompts = (await readReference(`${pocket}/reference.safetensors`)).slice(0, 2)
        .map(({ prompt }) => prompt.slice(0, 12));
      let expected: unknown = null;
      for (const tp of [1, 2, 4]) {
        await using engine = await startRanks(device, pocket, tp, changes);
        const found = await continuations(engine, prompts, maxTokens);
        expected ??= found;
        assert.deepEqual(found, expected, `${tp} ranks`);
      }
    });
  }

  // The share of a rank may end inside a block of 32 columns; its weights are then rounded in other blocks, and a model
  // of random weights, whose best tokens lie 0.01 apart, may choose another.
  test(`${device}: experts with int8 are as likely to continue with 1, 2 and 4 ranks`, async () => {
    const experts = keptReference("qwen3-moe");
    const prompts = (await readReference(`${experts}/reference.safetensors`))
      .map(({ prompt }) => prompt.slice(0, 12));
    let expected: TokenLogprob[] | null = null;
    for (const tp of [1, 2, 4]) {
      await using engine = await startRanks(device, experts, tp, { dtype: "int8" });
      const found = await Promise.all(prompts.map((prompt) => run(engine, prompt, { logprobs: 5 }, 1)));
      const first = found.map(({ logprobs }) => logprobs[0]!);
      expected ??= first;
      for (const [i, { id, logprob }] of first.entries()) {
        const before = expected[i]!.top.find((token) => token.id === id);
        assert.ok(before, `${tp} ranks: token ${id} was not among the best`);
        assert.ok(Math.abs(logprob - before.logprob) < 0.1, `${tp} ranks: ${logprob} and ${before.logprob}`);
      }
    }
  });

  test(`${device}: sampled, penalised, biased and scored rows are the same with 1, 2 and 4 ranks, beside greedy ones`, async () => {
    const prompts = (await readReference(`${pocket}/reference.safetensors`))
      .map(({ prompt }) => prompt.slice(0, 12));
    let expected: Outcome[] | null = null;
    for (const tp of [1, 2, 4]) {
      await using engine = await startRanks(device, pocket, tp);
      const found = await Promise.all(
        sampled.map((changes, i) => run(engine, prompts[i % prompts.length]!, changes, maxTokens)),
      );
      expected ??= found;
      for (const [i, { tokens, logprobs }] of found.entries()) {
        assert.deepEqual(
          tokens,
          expected[i]!.tokens,
          `${tp} ranks, ${JSON.stringify(sampled[i])}`,
        );
        assert.equal(logprobs.length, expected[i]!.logprobs.length);
        logprobs.forEach((entry, t) => sameLogprobs(entry, expected![i]!.logprobs[t]!));
      }
    }
  });
}

/** What to ask beside what; every way to choose a token. */
const sampled: readonly Partial<SamplingParams>[] = [
  {},
  { temperature: 0.8, seed: 1 },
  { logprobs: 3 },
  { temperature: 0.7, topK: 20, topP: 0.9, seed: 2 },
  { repetitionPenalty: 1.3, frequencyPenalty: 0.2, presencePenalty: 0.1 },
  { temperature: 1.2, minP: 0.1, seed: 3, logprobs: 2 },
  { logitBias: [[5, 100]] },
  {},
];

interface Outcome {
  readonly tokens: readonly number[];
  readonly logprobs: readonly TokenLogprob[];
}

async function run(
  engine: Engine,
  prompt: readonly number[],
  changes: Partial<SamplingParams>,
  maxTokens: number,
): Promise<Outcome> {
  const tokens: number[] = [], logprobs: TokenLogprob[] = [];
  const input = { type: "ids", ids: Uint32Array.from(prompt) } as const;
  for await (
    const delta of engine.submit({
      input,
      params: { ...greedy, maxTokens, ...changes },
    })
  ) {
    tokens.push(...delta.tokens);
    logprobs.push(...delta.logprobs ?? []);
    if (delta.finish !== null) assert.equal(delta.finish.type, "length");
  }
  return { tokens, logprobs };
}

/** Sums are taken in another order, so the numbers may differ in their last digits, and equals may swap. */
function sameLogprobs(found: TokenLogprob, expected: TokenLogprob): void {
  const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 2e-2, `${a} and ${b}`);
  assert.equal(found.id, expected.id);
  close(found.logprob, expected.logprob);
  assert.equal(found.top.length, expected.top.length);
  found.top.forEach(({ logprob }, i) => close(logprob, expected.top[i]!.logprob));
}
