// In which order waiting requests are admitted.

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Client, Driver } from "./driver.ts";

const one = { maxTokens: 1, ignoreEos: true };

/** Prompts that share no page. */
function prompt(seed: number): number[] {
  return Array.from({ length: 5 }, (_, i) => 1 + (seed * 7 + i * 3) % 40);
}

/** Requests in the order of their first tokens, from a driver whose requests have all arrived. */
function order(driver: Driver, clients: readonly Client[]): number[] {
  const found: number[] = [];
  const look = () => {
    for (const [i, { tokens }] of clients.entries()) {
      if (tokens.length > 0 && !found.includes(i)) found.push(i);
    }
  };
  driver.advance();
  do look(); while (driver.deliver());
  look();
  driver.finish();
  return found;
}

Deno.test("of a client's requests the lowest number comes first, of equal numbers the oldest", () => {
  const driver = new Driver({ maxRunningRequests: 1, overlap: false });
  const priorities = [0, 5, -1, 5, 0, -1];
  const clients = priorities.map((priority, i) => driver.send(prompt(i), { ...one, priority }));
  assert.deepEqual(order(driver, clients), [2, 5, 0, 4, 1, 3]);
});

Deno.test("a low number buys no client another one's rows", () => {
  const driver = new Driver({ maxRunningRequests: 2, overlap: false });
  const greedy = Array.from(
    { length: 8 },
    (_, i) => driver.send(prompt(i), { ...one, priority: -9 }, "", "greedy"),
  );
  const modest = Array.from(
    { length: 8 },
    (_, i) => driver.send(prompt(50 + i), { ...one, priority: 9 }, "", "modest"),
  );
  const found = order(driver, [...greedy, ...modest]);
  for (let pair = 0; pair < found.length; pair += 2) {
    assert.equal(found.slice(pair, pair + 2).filter((i) => i < 8).length, 1, `${found}`);
  }
});

Deno.test("a request that others with lower numbers keep passing is admitted all the same", () => {
  fc.assert(
    fc.property(
      fc.record({
        maxRunningRequests: fc.integer({ min: 1, max: 4 }),
        overlap: fc.boolean(),
        waiting: fc.integer({ min: 1, max: 12 }),
        clients: fc.constantFrom(["a"], ["a", "b"]),
        last: fc.integer({ min: 1, max: 1000 }),
      }),
      ({ waiting, clients, last, ...config }) => {
        const driver = new Driver(config);
        const send = (i: number, priority: number) =>
          driver.send(prompt(i), { ...one, priority }, "", clients[i % clients.length]);
        const patient = send(0, last);
        const hasty: Client[] = [];
        const answered = () => hasty.filter(({ finish }) => finish !== null).length;
        // There is always someone in the queue whose number is lower.
        for (let i = 1; patient.tokens.length === 0; i++) {
          while (hasty.length - answered() < waiting + config.maxRunningRequests) {
            hasty.push(send(hasty.length + 1, 0));
          }
          driver.advance();
          driver.deliver();
          assert.ok(
            answered() <= (8 + 3 * config.maxRunningRequests) * clients.length,
            `${answered()} have passed it`,
          );
        }
        driver.finish();
      },
    ),
    { numRuns: 200, seed: 1 },
  );
});
