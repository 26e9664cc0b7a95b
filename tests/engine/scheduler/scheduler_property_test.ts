// The scheduler in random histories, thousands of operations. After every one: every page has one owner, no slot is
// read that is not the request's own, no slot is written twice, the protocol is kept, and every token, log-probability
// and finish is what the request would get alone. At the end: everybody has finished once, and nothing is held.
//
// RADISH_TEST_RUNS and RADISH_TEST_SEED choose more, or other, histories.

import { sampledRows, SampleFlag } from "../../../kernels/sampling.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import { config, operation, run } from "./random_runs.ts";

const numRuns = Number(Deno.env.get("RADISH_TEST_RUNS") ?? 300);
const seed = Number(Deno.env.get("RADISH_TEST_SEED") ?? 1);

Deno.test("whatever happens, every request gets what it would get alone, and nothing leaks", () => {
  const seen = {
    cached: 0,
    aborted: 0,
    evicted: 0,
    retracted: 0,
    wasted: 0,
    bursts: 0,
    mixed: 0,
    scored: 0,
    embedded: 0,
    constrained: 0,
    kept: 0,
    drawn: 0,
  };
  const operations = fc.array(operation, { maxLength: 60, size: "max" });
  fc.assert(
    fc.property(config, operations, (config, operations) => {
      const { scheduler, executor } = run(config, operations);
      const counters = scheduler.counters();
      seen.cached += counters.cachedTokensTotal;
      seen.aborted += counters.abortedTotal;
      seen.evicted += counters.evictedTokensTotal;
      seen.retracted += counters.retractionsTotal;
      seen.wasted += counters.wastedTokensTotal;
      for (const { steps, extendLength, sampling, hidden, draws } of executor.plans) {
        if (draws) seen.drawn++;
        if (sampling.maskRow.length > 0) seen.constrained++;
        if (sampledRows(sampling).some(({ flags }) => flags === SampleFlag.Keep)) seen.kept++;
        if (hidden === "also") seen.embedded++;
        if (steps > 1) seen.bursts++;
        if (Math.min(...extendLength) === 1 && Math.max(...extendLength) > 1) seen.mixed++;
        if (sampledRows(sampling).some(({ flags, logprobs }) => flags === SampleFlag.Score && logprobs > 0)) {
          seen.scored++;
        }
      }
    }),
    { numRuns, seed },
  );
  // A history in which nothing happens proves nothing.
  for (const [what, count] of Object.entries(seen)) assert.ok(count > numRuns / 10, `${what}: ${count}`);
});
