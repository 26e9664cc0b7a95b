// What the scheduler does with particular requests. That every token is right, that nothing leaks and that the
// protocol is kept is checked by the driver in all of them.

import { sampledRows } from "../../../kernels/sampling.ts";
import assert from "node:assert/strict";
import type { SamplingParams } from "../../../engine/params.ts";
import type { ToDetokenizer } from "../../../engine/messages.ts";
import { Scheduler } from "../../../engine/scheduler/scheduler.ts";
import { baseConfig, type Client, Driver } from "./driver.ts";
import { FakeExecutor } from "./fake_executor.ts";
import { hash } from "./fake_model.ts";

/** Any prompt; `text` tells different ones apart. */
function prompt(length: number, text = 0): number[] {
  return Array.from({ length }, (_, i) => 1 + hash(text, i) % 40);
}

const forced: Partial<SamplingParams> = { ignoreEos: true };

/** Prompt tokens that the plans computed, all sequences together; decoding not counted. */
function prefilled(driver: Driver): number {
  let total = 0;
  for (const { extendLength } of driver.executor.plans) {
    for (const n of extendLength) if (n > 1) total += n;
  }
  return total;
}

function errorOf(client: Client) {
  assert.equal(client.finish?.type, "error");
  return client.finish as typeof client.finish & { type: "error" };
}

Deno.test("a request gets exactly max_tokens tokens and one finish, with overlap and without", () => {
  for (const overlap of [true, false]) {
    for (const maxTokens of [1, 2, 3, 10]) {
      const driver = new Driver({ overlap, maxDecodeSteps: 4 });
      const client = driver.send(prompt(5), { maxTokens, ...forced });
      driver.finish();
      assert.equal(client.tokens.length, maxTokens);
      assert.deepEqual(client.finish, { type: "length" });
    }
  }
});

Deno.test("max_tokens left out means what is left of the context", () => {
  const driver = new Driver({ contextLength: 50 });
  const client = driver.send(prompt(8), forced);
  driver.finish();
  assert.equal(client.tokens.length, 42);
});

Deno.test("with overlap the next plan is sent before the result of the last one is known", () => {
  for (const overlap of [true, false]) {
    const driver = new Driver({ overlap });
    driver.send(prompt(5), { maxTokens: 5, ...forced });
    driver.advance();
    assert.equal(driver.executor.plans.length, overlap ? 2 : 1);
    assert.equal(driver.executor.results.length, 1);
    driver.finish();
  }
});

Deno.test("a pool of 40 pages serves 32 requests that need more, by retracting some", () => {
  for (const newTokenRatio of [0, 0.1]) {
    const driver = new Driver({ numPages: 40, maxRunningRequests: 32, newTokenRatio, maxDecodeSteps: 4 });
    for (let i = 0; i < 32; i++) {
      driver.send(prompt(5 + i % 7, i), {
        maxTokens: 20 + i % 11,
        ignoreEos: i % 3 > 0,
        temperature: 0.7,
        seed: i,
      });
    }
    driver.finish();
    assert.ok(driver.scheduler.counters().retractionsTotal > 0);
  }
});

Deno.test("the youngest request is retracted, alone, and continues before those that came after it", () => {
  // Twelve pages of four tokens: two requests of 24 tokens fit, the third does not.
  const driver = new Driver({ numPages: 12, newTokenRatio: 0, maxRunningRequests: 3 });
  const order: string[] = [];
  const clients = [0, 1, 2, 3].map((i) => driver.send(prompt(8, i), { maxTokens: 16, ...forced }));
  driver.advance();
  do {
    for (const client of clients) if (client.over && !order.includes(client.id)) order.push(client.id);
  } while (driver.deliver());
  driver.finish();
  assert.deepEqual(order, clients.map(({ id }) => id));
  assert.equal(driver.scheduler.counters().retractionsTotal, 1);
});

Deno.test("a seed that nobody gave is drawn once and kept over retraction", () => {
  const driver = new Driver({ numPages: 7, newTokenRatio: 0, maxRunningRequests: 2 });
  const params = { maxTokens: 12, seed: null, ...forced };
  driver.send(prompt(8), params);
  driver.send(prompt(8, 1), params);
  driver.finish();
  assert.ok(driver.scheduler.counters().retractionsTotal > 0);
  const seeds = new Set(driver.executor.plans.flatMap(({ sampling }) => {
    return sampledRows(sampling).map(({ seedLow, seedHigh }) => `${seedLow},${seedHigh}`);
  }));
  assert.equal(seeds.size, 2, "one per request");
});

