// Shares of rows between clients: who is admitted next, and who gives way.

import assert from "node:assert/strict";
import { type Client, Driver } from "./driver.ts";

const params = { maxTokens: 60, ignoreEos: true };

/** Prompts that share no page. */
function prompt(seed: number): number[] {
  return Array.from({ length: 5 }, (_, i) => 1 + (seed * 7 + i * 3) % 40);
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
    const driver = new Driver(config);
    for (let i = 0; i < 192; i++) driver.send(prompt(i), params, "", "many");
    driver.advance();
    for (let i = 0; i < 10; i++) driver.deliver();
    const one = driver.send(prompt(500), { ...params, maxTokens: 5 }, "", "one");
    driver.advance();
    const steps = stepsToFirstToken(driver, one);
    assert.ok(steps <= 6, `${steps} steps`);
    driver.finish();
  }
});
