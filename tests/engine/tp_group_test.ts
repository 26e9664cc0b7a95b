// A group of ranks as a whole: what it holds, what it refuses, and how it ends.

import { testOn } from "../gpu.ts";
import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { openModel } from "../../engine/model/open.ts";
import { defaultEngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams } from "../../engine/params.ts";
import { checkRanks, vocabRange } from "../../engine/weights/shard.ts";
import { keptReference as reference } from "../models/references.ts";
import { pocket, startRanks } from "./tp.ts";
import { safetensors, temporaryFolder, type TestTensor } from "./weights/files.ts";

const params = { ...defaultSamplingParams, temperature: 0, ignoreEos: true };
const ids = (...numbers: number[]) => ({ type: "ids", ids: Uint32Array.from(numbers) }) as const;

Deno.test("each of n ranks holds an n-th of the weights", async () => {
  await using whole = await startRanks("cpu", pocket, 1);
  const bytes = whole.model.weightBytes;
  for (const tp of [2, 4]) {
    await using engine = await startRanks("cpu", pocket, tp);
    const { rankWeightBytes } = engine.model;
    assert.equal(rankWeightBytes.length, tp);
    // Norms are on every rank; they are small.
    for (const part of rankWeightBytes) {
      assert.ok(
        part >= bytes / tp && part < 1.02 * bytes / tp,
        `${part} of ${bytes}`,
      );
    }
  }
});

Deno.test("a number of ranks that does not divide the model is refused in one line, before anything is started", async () => {
  const refused = async (
    name: string,
    tp: number,
    message: RegExp,
    changes = {},
  ) => {
    const { config } = await openModel(reference(name));
    assert.throws(() => checkRanks({ ...config, ...changes }, tp), { message });
  };
  await refused(
    "llama-gqa",
    3,
    /^3 ranks cannot share 8 heads and 4 key\/value heads evenly; [^\n]*$/,
  );
  await refused(
    "qwen2-bias",
    4,
    /^4 ranks cannot share 14 heads and 2 key\/value heads/,
  );
  await refused(
    "qwen2-bias",
    7,
    /^7 ranks cannot share 14 heads and 2 key\/value heads/,
  );
  await refused("llama-gqa", 8, /^a vocabulary of 7 is too small for 8 ranks/, {
    vocabSize: 7,
  });
  const { config } = await openModel(reference("qwen3-yarn"));
  checkRanks(config, 4); // two key/value heads, each on two ranks
  // Nothing is loaded: this folder has no weights.
  await using folder = await temporaryFolder({
    "config.json": await Deno.readTextFile(
      `${reference("llama-gqa")}/config.json`,
    ),
  });
  const options = {
    ...defaultEngineOptions,
    modelDir: folder.path,
    skipTokenizer: true,
    dummyWeights: true,
  };
  await assert.rejects(
    Engine.start({ ...options, device: "cpu", tp: 3 }),
    /^ModelError: 3 ranks cannot share/,
  );
});

Deno.test("the shares of a vocabulary cover it once, for any size and any number of ranks", async () => {
  const { config } = await openModel(pocket);
  for (const vocabSize of [8, 9, 13, 509, 2048, 32003, 151_936]) {
    for (const size of [1, 2, 3, 4, 7, 8]) {
      let next = 0;
      const rows = Array.from({ length: size }, (_, rank) => {
        const share = vocabRange({ ...config, vocabSize }, { rank, size });
        assert.equal(share.start, next);
        next += share.rows;
        return share.rows;
      });
      assert.equal(next, vocabSize);
      assert.ok(Math.max(...rows) - Math.min(...rows) <= 1);
    }
  }
});

/** A model's folder with a smaller vocabulary. */
async function cutVocabulary(directory: string, vocabSize: number) {
  const { tensors } = await openModel(directory);
  const file = await Deno.readFile(`${directory}/model.safetensors`);
  const copies: Record<string, TestTensor> = {};
  for (const [name, { dtype, shape, offset, bytes }] of tensors!) {
    const vocabulary = name === "model.embed_tokens.weight" ||
      name === "lm_head.weight";
    const kept = vocabulary ? bytes / shape[0]! * vocabSize : bytes;
    copies[name] = {
      dtype,
      shape: vocabulary ? [vocabSize, shape[1]!] : shape,
      data: file.slice(offset, offset + kept),
    };
  }
  const config = JSON.parse(
    await Deno.readTextFile(`${directory}/config.json`),
  );
  return await temporaryFolder({
    "config.json": JSON.stringify({ ...config, vocab_size: vocabSize }),
    "model.safetensors": safetensors(copies),
  });
}