Deno.test("pages on their way back are waited for instead of retracting", () => {
  // All of the prompt is computed anew for its log-probabilities, beside the cached copy: twelve pages, none left.
  const driver = new Driver({ pageSize: 1, numPages: 12 });
  driver.send(prompt(6), { maxTokens: 1, ...forced });
  driver.advance();
  while (driver.deliver());
  driver.send(prompt(6), { maxTokens: 5, promptLogprobs: 0, ...forced });
  driver.finish();
  assert.equal(driver.scheduler.counters().retractionsTotal, 0);
  assert.equal(driver.scheduler.counters().evictedTokensTotal, 0);
});

Deno.test("a request is refused with both numbers when it does not fit", () => {
  const driver = new Driver({ contextLength: 32 });
  const small = new Driver({ contextLength: 128, numPages: 5 });
  const tooLong = driver.send(prompt(32), { maxTokens: 1 });
  const tooMuch = driver.send(prompt(20), { maxTokens: 13 });
  const fits = driver.send(prompt(20), { maxTokens: 12, ...forced });
  const tooLongForPool = small.send(prompt(21), { maxTokens: null });
  driver.finish();
  small.finish();
  assert.equal(errorOf(tooLong).code, "too_long");
  assert.match(errorOf(tooLong).message, /maximum context length is 32 tokens, .* has 32/);
  assert.match(
    errorOf(tooMuch).message,
    /maximum context length is 32 tokens, .* has 20 and up to 13 are asked for/,
  );
  assert.match(errorOf(tooLongForPool).message, /key\/value pool holds 20 tokens, .* has 21/);
  assert.equal(fits.tokens.length, 12);
});

Deno.test("requests that make no sense are refused, and the loop goes on", () => {
  const driver = new Driver();
  const refused = [
    driver.send([], { maxTokens: 5 }),
    driver.send([1], { maxTokens: 0 }),
    driver.send([1], { maxTokens: -3 }),
    driver.send([1], { maxTokens: NaN }),
    driver.send([1], { maxTokens: 1.5 }),
  ];
  const foreign = driver.send([1, 50], { maxTokens: 5 });
  const biased = driver.send([1], { maxTokens: 5, logitBias: [[50, 1]] });
  // Odd, but they can be served.
  driver.send([1], { maxTokens: 5, minTokens: 99, stopTokenIds: [2, 1 << 30] });
  driver.send(prompt(5), { maxTokens: 5, promptLogprobs: 3, promptLogprobsStart: 1000 });
  driver.finish();
  for (const client of [...refused, foreign, biased]) assert.equal(errorOf(client).code, "invalid");
  assert.match(errorOf(refused[0]!).message, /empty/);
  assert.match(errorOf(foreign).message, /50/);
});

Deno.test("a full queue refuses, and takes requests again when it has room", () => {
  const driver = new Driver({ maxQueuedRequests: 2, maxRunningRequests: 1 });
  driver.send(prompt(5), { maxTokens: 5 });
  driver.advance();
  driver.send(prompt(5, 1), { maxTokens: 5 });
  driver.send(prompt(5, 2), { maxTokens: 5 });
  const refused = driver.send(prompt(5, 3), { maxTokens: 5 });
  while (driver.scheduler.counters().queuedRequests > 1) assert.ok(driver.deliver());
  const taken = driver.send(prompt(5, 4), { maxTokens: 5 });
  driver.finish();
  assert.equal(errorOf(refused).code, "queue_full");
  assert.notEqual(taken.finish?.type, "error");
});

Deno.test("requests are served in the order of their arrival", () => {
  const driver = new Driver({ maxRunningRequests: 1 });
  const clients = [0, 1, 2].map((i) => driver.send(prompt(5, i), { maxTokens: 3, ...forced }));
  driver.advance();
  do {
    const open = clients.map((client) => !client.over);
    assert.deepEqual(open, [...open].sort(), "an earlier one is open while a later one is over");
  } while (driver.deliver());
  driver.finish();
});

