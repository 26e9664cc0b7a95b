// Constrained requests where their rows are drawn later, in plans of their own, and where they are not.

import assert from "node:assert/strict";
import type { OutputGrammar } from "../../../engine/grammar/serving/messages.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { baseConfig, Driver } from "./driver.ts";
import { grammarOf } from "./fake_grammar.ts";
import { oracle } from "./fake_model.ts";

/** A pattern under which an answer of these sizes is neither ended nor refused. */
function longGrammar(prompt: number[], maxTokens: number): OutputGrammar {
  for (let seed = 0;; seed++) {
    const params = { ...defaultSamplingParams, temperature: 0, ignoreEos: true, grammar: grammarOf(seed) };
    const { finish } = oracle(
      Uint32Array.from(prompt),
      params,
      maxTokens,
      baseConfig.eosIds,
      baseConfig.vocabSize,
    );
    if (finish.type === "length") return grammarOf(seed);
  }
}

Deno.test("drawn later, a constrained request is in every forward beside a free one, and not in every other one", () => {
  for (const drawLater of [true, false]) {
    const driver = new Driver({ drawLater });
    const params = { maxTokens: 30, ignoreEos: true };
    const prompt = [5, 6, 7];
    driver.send(prompt, { ...params, grammar: longGrammar(prompt, 30) });
    driver.send([8, 9], { ...params, maxTokens: 60 });
    // Masks come at once, but never before a forward that can do without them has been sent.
    while (driver.answer() || driver.deliver());
    const { plans } = driver.executor;
    const forwards = plans.filter(({ draws }) => !draws);
    const [first, last] = [0, forwards.findLastIndex(({ row }) => row.length === 2)];
    const shared = forwards.slice(first, last + 1).filter(({ row }) => row.length === 2).length;
    if (drawLater) assert.ok(shared >= last - 1, `${shared} of ${last}`);
    else assert.ok(shared <= last / 2 + 3, `${shared} of ${last}`);
    assert.equal(plans.some(({ draws }) => draws), drawLater);
    driver.finish();
  }
});

Deno.test("where nothing is drawn later, constrained requests that began apart are soon in the same plans", () => {
  for (const early of [1, 2, 3]) {
    const driver = new Driver({ drawLater: false });
    const params = { maxTokens: 30, ignoreEos: true };
    const send = (prompt: number[]) => driver.send(prompt, { ...params, grammar: longGrammar(prompt, 30) });
    driver.send([8, 9], { ...params, maxTokens: 90 });
    for (let i = 0; i < early; i++) send([5, 6, 7 + i]);
    for (let i = 0; i < 9; i++) assert.ok(driver.answer() || driver.deliver());
    for (let i = early; i < 4; i++) send([5, 6, 7 + i]);
    while (driver.answer() || driver.deliver());
    const sizes = driver.executor.plans.map(({ row }) => row.length);
    const together = sizes.slice(sizes.indexOf(5), sizes.lastIndexOf(5) + 1);
    assert.ok(together.length > 40, `${together}`);
    assert.deepEqual([...new Set(together)], [5, 1]);
    driver.finish();
  }
});

Deno.test("drawn later, the mask after a late one is not waited for, and its request goes on when it comes", () => {
  using driver = new Driver({ drawLater: true });
  const params = { maxTokens: 30, ignoreEos: true };
  const prompt = [5, 6, 7];
  const slow = driver.send(prompt, { ...params, grammar: longGrammar(prompt, 30) });
  const free = driver.send([8, 9], { ...params, maxTokens: 60 });
  driver.advance();
  driver.answer();
  while (driver.grammars.owed.length === 0) assert.ok(driver.deliver());
  while (driver.deliver());
  const waited = free.tokens.length;
  driver.late();
  driver.answer();
  // The next one does not come at all for a while.
  while (driver.deliver());
  assert.ok(free.tokens.length > waited, "the other one goes on");
  assert.ok(free.finish !== null && slow.finish === null);
  driver.finish();
  assert.equal(slow.tokens.length, 30);
});

Deno.test("an abort while a draw is owed, launched or behind its mask frees everything", () => {
  for (let steps = 0; steps < 12; steps++) {
    for (const answers of [0, 1]) {
      const driver = new Driver({ drawLater: true });
      const prompt = [5, 6, 7];
      const client = driver.send(prompt, {
        maxTokens: 30,
        ignoreEos: true,
        grammar: longGrammar(prompt, 30),
      });
      driver.send([8, 9], { maxTokens: 20, ignoreEos: true });
      driver.advance();
      for (let i = 0; i < steps; i++) driver.answer() || driver.deliver();
      if (answers === 1) driver.answer();
      driver.abort(client);
      driver.advance();
      // Another one takes its row.
      driver.send([1, 2, 3], { maxTokens: 5, grammar: longGrammar([1, 2, 3], 5) });
      driver.finish();
    }
  }
});
