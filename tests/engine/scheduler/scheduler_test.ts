import assert from "node:assert/strict";
import { Driver } from "./driver.ts";

Deno.test("a single request gets its tokens and one finish", () => {
  const driver = new Driver();
  const client = driver.send([5, 6, 7], { maxTokens: 10, ignoreEos: true });
  driver.finish();
  assert.equal(client.tokens.length, 10);
  assert.deepEqual(client.finish, { type: "length" });
});

Deno.test("a pool of 40 pages serves 32 requests that need more, by retracting some", () => {
  const driver = new Driver({ numPages: 40, maxRunningRequests: 32, outputReserve: 0.1, maxDecodeSteps: 4 });
  for (let i = 0; i < 32; i++) {
    const prompt = Array.from({ length: 5 + i % 7 }, (_, j) => 1 + (i * 7 + j) % 40);
    driver.send(prompt, { maxTokens: 20 + i % 11, ignoreEos: i % 3 > 0, temperature: 0.7, seed: i });
  }
  driver.finish();
  assert.ok(driver.scheduler.counters().retractionsTotal > 0);
});
