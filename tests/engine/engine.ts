// The whole engine — workers, scheduler, real kernels — on the embedded model. Registered once per device by the
// test files beside it.

import type { Register } from "../gpu.ts";
import assert from "node:assert/strict";
import { type Completion, Engine } from "../../engine/engine.ts";
import { defaultEngineOptions, type EngineOptions } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import { type KvDType, kvDTypes } from "../../kernels/kv_format.ts";
import type { PromptInput } from "../../engine/messages.ts";
import { Random } from "../random.ts";

const pocket = new URL("../../models/pocket", import.meta.url).pathname;

const chat = (content: string): PromptInput => ({ type: "chat", messages: [{ role: "user", content }] });

const questions = [
  "What is 23 plus 48?",
  "Tell me a story about a fox named Ida.",
  "Sort the numbers: 81, 7, 40, 22.",
  "Count from 3 to 17.",
  "What is the capital of Japan?",
  "Spell the word house.",
  "Hello!",
  "Think step by step: what is 54 minus 27?",
];

/** A text of about `tokens` tokens that the model has seen the like of. */
function longText(tokens: number, seed: number): string {
  const random = new Random(seed);
  const words = [
    "the",
    "fox",
    "went",
    "to",
    "a",
    "river",
    "and",
    "saw",
    "two",
    "birds",
    "near",
    "old",
    "house",
  ];
  return Array.from({ length: tokens }, () => random.pick(words)).join(" ");
}

/** What must be the same however a request was computed. */
const essence = ({ text, tokens, finish }: Completion) => ({ text, tokens, finish });

