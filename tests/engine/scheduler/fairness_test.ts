// Shares of rows between clients: who is admitted next, and who gives way.

import assert from "node:assert/strict";
import type { SchedulerConfig } from "../../../engine/scheduler/config.ts";
import { type Client, Driver } from "./driver.ts";

const params = { maxTokens: 60, ignoreEos: true };

/** Prompts that share no page. */
function prompt(seed: number): number[] {
  return Array.from({ length: 5 }, (_, i) => 1 + (seed * 7 + i * 3) % 40);
}

/** A scheduler whose rows are all taken by one client, and more of its requests wait. */
function flooded(config: Partial<SchedulerConfig>, requests: number): Driver {
  const driver = new Driver(config);
  for (let i = 0; i < requests; i++) driver.send(prompt(i), params, "", "many");
  driver.advance();
  for (let i = 0; i < 10; i++) driver.deliver();
  return driver;
}

/** Steps until the client has its first token. */
function stepsToFirstToken(driver: Driver, client: Client): number {
  for (let steps = 0; steps < 200; steps++) {
    if (client.tokens.length > 0) return steps;
    driver.deliver();
  }
  throw new Error("no token came");
}

Deno.test("a client's single request is not kept waiting by 192 of another's, neither for rows nor for pages", () => {
  for (const config of [{ maxRunningRequests: 4, numPages: 256 }, { maxRunningRequests: 64, numPages: 64 }]) {
    const driver = flooded(config, 192);
    const one = driver.send(prompt(500), { ...params, maxTokens: 5 }, "", "one");
    driver.advance();
    const steps = stepsToFirstToken(driver, one);
    assert.ok(steps <= 6, `${steps} steps`);
    for (const client of driver.clients.values()) if (!client.over) driver.abort(client);
    driver.finish();
  }
});

Deno.test("a single request beside a flood is in the next plan and alone in it, and a row is given back for it", () => {
  const driver = flooded({ maxRunningRequests: 4, numPages: 256 }, 20);
  const { plans } = driver.executor;
  const before = plans.length;
  const one = driver.send(prompt(500), { ...params, maxTokens: 30 }, "", "one");
  driver.advance();
  assert.equal(plans.length, before, "two plans are in flight already");
  driver.deliver();
  assert.deepEqual([...plans[before]!.extendLength], [one.prompt.length]);
  assert.equal(driver.scheduler.counters().runningRequests, 5, "in the spare row");
  for (let i = 0; i < 3; i++) driver.deliver();
  assert.equal(driver.scheduler.counters().runningRequests, 4);
  assert.equal(driver.scheduler.counters().retractionsTotal, 1);
  // The row is spare again: the next newcomer waits no longer than the first.
  const another = driver.send(prompt(501), { ...params, maxTokens: 5 }, "", "another");
  assert.equal(stepsToFirstToken(driver, another), 3);
  driver.finish();
});

Deno.test("a client alone never has the spare row, and clients with equal shares do not take rows of each other", () => {
  for (const owners of [["a"], ["a", "b"]]) {
    const driver = new Driver({ maxRunningRequests: 4, numPages: 256 });
    for (let i = 0; i < 20; i++) driver.send(prompt(i), params, "", owners[i % owners.length]!);
    driver.advance();
    do assert.ok(driver.scheduler.counters().runningRequests <= 4); while (driver.deliver());
    assert.equal(driver.scheduler.counters().retractionsTotal, 0);
    driver.finish();
  }
});
