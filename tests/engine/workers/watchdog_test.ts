// The watchdog with ticks of a few milliseconds; what it says is judged by the order of events, not by the clock.

import assert from "node:assert/strict";
import { Watchdog } from "../../../engine/workers/watchdog.ts";

function silent() {
  let answer = () => {};
  const check = {
    name: "worker",
    complaint: "the worker has not answered",
    ask: () => new Promise<void>((resolve) => answer = resolve),
    patience: () => 3,
  };
  return { check, answer: () => answer() };
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
};

Deno.test("what does not answer is busy, then unresponsive, and well again when it has answered", async () => {
  const { check, answer } = silent();
  const seen: number[] = [];
  using dog = new Watchdog([check], (late) => {
    for (const { ticks } of late) seen.push(ticks);
  }, 4);
  assert.deepEqual(dog.life, { state: "ok" });
  await until(() => dog.life.state === "busy");
  await until(() => dog.life.state === "unresponsive");
  const { life } = dog;
  assert.ok(life.state === "unresponsive" && life.what === "the worker has not answered");
  assert.equal(seen[0], 3);
  answer();
  await until(() => dog.life.state === "ok");
});

Deno.test("a rejected question is an answer", async () => {
  let asked = 0;
  const check = {
    name: "worker",
    complaint: "",
    ask: () => Promise.reject(new Error(`${++asked}`)),
    patience: () => 3,
  };
  using dog = new Watchdog([check], () => {}, 2);
  await until(() => asked > 5);
  assert.deepEqual(dog.life, { state: "ok" });
});

Deno.test("time that jumps is no silence: only ticks count", async () => {
  const { check } = silent();
  using dog = new Watchdog([check], () => {}, 1000);
  const [date, now] = [Date.now, performance.now];
  try {
    Date.now = () => date() + 864e5;
    performance.now = () => now.call(performance) + 864e5;
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(dog.life, { state: "ok" });
  } finally {
    Date.now = date;
    performance.now = now;
  }
});
