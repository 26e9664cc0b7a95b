import assert from "node:assert/strict";
import { Pace } from "../../../engine/scheduler/pace.ts";
import { baseConfig } from "./driver.ts";

const config = { ...baseConfig, maxPrefillTokens: 1000, targetStepMilliseconds: 50, maxDecodeSteps: 16 };

Deno.test("a chunk beside running requests shrinks towards the target time, and grows back", () => {
  const pace = new Pace(config);
  assert.equal(pace.chunk(3), 1000, "nothing measured yet");
  pace.observe(0, 1, 10);
  for (let i = 0; i < 50; i++) pace.observe(100, 1, 10 + 100 * 0.4);
  assert.equal(pace.chunk(3), 100, "10 ms of decoding and 0.4 ms a token");
  assert.equal(pace.chunk(0), 1000, "nobody to delay");
  for (let i = 0; i < 50; i++) pace.observe(100, 1, 10 + 100 * 0.01);
  assert.equal(pace.chunk(3), 1000);
});

Deno.test("a chunk is never cut to nothing, however slow the device", () => {
  const pace = new Pace(config);
  pace.observe(0, 1, 500);
  pace.observe(100, 1, 5000);
  assert.equal(pace.chunk(1), 32);
  assert.equal(new Pace({ ...config, targetStepMilliseconds: 0 }).chunk(1), 1000);
});

Deno.test("where there is no GPU a chunk by itself begins small, and then stays near its own target", () => {
  const pace = new Pace({ ...config, prefillStepMilliseconds: 200 });
  assert.equal(pace.chunk(0), 64, "nothing measured yet");
  assert.equal(pace.chunk(2), 64);
  for (let i = 0; i < 50; i++) pace.observe(100, 1, 100 * 0.5);
  assert.equal(pace.chunk(0), 400);
  assert.equal(pace.chunk(2), 100, "beside others the shorter target counts");
  for (let i = 0; i < 50; i++) pace.observe(100, 1, 100 * 50);
  assert.equal(pace.chunk(0), 32);
});

Deno.test("short steps run several per result, long ones one", () => {
  const pace = new Pace(config);
  assert.equal(pace.burst(), 1, "nothing measured yet");
  pace.observe(0, 1, 1);
  assert.equal(pace.burst(), 12);
  for (let i = 0; i < 50; i++) pace.observe(0, 4, 4 * 0.01);
  assert.equal(pace.burst(), 16, "no more than allowed");
  for (let i = 0; i < 50; i++) pace.observe(0, 1, 30);
  assert.equal(pace.burst(), 1);
});

Deno.test("a duration that is no number is not learned from", () => {
  const pace = new Pace(config);
  pace.observe(0, 1, 1);
  for (const milliseconds of [NaN, Infinity, -1]) pace.observe(0, 1, milliseconds);
  assert.equal(pace.burst(), 12);
});

Deno.test("long steps are not planned ahead, and where there is no GPU steps of a few milliseconds are not", () => {
  const slow = (prefillStepMilliseconds: number, milliseconds: number) => {
    const pace = new Pace({ ...config, prefillStepMilliseconds });
    pace.observe(0, 1, milliseconds);
    return pace.slow;
  };
  assert.equal(new Pace(config).slow, false, "nothing measured yet");
  assert.deepEqual([slow(0, 8), slow(0, 30)], [false, true]);
  assert.deepEqual([slow(200, 1), slow(200, 8)], [false, true]);
});