for (const device of ["reference", "cpu", "webgpu"] as const) {
  const test = testOn(device);
  test(`${device}: a vocabulary that no number divides gives the same tokens and log-probabilities with 1, 2 and 4 ranks`, async () => {
    await using folder = await cutVocabulary(reference("qwen3-yarn"), 509);
    let expected: readonly (readonly number[])[] | null = null;
    for (const tp of [1, 2, 4]) {
      await using engine = await startRanks(device, folder.path, tp);
      const found = await Promise.all([
        { logprobs: null },
        { logprobs: 20 },
        { logprobs: null, temperature: 1, seed: 4 },
      ].map(async (changes) => {
        const input = ids(508, 1, 507, 255);
        const drawn: number[] = [], best: number[] = [];
        const request = { input, params: { ...params, maxTokens: 6, ...changes } };
        for await (const { tokens, logprobs } of engine.submit(request)) {
          drawn.push(...tokens);
          for (const { top } of logprobs ?? []) best.push(...top.slice(0, 3).map(({ id }) => id));
        }
        return [...drawn, ...best];
      }));
      expected ??= found;
      assert.deepEqual(found, expected, `${tp} ranks`);
    }
  });
}

Deno.test("ranks that add in float16 answer right", async () => {
  await using engine = await startRanks("cpu", pocket, 2, {
    reduceType: "float16",
    skipTokenizer: false,
  });
  const input = {
    type: "chat",
    messages: [{ role: "user", content: "What is 23 plus 48?" }],
  } as const;
  const { text } = await engine.submit({
    input,
    params: { ...params, maxTokens: 20, ignoreEos: false },
  })
    .complete();
  assert.equal(text, "23 plus 48 is 71.");
});

for (const [device, tp] of [["cpu", 2], ["webgpu", 2], ["cuda", 2], ["cuda", 4]] as const) {
  const test = testOn(device);
  test(`${device}: one of ${tp} ranks that dies while it generates fails what is in flight and what comes later, and names itself`, async () => {
    await using engine = await startRanks(device, pocket, tp, {
      dieAtPlan: { rank: 1, plan: 3 },
    });
    const finishes = await Promise.all([5, 6, 7].map(async (id) => {
      return (await engine.submit({
        input: ids(id, 8, 9),
        params: { ...params, maxTokens: 400 },
      }).complete())
        .finish;
    }));
    for (const finish of finishes) {
      assert.ok(
        finish.type === "error" && finish.code === "unavailable",
        JSON.stringify(finish),
      );
      assert.match(
        finish.message,
        /the executor of rank 1 has failed: told to die/,
      );
    }
    assert.equal(engine.health, "dead");
    await assert.rejects(engine.counters(), /rank 1 has failed/);
    const later = await engine.submit({ input: ids(5), params }).complete();
    assert.equal(later.finish.type, "error");
  });
}

for (const [device, tp] of [["cpu", 2], ["cuda", 2], ["cuda", 4]] as const) {
  const test = testOn(device);
  test(`${device}: one of ${tp} ranks that stalls ends the group, is named, and does not keep the engine from closing`, async () => {
    // On a GPU the driver compiles kernels first, for one rank after the other.
    const hooks = {
      dieAtPlan: { rank: 1, plan: 12, stall: true },
      leastPatience: device === "cpu" ? 1000 : 4000,
    };
    await using engine = await startRanks(device, pocket, tp, hooks);
    const request = { input: ids(5, 8, 9), params: { ...params, maxTokens: 400 } };
    const { finish } = await engine.submit(request).complete();
    assert.ok(finish.type === "error" && finish.code === "unavailable", JSON.stringify(finish));
    assert.match(finish.message, /rank 1 of the group has stalled/);
    assert.equal(engine.health, "dead");
  });
}

Deno.test("an engine that is closed while its ranks generate ends without a word about a failure", async () => {
  const engine = await startRanks("cpu", pocket, 2);
  let dead: Error | null = null;
  void engine.dead.then((error) => dead = error);
  const begun = Promise.withResolvers<void>();
  const finish = (async () => {
    for await (
      const delta of engine.submit({
        input: ids(5, 6),
        params: { ...params, maxTokens: 500 },
      })
    ) {
      begun.resolve();
      if (delta.finish !== null) return delta.finish;
    }
  })();
  await begun.promise;
  await engine[Symbol.asyncDispose]();
  assert.equal(dead, null);
  assert.match(
    (await finish as { message?: string }).message ?? "",
    /shut down/,
  );
});