Deno.test("a prompt asked twice comes from the cache in all its whole pages", () => {
  for (const [length, cached] of [[50, 48], [48, 44]] as const) {
    const driver = new Driver();
    const params = { maxTokens: 3, ...forced };
    const first = driver.send(prompt(length), params);
    driver.advance();
    while (driver.deliver());
    const second = driver.send(prompt(length), params);
    driver.finish();
    assert.equal(first.cachedTokens, 0);
    assert.equal(second.cachedTokens, cached, "at least one token is computed");
    assert.equal(driver.scheduler.counters().cachedTokensTotal, cached);
  }
});

Deno.test("two questions on one long text share it while the first still runs", () => {
  const driver = new Driver({ maxPrefillTokens: 16 });
  const text = prompt(60);
  const first = driver.send([...text, 1, 2], { maxTokens: 30, ...forced });
  driver.advance();
  for (let i = 0; i < 5; i++) driver.deliver();
  assert.ok(first.tokens.length > 0 && !first.over);
  const second = driver.send([...text, 3, 4, 5], { maxTokens: 3, ...forced });
  driver.finish();
  assert.equal(second.cachedTokens, 60);
});

Deno.test("a request counts once among those that found a prefix, however long it waits for pages", () => {
  const driver = new Driver({ numPages: 24 });
  const text = prompt(60);
  const hits = () => driver.scheduler.inspect().runs.map((run) => run.hits);
  driver.send([...text, 1, 2], { maxTokens: 30, ...forced });
  driver.advance();
  driver.deliver();
  const second = driver.send([...text, 3, 4], { maxTokens: 30, ...forced });
  for (let i = 0; i < 20; i++) driver.deliver();
  assert.ok(!second.started || second.tokens.length === 0, "the second waits");
  assert.ok(hits().every((count) => count === 0), `${hits()} while it waits`);
  while (second.tokens.length === 0) driver.deliver();
  assert.equal(second.cachedTokens, 60);
  assert.equal(Math.max(...hits()), 1);
  driver.finish();
});

Deno.test("of several equal prompts that arrive together one is computed", () => {
  const driver = new Driver({ maxPrefillTokens: 20 });
  const clients = [0, 1, 2, 3].map((seed) => {
    return driver.send(prompt(50), { maxTokens: 5, temperature: 1, seed, ...forced });
  });
  driver.finish();
  assert.deepEqual(clients.map((client) => client.cachedTokens), [0, 48, 48, 48]);
  assert.equal(prefilled(driver), 50 + 3 * 2);
});

Deno.test("the naive cache shares nothing", () => {
  const driver = new Driver({ cache: "naive" });
  for (let i = 0; i < 3; i++) driver.send(prompt(20), { maxTokens: 5, ...forced });
  driver.finish();
  assert.equal(prefilled(driver), 60);
  assert.equal(driver.scheduler.counters().cachedTokensTotal, 0);
});

Deno.test("tenants with different salts share nothing", () => {
  const driver = new Driver();
  const params = { maxTokens: 2, ...forced };
  const cachedFor = (salt: string) => {
    const client = driver.send(prompt(20), params, salt);
    driver.advance();
    while (driver.deliver());
    return client.cachedTokens;
  };
  assert.deepEqual(["a", "b", "", "a", "b"].map(cachedFor), [0, 0, 0, 16, 16]);
  driver.finish();
});

Deno.test("what a plan computed after the end of a text is not offered to others", () => {
  // With pages of one token and id 0 to begin with, a token that was dropped could pass for one that follows.
  for (let text = 0; text < 40; text++) {
    const driver = new Driver({ pageSize: 1, vocabSize: 5, contextLength: 40, maxDecodeSteps: 4 });
    const ids = prompt(4, text).map((id) => id % 5);
    const first = driver.send(ids, { maxTokens: 20 });
    driver.advance();
    while (driver.deliver());
    driver.send([...ids, ...first.tokens, 0, 0, 0, 0, 0, 0], { maxTokens: 4 });
    driver.finish();
  }
});

Deno.test("a long prompt does not stop the tokens of those that run", () => {
  const driver = new Driver({ maxPrefillTokens: 8 });
  const running = driver.send(prompt(4), { maxTokens: 40, ...forced });
  driver.advance();
  while (running.tokens.length === 0) driver.deliver();
  const long = driver.send(prompt(80, 1), { maxTokens: 2, ...forced });
  driver.advance();
  while (long.tokens.length === 0) {
    const before = running.tokens.length;
    assert.ok(driver.deliver());
    assert.equal(running.tokens.length, before + 1, "every step brings a token");
  }
  driver.finish();
  assert.ok(
    driver.executor.plans.some(({ extendLength }) => extendLength.includes(8) && extendLength.includes(1)),
  );
});

