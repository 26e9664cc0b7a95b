import assert from "node:assert/strict";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { withReading } from "../../../server/cli/reading.ts";
import type { Generation } from "../../../server/http/engine_api.ts";
import type { Delta } from "../../../engine/messages.ts";
import { FakeEngine } from "../http/fake_engine.ts";

const params = { ...defaultSamplingParams, maxTokens: 8 };
const tenTokens = { type: "text", text: "0123456789" } as const;

/** Holds a generation's deltas back until `ready` resolves. */
function held(generation: Generation, ready: Promise<void>): Parameters<typeof withReading>[1] {
  return {
    promptIds: generation.promptIds,
    async *[Symbol.asyncIterator]() {
      await ready;
      yield* generation;
    },
  };
}

Deno.test("until the first token it tells how much of the prompt is computed, then never again", async () => {
  const engine = new FakeEngine(() => ({ pieces: ["a", "b"] }));
  engine.prefillTokens = 1000; // of earlier prompts
  const { promise, resolve } = Promise.withResolvers<void>();
  const shown: (number | null)[] = [];
  const deltas: Delta[] = [];
  const generation = held(engine.submit({ input: tenTokens, params }), promise);
  const reading = withReading(engine, generation, (fraction) => {
    // The end may be looked at again before the token that it brings is there.
    if (fraction !== shown.at(-1)) shown.push(fraction);
    // Each look finds the prompt further on, and at its end the first token comes.
    engine.prefillTokens += 5;
    if (fraction === 1) resolve();
  }, 1);
  for await (const delta of reading) deltas.push(delta);
  assert.deepEqual(shown, [0, 0.5, 1, null]);
  assert.equal(deltas.map(({ text }) => text).join(""), "ab");
});

Deno.test("a dead engine and a refused prompt are told by the deltas alone", async () => {
  const engine = new FakeEngine(() => ({
    pieces: [],
    finish: { type: "error", code: "too_long", message: "no" },
  }));
  engine.health = "dead";
  const shown: (number | null)[] = [];
  const deltas: Delta[] = [];
  const generation = engine.submit({ input: tenTokens, params });
  for await (const delta of withReading(engine, generation, (f) => shown.push(f), 1)) deltas.push(delta);
  assert.deepEqual(deltas.at(-1)!.finish, { type: "error", code: "too_long", message: "no" });
  assert.deepEqual(shown, [null]);
});

Deno.test("leaving early leaves the generation, too, and ends the looking", async () => {
  const engine = new FakeEngine(() => ({ forever: "x" }));
  const submitted = engine.submit({ input: tenTokens, params });
  let left = false;
  const generation: Parameters<typeof withReading>[1] = {
    ...held(submitted, Promise.resolve()),
    async *[Symbol.asyncIterator]() {
      try {
        yield* submitted;
      } finally {
        left = true;
      }
    },
  };
  const shown: (number | null)[] = [];
  for await (const _ of withReading(engine, generation, (fraction) => shown.push(fraction), 1)) break;
  assert.deepEqual(shown, [null]);
  assert.ok(left);
});
