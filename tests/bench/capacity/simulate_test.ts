// The simulator, on cases that can be reckoned by hand or by a formula.

import assert from "node:assert/strict";
import { routings } from "../../../bench/capacity/router.ts";
import { simulate } from "../../../bench/capacity/simulate.ts";
import { PythonRandom } from "../../../bench/common/python_random.ts";
import { poissonArrivals } from "../../../bench/online/arrivals.ts";
import { plainProfile } from "./profiles.ts";

const one = { servers: 1, routing: "round-robin", seed: 0 } as const;

/** Ids that no other prompt begins with. */
function prompt(length: number, salt: number): number[] {
  return Array.from({ length }, (_, i) => (salt * 7919 + i * 31) % 50_000);
}

Deno.test("one request takes the sum of its steps, and of the way to the server and back", () => {
  const profile = plainProfile(
    { plan: 1, row: 2, "prompt token": 0.1, pair: 0.001, "context token": 0.01 },
    { front: { latency: 3, firstDelivery: 5, delivery: 5 }, turn: 0.5 },
  );
  const { outcomes } = simulate({ profile, ...one }, [{ at: 2, ids: prompt(100, 1), outputTokens: 3 }]);
  const [outcome] = outcomes;
  assert.ok(outcome?.status === "done");
  // 3 to the scheduler; the prompt: 1 + 10 + 0.001 · 100 · 50.5; news leave half a millisecond after a result.
  const first = 3 + 1 + 10 + 5.05 + 0.5 + 5;
  assert.ok(Math.abs(outcome.firstToken - first) < 1e-9, `${outcome.firstToken}`);
  // Each further step decodes one row over 100, then 101, cached tokens.
  const steps = [1 + 2 + 1 + 0.5, 1 + 2 + 1.01 + 0.5];
  outcome.betweenTokens.forEach((gap, i) => assert.ok(Math.abs(gap - steps[i]!) < 1e-9, `${gap}`));
  assert.ok(Math.abs(outcome.total - (first + steps[0]! + steps[1]!)) < 1e-9);
});

Deno.test("prompts of one length behind one another wait as in an M/D/1 queue", () => {
  // One row, one token: a request is one step of 10 ms. Mean wait = ρ · S / (2 · (1 − ρ)).
  const profile = plainProfile({ "prompt token": 1 }, {
    config: { maxPrefillTokens: 10, maxStepTokens: 11, cache: "naive" },
  });
  for (const load of [0.3, 0.6]) {
    const random = new PythonRandom(5);
    let at = 0;
    const arrivals = Array.from({ length: 20_000 }, (_, i) => {
      at += -Math.log(1 - random.next()) * 0.01 / load;
      return { at, ids: prompt(10, i), outputTokens: 1 };
    });
    const { summary, utilisation } = simulate({ profile, ...one }, arrivals);
    const wait = summary.time_to_first_token_ms.mean - 10, expected = load * 10 / (2 * (1 - load));
    assert.ok(Math.abs(wait / expected - 1) < 0.06, `load ${load}: ${wait} ms, not ${expected}`);
    assert.ok(Math.abs(utilisation[0]! - load) < 0.02, `${utilisation}`);
  }
});

Deno.test("a request that comes while a step runs makes that step longer by its part", () => {
  const profile = plainProfile({ plan: 10, "request that comes meanwhile": 4 });
  const { outcomes } = simulate({ profile, ...one }, [
    { at: 0, ids: prompt(10, 1), outputTokens: 1 },
    { at: 0.005, ids: prompt(10, 2), outputTokens: 1 },
  ]);
  const firsts = outcomes.map((outcome) => outcome.status === "done" ? outcome.firstToken : NaN);
  assert.deepEqual(firsts, [14, 14 + 10 - 5]);
});

Deno.test("only the step that decodes right after a prompt makes up for its cold keys and values", () => {
  const profile = plainProfile({
    plan: 10,
    "decoding after a prompt": 2,
    "prompt token before decoding": 0.1,
  });
  const { outcomes: [outcome] } = simulate({ profile, ...one }, [
    { at: 0, ids: prompt(50, 1), outputTokens: 3 },
  ]);
  assert.ok(outcome?.status === "done");
  assert.equal(outcome.firstToken, 10);
  assert.deepEqual(outcome.betweenTokens, [10 + 2 + 5, 10]);
});

const busy = plainProfile(
  { plan: 0.5, row: 0.1, "prompt token": 0.02, "context token": 0.0001 },
  { config: { numPages: 160, overlap: true, maxDecodeSteps: 8, targetStepMilliseconds: 20 } },
);
const noisy = { ...busy, noise: [0.8, 1, 1, 1.5], front: { ...busy.front, update: 0.01, latency: 1 } };
const workload = { rate: 60, count: 300, minTokens: 16, maxTokens: 200, sharedTokens: 64, vocabSize: 50_000 };

Deno.test("every request ends with all its tokens on every fleet, also when pages run out", () => {
  const arrivals = poissonArrivals({ ...workload, prefixes: 8, seed: 1 });
  let retractions = 0;
  for (const routing of routings) {
    for (const servers of [1, 3]) {
      const result = simulate({ profile: noisy, servers, routing, seed: 2 }, arrivals);
      assert.equal(result.summary.done, arrivals.length, `${servers}, ${routing}`);
      result.outcomes.forEach((outcome, i) => {
        assert.ok(outcome.status === "done");
        assert.equal(outcome.outputTokens, arrivals[i]!.outputTokens);
        assert.equal(outcome.betweenTokens.length, outcome.outputTokens - 1);
        const sum = outcome.betweenTokens.reduce((total, gap) => total + gap, outcome.firstToken);
        assert.ok(Math.abs(sum - outcome.total) < 1e-6);
      });
      assert.equal(result.shares.reduce((sum, share) => sum + share, 0), arrivals.length);
      retractions += result.retractions;
    }
  }
  assert.ok(retractions > 0, "pages never ran out: the case is too easy");
});

Deno.test("the same seed gives the same simulation, another one another", () => {
  const arrivals = poissonArrivals({ ...workload, seed: 1 });
  const run = (seed: number) => simulate({ profile: noisy, servers: 2, routing: "prefix", seed }, arrivals);
  assert.deepEqual(run(7), run(7));
  assert.notDeepEqual(run(7).outcomes, run(8).outcomes);
});

Deno.test("what is not done at the limit counts as unfinished", () => {
  const arrivals = poissonArrivals({ ...workload, seed: 1 });
  const { summary } = simulate({ profile: noisy, ...one, limit: 2 }, arrivals);
  assert.ok(summary.done > 0 && summary.unfinished > 0);
  assert.equal(summary.done + summary.unfinished, arrivals.length);
  assert.equal(summary.seconds, 2);
});

Deno.test("routing by prefix keeps beginnings together, in turn does not", () => {
  const arrivals = poissonArrivals({ ...workload, sharedTokens: 512, prefixes: 12, seed: 4 });
  const hits = (routing: "prefix" | "round-robin" | "least-loaded") =>
    simulate({
      profile: { ...busy, config: { ...busy.config, numPages: 400 } },
      servers: 4,
      routing,
      seed: 0,
    }, arrivals)
      .summary.cache_hit_rate;
  assert.ok(hits("prefix") > 1.2 * hits("round-robin"), `${hits("prefix")}, ${hits("round-robin")}`);
  assert.ok(hits("prefix") > 1.2 * hits("least-loaded"));
});