Deno.test("no more requests run than a step has samples for", () => {
  const driver = new Driver({ maxStepSamples: 2, maxPrefillTokens: 8 });
  driver.send(prompt(4), { maxTokens: 30, ...forced });
  driver.send(prompt(40, 1), { maxTokens: 30, ...forced });
  driver.send(prompt(4, 2), { maxTokens: 30, ...forced });
  driver.advance();
  do {
    assert.ok(driver.scheduler.counters().runningRequests <= 2);
  } while (driver.deliver());
  driver.finish();
});

Deno.test("several forwards run per result when nobody waits, as many as nobody can end in", () => {
  const driver = new Driver({ maxDecodeSteps: 8 });
  const a = driver.send(prompt(5), { maxTokens: 30, ...forced });
  const b = driver.send(prompt(5, 1), { maxTokens: 16, minTokens: 6 });
  driver.finish();
  assert.equal(a.tokens.length, 30);
  const steps = driver.executor.plans.map((plan) => plan.steps);
  assert.equal(steps[0], 1, "prompts are computed one step at a time");
  assert.ok(steps.includes(8));
  assert.ok(b.tokens.length >= 6);
  assert.ok(driver.executor.plans.length < 15);
});

Deno.test("a request in the queue puts an end to several forwards per result", () => {
  const driver = new Driver({ maxDecodeSteps: 8, maxRunningRequests: 1 });
  driver.send(prompt(5), { maxTokens: 40, ...forced });
  driver.advance();
  for (let i = 0; i < 3; i++) driver.deliver();
  assert.equal(driver.executor.plans.at(-1)!.steps, 8);
  const before = driver.executor.plans.length;
  driver.send(prompt(5, 1), { maxTokens: 1, ...forced });
  driver.deliver();
  driver.deliver();
  assert.ok(driver.executor.plans.length > before);
  assert.ok(driver.executor.plans.slice(before).every((plan) => plan.steps === 1));
  driver.finish();
});

Deno.test("an abort ends a request at once, in the queue, in its prompt and while it runs", () => {
  const driver = new Driver({ maxPrefillTokens: 8, maxRunningRequests: 2 });
  const running = driver.send(prompt(5), { maxTokens: 40, ...forced });
  driver.advance();
  driver.deliver();
  driver.deliver();
  const prefilling = driver.send(prompt(60, 1), { maxTokens: 5 });
  const waiting = driver.send(prompt(5, 2), { maxTokens: 5 });
  driver.advance();
  driver.deliver();
  assert.equal(driver.scheduler.counters().queuedRequests, 1);
  for (const client of [waiting, prefilling, running]) {
    assert.equal(client.finish, null);
    driver.abort(client);
    driver.advance();
    assert.deepEqual(client.finish, { type: "abort" });
  }
  driver.finish();
  assert.equal(driver.scheduler.counters().abortedTotal, 3);
});

Deno.test("an ended request keeps its row and pages until no plan in flight contains it", () => {
  const driver = new Driver();
  const client = driver.send(prompt(5), { maxTokens: 40, ...forced });
  driver.advance();
  driver.deliver();
  driver.abort(client);
  driver.advance();
  assert.equal(driver.executor.unread, 2);
  assert.equal(driver.scheduler.counters().runningRequests, 1);
  assert.ok(driver.scheduler.counters().usedTokens > 0);
  driver.deliver();
  assert.equal(driver.scheduler.counters().runningRequests, 1);
  driver.deliver();
  assert.equal(driver.scheduler.counters().runningRequests, 0);
  assert.equal(driver.scheduler.counters().usedTokens, 0);
  assert.equal(driver.scheduler.counters().wastedTokensTotal, 2);
  driver.finish();
});

Deno.test("a request that its stop string has ended says nothing more", () => {
  const driver = new Driver();
  const client = driver.send(prompt(5), { maxTokens: 40, ...forced });
  driver.advance();
  driver.deliver();
  driver.stop(client);
  driver.finish();
  assert.equal(client.finish, null);
  assert.equal(driver.scheduler.counters().abortedTotal, 0);
});