/** The suite on one device, of which `caches` are the types of cache. */
export function testEngine(
  device: EngineOptions["device"],
  register: Register = Deno.test,
  caches: readonly KvDType[] = kvDTypes,
): void {
  const start = (changes: Partial<EngineOptions> = {}) =>
    Engine.start({ ...defaultEngineOptions, modelDir: pocket, device, ...changes });
  const test = (title: string, body: () => Promise<void>) => register(`${device}: ${title}`, body);

  test("64 concurrent requests each give exactly what they give alone", async () => {
    const random = new Random(64);
    const requests = Array.from({ length: 64 }, (_, i) => ({
      input: chat(questions[i % questions.length]!),
      params: {
        ...defaultSamplingParams,
        maxTokens: random.int(1, 40),
        temperature: random.pick([0, 0.7, 1.2]),
        topK: random.pick([0, 20]),
        topP: random.pick([1, 0.9]),
        repetitionPenalty: random.pick([1, 1.1]),
        seed: i,
        stop: random.pick([[], ["7"], [" the", "and"], ["."]]),
        logprobs: random.pick([null, null, 2]),
        ignoreEos: random.pick([true, false]),
      } satisfies SamplingParams,
    }));
    const alone: Completion[] = [];
    {
      await using engine = await start({ cache: "naive", maxRunningRequests: 1 });
      for (const request of requests) alone.push(await engine.submit(request).complete());
    }
    await using engine = await start();
    const together = await Promise.all(requests.map((request) => engine.submit(request).complete()));
    together.forEach((completion, i) => {
      assert.deepEqual(essence(completion), essence(alone[i]!), JSON.stringify(requests[i]));
    });
    const counters = await engine.counters();
    assert.equal(counters.runningRequests + counters.queuedRequests, 0);
    assert.equal(counters.lockedTokens, 0);
    assert.equal(
      counters.freePages * counters.pageSize + counters.evictableTokens,
      counters.totalPages * counters.pageSize,
    );
  });

  for (const kvDType of caches) {
    const kept = kvDType === "auto" ? "" : `, with a cache in ${kvDType}`;
    test(`a prompt asked twice comes from the cache the second time, and so does a shared beginning${kept}`, async () => {
      await using engine = await start({ kvDType });
      const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 8, ignoreEos: true };
      const text = longText(1500, 1);
      const { ids } = await engine.encode({ type: "text", text });
      const input: PromptInput = { type: "ids", ids: ids.slice(0, 1500) };
      const first = await engine.submit({ input, params }).complete();
      const second = await engine.submit({ input, params }).complete();
      assert.equal(first.cachedTokens, 0);
      assert.equal(second.cachedTokens, Math.floor(1499 / 16) * 16);
      assert.deepEqual(second.tokens, first.tokens);

      // Another question on the same text, while one is still running.
      const shared = longText(600, 2);
      const one = engine.submit({
        input: chat(`${shared} What is 1 plus 1?`),
        params: { ...params, maxTokens: 200 },
      });
      const iterator = one[Symbol.asyncIterator]();
      await iterator.next(); // its prompt has been computed
      const two = await engine.submit({ input: chat(`${shared} What is 2 plus 2?`), params }).complete();
      one.abort();
      assert.ok(two.cachedTokens >= 500, `cached ${two.cachedTokens}`);
      await iterator.return();
      await using naive = await start({ kvDType, cache: "naive" });
      const check = await naive.submit({ input: chat(`${shared} What is 2 plus 2?`), params }).complete();
      assert.equal(check.cachedTokens, 0);
      assert.deepEqual(check.tokens, two.tokens);
    });

    test(`32 requests that need more than a pool of 40 pages all finish with the right text${kept}`, async () => {
      const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 60, ignoreEos: true };
      const inputs = Array.from({ length: 32 }, (_, i) => chat(`${questions[i % questions.length]} ${i}`));
      let expected: Completion[];
      {
        await using engine = await start({ kvDType });
        expected = await engine.generate(inputs, params);
      }
      await using engine = await start({ kvDType, numPages: 40, newTokenRatio: 0.1 });
      const squeezed = await engine.generate(inputs, params);
      squeezed.forEach((completion, i) =>
        assert.deepEqual(completion.tokens, expected[i]!.tokens, `request ${i}`)
      );
      const counters = await engine.counters();
      assert.ok(counters.retractionsTotal > 0);
      assert.equal(counters.lockedTokens, 0);
      assert.equal(counters.freePages * counters.pageSize + counters.evictableTokens, 40 * counters.pageSize);
    });

    test(`overlap, chunk size, page size, cache and decode steps do not change a token${kept}`, async () => {
      const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 24 };
      const inputs = [...questions.map(chat), chat(`${longText(150, 3)} What is 12 plus 30?`)];
      let expected: string[] | null = null;
      const variants: Partial<EngineOptions>[] = [
        {},
        { overlap: false, maxDecodeSteps: 1 },
        { maxPrefillTokens: 16, pageSize: 1, maxDecodeSteps: 3 },
        { maxPrefillTokens: 33, pageSize: 64, cache: "naive" },
        { maxRunningRequests: 3, pageSize: 4, overlap: false },
      ];
      for (const variant of variants) {
        await using engine = await start({ ...variant, kvDType });
        const texts = (await engine.generate(inputs, params)).map(({ text }) => text);
        expected ??= texts;
        assert.deepEqual(texts, expected, JSON.stringify(variant));
      }
    });
  }

  test("a request that cannot be run is refused with its numbers, and the next one works", async () => {
    await using engine = await start({ numPages: 8 });
    const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 4 };
    const ids = (length: number): PromptInput => ({ type: "ids", ids: new Uint32Array(length).fill(5) });
    const cases: [PromptInput, Partial<SamplingParams>, RegExp][] = [
      [ids(0), {}, /empty/],
      [ids(5000), {}, /2048.*5000/],
      [ids(500), {}, /128.*500/],
      [ids(5), { maxTokens: 0 }, /max_tokens/],
      [ids(5), { maxTokens: -3 }, /max_tokens/],
    ];
    for (const [input, changes, message] of cases) {
      const { finish } = await engine.submit({ input, params: { ...params, ...changes } }).complete();
      assert.ok(finish.type === "error", JSON.stringify(finish));
      assert.match(finish.message, message);
    }
    const { text } = await engine.submit({
      input: chat("What is 23 plus 48?"),
      params: { ...params, maxTokens: 20 },
    }).complete();
    assert.equal(text, "23 plus 48 is 71.");
  });

  test("an abort ends a request within a step and frees what it held", async () => {
    await using engine = await start();
    const params = { ...defaultSamplingParams, temperature: 0, ignoreEos: true };
    const generation = engine.submit({ input: chat("Hello!"), params });
    const finishes: string[] = [];
    let tokens = 0;
    for await (const delta of generation) {
      tokens += delta.tokens.length;
      if (tokens > 10) generation.abort();
      if (delta.finish) finishes.push(delta.finish.type);
    }
    assert.deepEqual(finishes, ["abort"]);
    assert.ok(tokens < 200, `${tokens} tokens`);
    // What it holds is released when no step in flight contains it any more: at the latest when another is done.
    await engine.submit({ input: chat("Hello!"), params: { ...params, maxTokens: 4 } }).complete();
    const counters = await engine.counters();
    assert.equal(counters.lockedTokens, 0);
    assert.equal(counters.abortedTotal, 1);
  });

  test("a worker that dies fails the requests in flight, and the health says so", async () => {
    await using engine = await start({ dieAtPlan: { rank: 0, plan: 5 } });
    const params = { ...defaultSamplingParams, temperature: 0, ignoreEos: true };
    const finishes = await Promise.all(questions.map(async (question) => {
      return (await engine.submit({ input: chat(question), params }).complete()).finish;
    }));
    for (const finish of finishes) {
      assert.ok(finish.type === "error" && finish.code === "unavailable");
      assert.match(finish.message, /told to die/);
    }
    assert.equal(engine.health, "dead");
    await assert.rejects(engine.counters(), /told to die/);
    const later = await engine.submit({ input: chat("Hello!"), params }).complete();
    assert.equal(later.finish.type, "error");
  });

  test("log-probabilities of output and prompt are those of the model", async () => {
    await using engine = await start();
    const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 6, logprobs: 3, promptLogprobs: 1 };
    const generation = engine.submit({ input: chat("What is 23 plus 48?"), params });
    const deltas = [];
    for await (const delta of generation) deltas.push(delta);
    const outputs = deltas.flatMap((delta) => delta.logprobs ?? []);
    assert.equal(outputs.length, 6);
    for (const { id, logprob, top } of outputs) {
      assert.equal(top.length, 3);
      assert.equal(top[0]!.id, id); // greedy takes the most likely one
      assert.ok(Math.abs(top[0]!.logprob - logprob) < 1e-4 && logprob <= 0);
      assert.ok(top.reduce((sum, t) => sum + Math.exp(t.logprob), 0) <= 1.0001);
    }
    const prompt = deltas.flatMap((delta) => delta.promptLogprobs ?? []);
    const ids = await generation.promptIds;
    assert.equal(prompt.length, ids.length);
    assert.equal(prompt[0], null);
    prompt.slice(1).forEach((entry, i) => assert.equal(entry!.id, ids[i + 1]));
  });
}
