// Embeddings through the whole engine, against transformers (tools/make_embedding_reference.py).

import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import { testOn } from "../gpu.ts";

const modelDir = new URL("../data/embedding", import.meta.url).pathname;

/** What transformers made of the model. */
interface Reference {
  readonly texts: readonly { readonly text: string; readonly ids: number[]; readonly embedding: number[] }[];
  readonly means: readonly { readonly ids: number[]; readonly mean: number[] }[];
}
const reference: Reference = JSON.parse(Deno.readTextFileSync(`${modelDir}/reference.json`));

const pooled = (pooling: SamplingParams["pooling"]): SamplingParams => ({
  ...defaultSamplingParams,
  pooling,
});

const start = (device: EngineOptions["device"], changes: Partial<EngineOptions> = {}) =>
  Engine.start({
    ...defaultEngineOptions,
    modelDir,
    device,
    numPages: 128,
    maxRunningRequests: 8,
    maxPrefillTokens: 40, // so that longer prompts come in chunks
    ...changes,
  });

/** Largest difference from an embedding of length 1. */
function difference(found: Float32Array | undefined, expected: readonly number[]): number {
  assert.equal(found?.length, expected.length);
  const length = Math.hypot(...found);
  return Math.max(...found.map((x, i) => Math.abs(x / length - expected[i]!)));
}

for (const device of ["reference", "cpu", "webgpu", "cuda"] as const) {
  const test = testOn(device);
  for (const tp of [1, 2]) {
    test(`${device}: embeddings from ${tp} rank(s) equal transformers' to 1e-3, from the cache, too`, async () => {
      await using engine = await start(device, { tp });
      const texts = [...reference.texts, ...reference.texts];
      for (const [i, { text, ids, embedding }] of texts.entries()) {
        const answer = await engine.submit({ input: { type: "text", text }, params: pooled("last") })
          .complete();
        assert.deepEqual([...answer.promptIds], ids);
        assert.deepEqual(answer.tokens, []);
        assert.ok(difference(answer.embedding, embedding) < 1e-3, text);
        if (i === texts.length - 2) assert.equal(answer.cachedTokens, 96); // all pages of 110 tokens but the last
      }
      for (const { ids, mean } of reference.means) {
        const input = { type: "ids", ids: Uint32Array.from(ids) } as const;
        const answer = await engine.submit({ input, params: pooled("mean") }).complete();
        assert.equal(answer.cachedTokens, 0); // What is in the cache has no states left.
        assert.ok(difference(answer.embedding, mean) < 1e-3, `mean of ${ids.length}`);
      }
    });
  }

  test(`${device}: embeddings and generations that share batches are what each is alone`, async () => {
    await using engine = await start(device);
    const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 40, ignoreEos: true };
    const generate = (text: string) => engine.submit({ input: { type: "text", text }, params }).complete();
    const prompts = reference.texts.map(({ text }) => text || "a");
    const alone = [];
    for (const prompt of prompts) alone.push((await generate(prompt)).tokens);
    const [generated, embedded] = await Promise.all([
      Promise.all(prompts.map(generate)),
      Promise.all([...reference.texts, ...reference.texts].map(async ({ text, embedding }) => {
        const answer = await engine.submit({ input: { type: "text", text }, params: pooled("last") })
          .complete();
        return difference(answer.embedding, embedding);
      })),
    ]);
    assert.deepEqual(generated.map(({ tokens }) => tokens), alone);
    assert.ok(Math.max(...embedded) < 1e-3, `${embedded}`);
    const { lockedTokens, runningRequests } = await engine.counters();
    assert.equal(lockedTokens + runningRequests, 0);
  });
}