Deno.test("flushing is refused while a request runs", () => {
  const driver = new Driver();
  driver.send(prompt(20), { maxTokens: 5 });
  assert.equal(driver.scheduler.flush(), false);
  driver.advance();
  assert.equal(driver.scheduler.flush(), false);
  while (driver.deliver());
  assert.ok(driver.scheduler.counters().evictableTokens > 0);
  assert.equal(driver.scheduler.flush(), true);
  assert.equal(driver.scheduler.counters().evictableTokens, 0);
  driver.finish();
});

Deno.test("prompt log-probabilities come once, for every position asked for, in chunks that the samples allow", () => {
  const driver = new Driver({ maxStepSamples: 8, maxRunningRequests: 4 });
  const all = driver.send(prompt(30), { maxTokens: 2, promptLogprobs: 2, ...forced });
  driver.advance();
  while (driver.deliver());
  const tail = driver.send(prompt(30), {
    maxTokens: 2,
    promptLogprobs: 0,
    promptLogprobsStart: 20,
    ...forced,
  });
  driver.finish();
  assert.equal(all.promptLogprobs?.length, 30);
  assert.equal(all.promptLogprobs?.[0], null, "nothing precedes the first token");
  assert.equal(tail.promptLogprobs?.length, 10);
  assert.equal(tail.cachedTokens, 16, "the position in front of the first scored one is computed");
});

Deno.test("eviction gives way to new requests, least recently used first and no more than needed", () => {
  const driver = new Driver({ numPages: 12, contextLength: 48 });
  const ask = (text: number) => {
    const client = driver.send(prompt(13, text), { maxTokens: 3, ...forced });
    driver.advance();
    while (driver.deliver());
    return client.cachedTokens;
  };
  assert.deepEqual([1, 2, 3, 1, 4, 1, 2].map(ask), [0, 0, 0, 12, 0, 12, 8]);
  assert.ok(driver.scheduler.counters().evictedTokensTotal > 0);
  driver.finish();
});

Deno.test("requests without a limit run side by side although their limits together exceed the pool", () => {
  const driver = new Driver({ pageSize: 16, numPages: 1280, contextLength: 20000, newTokenRatio: 0.3 });
  for (let i = 0; i < 8; i++) driver.send(prompt(10, i));
  driver.advance();
  assert.equal(driver.scheduler.counters().runningRequests, 8);
  driver.finish();
});

Deno.test("counters add up", () => {
  const driver = new Driver();
  const clients = [0, 1, 2].map((i) => driver.send(prompt(10 + i, i), { maxTokens: 6, ...forced }));
  driver.finish();
  const counters = driver.scheduler.counters();
  assert.equal(counters.requestsTotal, 3);
  assert.equal(counters.promptTokensTotal, 33);
  assert.equal(counters.generatedTokensTotal, clients.reduce((sum, { tokens }) => sum + tokens.length, 0));
  assert.equal(counters.stepsTotal, driver.executor.plans.reduce((sum, { steps }) => sum + steps, 0));
  assert.equal(counters.prefillStepsTotal, 1);
  assert.equal(counters.prefillTokensTotal, 33);
  assert.equal(counters.totalPages, 64);
  assert.equal(counters.stepMilliseconds, 1);
  assert.equal(counters.generationThroughput, 18 / 6 * 1000);
});

Deno.test("the next plan is sent before the news of the last result", () => {
  const log: string[] = [];
  const executor = new FakeExecutor(baseConfig);
  const scheduler = new Scheduler(baseConfig, {
    toExecutors: (message) => {
      log.push(message.type);
      executor.receive(message);
    },
    toDetokenizer: (message: ToDetokenizer) => void log.push(message.type),
    toGrammar: () => assert.fail("no request is constrained"),
  });
  const params = new Driver().send([1], { maxTokens: 9, ...forced }).params;
  scheduler.processInput({
    type: "request",
    id: "a",
    ids: Uint32Array.of(1, 2),
    params,
    salt: "",
    client: "",
  });
  scheduler.runNextBatches();
  scheduler.processBatchResult(executor.results.shift()!);
  scheduler.runNextBatches();
  assert.deepEqual(log, ["start", "plan", "plan", "plan", "updates"]);
});
