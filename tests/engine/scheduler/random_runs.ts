// Random histories of an engine: what may be configured, what may be asked, and in which order things may happen.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { SamplingParams } from "../../../engine/params.ts";
import type { SchedulerConfig } from "../../../engine/scheduler/config.ts";
import { spareRows } from "../../../engine/workers/fairness.ts";
import { baseConfig, type Client, Driver } from "./driver.ts";
import { grammarOf } from "./fake_grammar.ts";
import { hash } from "./fake_model.ts";

const vocabSize = 24;

/** Small sizes of everything, so that every limit is met. */
export const config: fc.Arbitrary<SchedulerConfig> = fc.record({
  pageSize: fc.constantFrom(1, 4, 16),
  /** Tokens in the pool, roughly. */
  poolTokens: fc.integer({ min: 48, max: 240 }),
  maxRunningRequests: fc.integer({ min: 1, max: 8 }),
  maxQueuedRequests: fc.constantFrom(2, 1000, 1000, 1000),
  maxPrefillTokens: fc.constantFrom(1, 5, 16, 40, 100),
  maxStepTokens: fc.constantFrom(5, 30, 100),
  maxStepSamples: fc.constantFrom(2, 12, 50),
  contextLength: fc.integer({ min: 60, max: 128 }),
  cache: fc.constantFrom("radix" as const, "radix" as const, "naive" as const),
  overlap: fc.boolean(),
  maxDecodeSteps: fc.constantFrom(1, 2, 5),
  targetStepMilliseconds: fc.constantFrom(0, 15),
  prefillStepMilliseconds: fc.constantFrom(0, 20),
  newTokenRatio: fc.constantFrom(0, 0, 0.3, 1),
  drawLater: fc.boolean(),
}).map(({ poolTokens, ...rest }) => ({
  ...baseConfig,
  ...rest,
  vocabSize,
  numPages: Math.ceil(poolTokens / rest.pageSize),
}));

/** Sampling parameters that change what the scheduler does. */
const params: fc.Arbitrary<Partial<SamplingParams>> = fc.record({
  maxTokens: fc.oneof({ weight: 1, arbitrary: fc.constant(null) }, {
    weight: 19,
    arbitrary: fc.integer({ min: 1, max: 40 }),
  }),
  minTokens: fc.constantFrom(0, 0, 0, 20),
  temperature: fc.constantFrom(0, 0, 0.8),
  seed: fc.maxSafeInteger(),
  topK: fc.constantFrom(0, 3),
  repetitionPenalty: fc.constantFrom(1, 1.5),
  logitBias: fc.constantFrom([], [], [[3, 1.5] as const, [4, -2] as const]),
  ignoreEos: fc.boolean(),
  stopTokenIds: fc.constantFrom([], [], [1, 2]),
  logprobs: fc.constantFrom(null, null, 0, 2),
  promptLogprobs: fc.constantFrom(null, null, null, null, 0, 1),
  promptLogprobsStart: fc.constantFrom(0, 0, 1, 7),
  priority: fc.constantFrom(0, 0, 0, -1, 5),
  pooling: fc.constantFrom(null, null, null, null, "last" as const, "mean" as const),
  grammar: fc.option(fc.nat().map(grammarOf)),
}).map((params) =>
  params.pooling === null
    ? params
    : { ...params, logprobs: null, promptLogprobs: null, promptLogprobsStart: 0, grammar: null }
);

const arrival = fc.record({
  type: fc.constant("arrive" as const),
  /** What the prompt begins with: one of three texts, or an earlier request, with or without its answer. */
  from: fc.oneof(
    fc.record({ text: fc.nat({ max: 2 }) }),
    fc.record({ earlier: fc.nat(), answer: fc.boolean() }),
  ),
  /** How much of it is kept, and what is added. */
  keep: fc.oneof(fc.constant(1000), fc.integer({ min: 1, max: 30 })),
  suffix: fc.array(fc.oneof(fc.constant(0), fc.nat({ max: vocabSize - 1 })), { maxLength: 8 }),
  params,
  /** So many equal ones. */
  copies: fc.constantFrom(1, 1, 1, 2, 3),
  salt: fc.constantFrom("", "", "", "tenant"),
  client: fc.constantFrom("", "", "b", "c"),
  /** Whether the scheduler runs before the next operation. */
  advance: fc.boolean(),
});

const which = fc.nat();
const advance = fc.boolean();

/** One thing that happens. */
export const operation = fc.oneof(
  { weight: 5, arbitrary: arrival },
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant("deliver" as const), count: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("answer" as const),
      late: fc.boolean(),
      which,
      count: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("abort" as const), which, advance }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("stopped" as const), which, advance }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("flush" as const) }) },
);

/** Value of an arbitrary. */
export type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function text(index: number, length: number): number[] {
  return Array.from({ length }, (_, i) => hash(index, i) % vocabSize);
}

function promptOf(operation: Operation & { type: "arrive" }, clients: readonly Client[]): number[] {
  const { from, keep, suffix } = operation;
  let base: number[];
  if ("earlier" in from && clients.length > 0) {
    const client = clients[from.earlier % clients.length]!;
    base = [...client.prompt, ...from.answer ? client.tokens : []].slice(0, keep);
  } else {
    base = text("text" in from ? from.text : 0, Math.min(keep, 35));
  }
  return [...base, ...suffix];
}

/** Lets it all happen, then waits for the end. The driver checks everything after every step. */
export function run(config: SchedulerConfig, operations: readonly Operation[]): Driver {
  using driver = new Driver(config);
  const owners = new Set<string>();
  const clients: Client[] = [];
  for (const op of operations) {
    switch (op.type) {
      case "arrive": {
        const prompt = promptOf(op, clients);
        for (let i = 0; i < op.copies; i++) clients.push(driver.send(prompt, op.params, op.salt, op.client));
        owners.add(op.client);
        break;
      }
      case "deliver":
        for (let i = 0; i < op.count; i++) driver.deliver();
        break;
      case "answer":
        // Late ones are not waited for again.
        if (op.late) driver.late();
        for (let i = 0; i < op.count; i++) driver.answer(op.which);
        break;
      case "abort":
      case "stopped": {
        // Mostly of those that run: the latest ones.
        const client = clients.at(-1 - op.which % Math.max(1, Math.min(clients.length, 10)));
        if (client) op.type === "abort" ? driver.abort(client) : driver.stop(client);
        break;
      }
      case "flush": {
        driver.advance();
        const idle = [...driver.clients.values()].every((client) => client.over) &&
          driver.executor.unread === 0;
        const flushed = driver.scheduler.flush();
        assert.equal(flushed, idle, "flushed");
        break;
      }
    }
    if (!("advance" in op) || op.advance) driver.advance();
    else driver.scheduler.verify();
    const most = config.maxRunningRequests + (owners.size > 1 ? spareRows : 0);
    assert.ok(driver.scheduler.counters().runningRequests <= most, "more requests run than may");
  }
  driver.finish();
  const { retractionsTotal } = driver.scheduler.counters();
  // Between clients a row may change hands although there are pages.
  if (config.newTokenRatio === 1 && owners.size <= 1) {
    assert.equal(retractionsTotal, 0, "retracted though all was promised");
  }
  return driver;
}
