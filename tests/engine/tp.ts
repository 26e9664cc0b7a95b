// Tensor parallelism through the whole engine: the same tokens from any number of ranks. Registered once per device
// by the test files beside it.

import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { openModel } from "../../engine/model/open.ts";
import { defaultEngineOptions, type EngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import { readReference } from "../models/harness.ts";

const references = new URL("../data/reference/", import.meta.url).pathname;
export const pocket = new URL("../../models/pocket", import.meta.url).pathname;

/** Directories of all models there are for tests. */
export const models: readonly string[] = [
  ...[...Deno.readDirSync(references)].filter((entry) => entry.isDirectory).map(({ name }) => references + name)
    .sort(),
  pocket,
];

const name = (directory: string) => directory.slice(directory.lastIndexOf("/") + 1);

const greedy: SamplingParams = { ...defaultSamplingParams, temperature: 0, ignoreEos: true };

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

/** Greedy tokens of prompts of 1, 7, 33 and 120 tokens: two of them alone, then all in one batch. */
async function continuations(engine: Engine, prompts: readonly (readonly number[])[], maxTokens: number) {
  const run = async (prompt: readonly number[]) => {
    const input = { type: "ids", ids: Uint32Array.from(prompt) } as const;
    const { tokens, finish } = await engine.submit({ input, params: { ...greedy, maxTokens } }).complete();
    assert.equal(finish.type, "length");
    return tokens;
  };
  const alone = [];
  for (const prompt of prompts.slice(1, 3)) alone.push(await run(prompt));
  await engine.flush();
  return { alone, batched: await Promise.all(prompts.map(run)) };
}

/** The suite on one device, `maxTokens` from every prompt. */
export function testTensorParallel(device: EngineOptions["device"], maxTokens: number): void {
  for (const directory of models) {
    Deno.test(`${device}: ${name(directory)} gives the same tokens with 1, 2 and 4 ranks, alone and batched`, async () => {
      const { config } = await openModel(directory);
      const prompts = (await readReference(`${directory}/reference.safetensors`)).map(({ prompt }) => prompt);
      let expected: unknown = null;
      for (const tp of [1, 2, 4].filter((n) => config.numHeads % n === 0)) {
        await using engine = await startRanks(device, directory, tp);
        const found = await continuations(engine, prompts, maxTokens);
        expected ??= found;
        assert.deepEqual(found, expected, `${tp} ranks`);
      }
    });
  }
}
