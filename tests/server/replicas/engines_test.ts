// Replicas with real engines on the CPU: whether routing keeps what the radix caches save, and what the death of one
// costs. Hits are counted in tokens, so nothing here depends on time.

import assert from "node:assert/strict";
import { defaultEngineOptions, type EngineOptions, type StartOptions } from "../../../engine/options.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import type { Delta } from "../../../engine/messages.ts";
import type { ServedEngine } from "../../../server/http/engine_api.ts";
import { startReplicas } from "../../../server/replicas/start.ts";
import { Random } from "../../random.ts";
import { pocketDir } from "../http/pocket.ts";

const options: EngineOptions = { ...defaultEngineOptions, modelDir: pocketDir, device: "cpu", threads: 1 };
const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 4, ignoreEos: true };

const start = (dp: number, startOf?: (rank: number) => StartOptions, pauseMilliseconds = 3_600_000) =>
  startReplicas(options, {}, { dp, pauseMilliseconds, ...(startOf === undefined ? {} : { startOf }) });

async function complete(engine: ServedEngine, ids: Uint32Array, maxTokens = params.maxTokens) {
  const deltas: Delta[] = [];
  for await (
    const delta of engine.submit({ input: { type: "ids", ids }, params: { ...params, maxTokens } })
  ) {
    deltas.push(delta);
  }
  return {
    tokens: deltas.flatMap(({ tokens }) => tokens),
    cached: deltas.at(-1)!.cachedTokens,
    finish: deltas.at(-1)!.finish!,
  };
}

/** Prompts of `groups` documents, each asked about several times, in waves with one question of each. */
function waves(groups: number, questions: number): Uint32Array[][] {
  const random = new Random(23);
  const tokens = (length: number) => Array.from({ length }, () => random.int(4, 400));
  const documents = Array.from({ length: groups }, () => tokens(96));
  return Array.from(
    { length: questions },
    () => documents.map((document) => Uint32Array.from([...document, ...tokens(24)])),
  );
}

/** Answers in the order of the prompts, and the share of their tokens that came from the caches. */
async function play(engine: ServedEngine, traffic: readonly Uint32Array[][]) {
  const answers = [];
  let cached = 0, all = 0;
  for (const wave of traffic) {
    const done = await Promise.all(wave.map((ids) => complete(engine, ids)));
    answers.push(...done.map(({ tokens }) => tokens));
    for (const answer of done) cached += answer.cached;
    for (const ids of wave) all += ids.length;
  }
  return { answers, hitRate: cached / all };
}

Deno.test("two replicas answer like one, and find at least 0.95 of what one finds in its cache", async () => {
  const traffic = waves(6, 5);
  await using one = await start(1);
  const alone = await play(one, traffic);
  await using two = await start(2);
  const shared = await play(two, traffic);
  assert.ok(alone.hitRate > 0.55, `${alone.hitRate}`);
  assert.ok(shared.hitRate >= 0.95 * alone.hitRate, `${shared.hitRate} of ${alone.hitRate}`);
  assert.deepEqual(shared.answers, alone.answers);
  const each = await Promise.all(two.replicas.map((engine) => engine.counters()));
  assert.deepEqual(each.map(({ requestsTotal }) => requestsTotal), [15, 15]);
  assert.equal((await two.counters()).requestsTotal, 30);
  assert.equal(await two.flush(), true);
});

Deno.test("a replica whose executor dies costs its own requests, and the other answers on", async () => {
  let kill = () => {};
  await using two = await start(2, (rank) => ({
    onWorkers: (inject) => {
      if (rank === 0) kill = () => inject("executor", "die");
    },
  }));
  const [wave, next] = waves(4, 2) as [Uint32Array[], Uint32Array[]];
  const begun = wave.map(() => Promise.withResolvers<void>());
  const running = wave.map(async (ids, i) => {
    const input = { type: "ids", ids } as const;
    let last: Delta | undefined;
    for await (const delta of two.submit({ input, params: { ...params, maxTokens: 400 } })) {
      last = delta;
      begun[i]!.resolve();
    }
    return last!.finish!;
  });
  await Promise.all(begun.map(({ promise }) => promise));
  kill();
  const finishes = await Promise.all(running);
  assert.deepEqual(finishes.map(({ type }) => type).sort(), ["error", "error", "length", "length"]);
  for (const finish of finishes) {
    if (finish.type === "error") assert.match(finish.message, /the executor has failed: told to die/);
  }
  assert.equal(two.health, "ready");
  assert.deepEqual(two.replicas.map(({ health }) => health), ["dead", "ready"]);
  for (const { finish } of await Promise.all(next.map((ids) => complete(two, ids)))) {
    assert.equal(finish.type, "length");
  }
  const text = "What is 23 plus 48?";
  const { ids } = await two.encode({ type: "text", text });
  assert.equal(await two.decode(ids, true), text);
});

Deno.test("a replica that was killed under load comes back, answers as before, and no total has gone down", async () => {
  let kill = () => {};
  await using two = await start(2, (rank) => ({
    onWorkers: (inject) => {
      if (rank === 1) kill = () => inject("executor", "die");
    },
  }), 1);
  const traffic = waves(4, 3);
  const expected = await play(two, traffic);
  const [replica] = two.replicas.slice(1);
  let before = await two.counters(), seen = 0;
  const look = async () => {
    const now = await two.counters();
    for (const key of Object.keys(now) as (keyof typeof now)[]) {
      if (key.endsWith("Total")) {
        assert.ok(now[key] >= before[key], `${key}: ${before[key]}, then ${now[key]}`);
      }
    }
    before = now;
    seen++;
  };
  assert.ok(before.requestsTotal === 12 && before.generatedTokensTotal > 0);
  const running = traffic[0]!.map((ids) => complete(two, ids, 200));
  await look();
  kill();
  await replica!.dead;
  while (replica!.state !== "up") {
    await look();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const { finish } of await Promise.all(running)) {
    assert.ok(finish.type === "length" || (finish.type === "error" && /told to die/.test(finish.message)));
  }
  assert.equal(replica!.restarts, 1);
  assert.deepEqual(two.replicas.map(({ health }) => health), ["ready", "ready"]);
  const again = await play(two, traffic);
  assert.deepEqual(again.answers, expected.answers);
  await look();
  assert.ok(seen > 2);
  assert.ok((await replica!.counters()).requestsTotal > 0);
});

Deno.test("replicas that cannot start leave no worker behind, and say why", async () => {
  await assert.rejects(
    startReplicas({ ...options, contextLength: 1 << 20 }, {}, { dp: 2 }),
    /--context-length 1048576 is more than the model's/,
  );
});
