// The scheduler in thousands of random histories. After every step: every page has one owner, no slot is read that
// is not the request's own, no slot is written twice, the protocol is kept, and every token, log-probability and
// finish is what the request would get alone. At the end: everybody has finished once, and nothing is held.

import assert from "node:assert/strict";
import fc from "fast-check";
import { config, operation, run } from "./random_runs.ts";

const operations = fc.array(operation, { maxLength: 60, size: "max" });
const runs = Number(Deno.env.get("RADISH_TEST_RUNS") ?? 400);
const seed = Number(Deno.env.get("RADISH_TEST_SEED") ?? 1);

Deno.test("whatever happens, every request gets what it would get alone, and nothing leaks", () => {
  fc.assert(fc.property(config, operations, (config, operations) => void run(config, operations)), {
    numRuns: runs,
    seed,
  });
});

Deno.test("the random histories reach every part of the scheduler", () => {
  const total: Record<string, number> = {};
  for (const [settings, happenings] of fc.sample(fc.tuple(config, operations), { numRuns: 100, seed: 7 })) {
    const { scheduler, executor } = run(settings, happenings);
    for (const [name, value] of Object.entries(scheduler.counters())) {
      total[name] = (total[name] ?? 0) + value;
    }
    total.bursts = (total.bursts ?? 0) + executor.plans.filter((plan) => plan.steps > 1).length;
    total.mixed = (total.mixed ?? 0) +
      executor.plans.filter((plan) => new Set(plan.extendLength).size > 1).length;
    total.scores = (total.scores ?? 0) +
      executor.plans.filter((plan) => plan.sampling.flags.includes(2)).length;
  }
  for (
    const name of [
      "cachedTokensTotal",
      "abortedTotal",
      "evictedTokensTotal",
      "retractionsTotal",
      "wastedTokensTotal",
      "bursts",
      "mixed",
      "scores",
    ]
  ) {
    assert.ok(total[name]! > 20, `${name}: ${total[name]}`);
  }
});
