// Replicas with scripted engines: where requests go, what a death costs, and what the HTTP layer says of each.

import assert from "node:assert/strict";
import { type App, createApp } from "../../../server/http/app.ts";
import { Replicas } from "../../../server/replicas/replicas.ts";
import { errorOf, events, get, post } from "../http/client.ts";
import { FakeEngine, type Script } from "../http/fake_engine.ts";

interface Served {
  readonly engines: readonly FakeEngine[];
  readonly app: App;
}

function served(count: number, script?: Script, routing = {}): Served {
  const engines = Array.from({ length: count }, () => new FakeEngine(script));
  return { engines, app: createApp(new Replicas(engines, routing), { logFormat: "none" }) };
}

const complete = (app: App, prompt: string, extra: Record<string, unknown> = {}) =>
  post(app, "/v1/completions", { prompt, ...extra });

const counts = (engines: readonly FakeEngine[]) => engines.map(({ requests }) => requests.length);

/** A document of its own, longer than many blocks. */
const document = (name: string) => `Document ${name}. `.repeat(40);

Deno.test("prompts with one beginning reach one replica, and different beginnings spread", async () => {
  const { engines, app } = served(4);
  for (let round = 0; round < 5; round++) {
    for (const name of ["a", "b", "c", "d", "e", "f", "g", "h"]) {
      await (await complete(app, `${document(name)}Question ${round}?`)).body?.cancel();
    }
  }
  assert.deepEqual(counts(engines), [10, 10, 10, 10]);
  for (const { requests } of engines) {
    const names = requests.map(({ input }) => input.type === "text" ? input.text.slice(9, 10) : "");
    assert.equal(new Set(names).size, 2);
  }
});

Deno.test("when one prefix is hot, what is above the balance threshold goes to the other replica", async () => {
  const { engines, app } = served(2, () => ({ silent: true }));
  const open = Array.from(
    { length: 60 },
    (_, i) => complete(app, `${document("hot")}${i}`, { stream: true }),
  );
  while (counts(engines)[0]! + counts(engines)[1]! < 60) await new Promise((resolve) => setTimeout(resolve));
  const [first, second] = counts(engines).sort((a, b) => b - a);
  assert.ok(first! - second! <= 17, `${first} and ${second}`);
  assert.ok(second! >= 20);
  app.service.abortAll();
  for (const response of await Promise.all(open)) await response.body?.cancel();
});

Deno.test("a replica that dies costs the requests that it had begun, the others go on", async () => {
  const hold = Promise.withResolvers<void>();
  const begun: Script = () => ({ first: "begun", until: hold.promise });
  const { engines, app } = served(
    2,
    (prompt, ...rest) => prompt.includes("long") ? begun(prompt, ...rest) : { pieces: ["fine"] },
  );
  const streams = await Promise.all(
    ["long a", "long b", "long c", "long d"].map((prompt) => complete(app, prompt, { stream: true })),
  );
  assert.deepEqual(counts(engines), [2, 2]);
  const [dead, living] = engines as [FakeEngine, FakeEngine];
  // All four have answered with a first piece: a stream's head is sent with it.
  dead.kill("the executor has failed: out of memory");
  app.service.abortAll(); // ends what the living one has
  hold.resolve();
  const texts = (await Promise.all(streams.map(events))).map((all) => JSON.stringify(all));
  assert.equal(texts.filter((text) => text.includes("out of memory")).length, 2);
  assert.equal(texts.filter((text) => text.includes('"finish_reason":"abort"')).length, 2);
  for (let i = 0; i < 5; i++) {
    const body = await (await complete(app, `short ${i}`)).json();
    assert.equal(body.choices[0].text, "fine");
  }
  assert.deepEqual(counts([dead, living]), [2, 7]);
});

Deno.test("what a dead replica had not begun to answer is done by another, once", async () => {
  const waiting = () => new FakeEngine(() => ({ silent: true }));
  const engines = [waiting(), waiting(), new FakeEngine(() => ({ pieces: ["fine"] }))];
  const app = createApp(new Replicas(engines), { logFormat: "none" });
  const first = complete(app, "a"), second = complete(app, "b");
  while (engines.slice(0, 2).some(({ requests }) => requests.length === 0)) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  engines[0]!.kill("gone");
  assert.equal((await (await first).json()).choices[0].text, "fine");
  assert.deepEqual(counts(engines), [1, 1, 1]);
  engines[1]!.kill("gone, too");
  assert.equal((await (await second).json()).choices[0].text, "fine");
  assert.equal((await get(app, "/health")).status, 200);
});

Deno.test("a request is not tried a third time", async () => {
  const poison: Script = () => ({ silent: true });
  const { engines, app } = served(3, poison);
  const answer = complete(app, "kills what computes it");
  for (let deaths = 0; deaths < 2; deaths++) {
    let victim: FakeEngine | undefined;
    while (victim === undefined) {
      await new Promise((resolve) => setTimeout(resolve));
      victim = engines.find(({ live, health }) => live.size > 0 && health === "ready");
    }
    victim.kill("poisoned");
  }
  const response = await answer;
  assert.equal(response.status, 503);
  assert.match((await errorOf(response)).message, /poisoned/);
  assert.equal(engines.filter(({ health }) => health === "ready").length, 1);
});

Deno.test("a full replica's request goes to another", async () => {
  const full: Script = () => ({ pieces: [], finish: { type: "error", code: "queue_full", message: "full" } });
  const engines = [new FakeEngine(full), new FakeEngine(() => ({ pieces: ["fine"] }))];
  const app = createApp(new Replicas(engines), { logFormat: "none" });
  assert.equal((await (await complete(app, "x")).json()).choices[0].text, "fine");
  const both = createApp(new Replicas([new FakeEngine(full), new FakeEngine(full)]), { logFormat: "none" });
  assert.equal((await complete(both, "x")).status, 429);
});

Deno.test("health is 200 and says which replica is dead, until all are", async () => {
  const { engines, app } = served(2);
  const health = async () => await (await get(app, "/health")).json();
  engines[0]!.life = { state: "unresponsive", what: "the scheduler has not answered", milliseconds: 3000 };
  assert.deepEqual(await health(), {
    status: "ok",
    replicas: [{ dp_rank: 0, status: "unresponsive" }, { dp_rank: 1, status: "ok" }],
  });
  await (await complete(app, "not to the one that does not answer")).body?.cancel();
  assert.deepEqual(counts(engines), [0, 1]);
  engines[0]!.kill("first");
  assert.deepEqual(await health(), {
    status: "degraded",
    replicas: [{ dp_rank: 0, status: "dead" }, { dp_rank: 1, status: "ok" }],
  });
  assert.equal((await post(app, "/tokenize", { prompt: "x" })).status, 200);
  engines[1]!.kill("second");
  while (app.service.state !== "dead") await new Promise((resolve) => setTimeout(resolve));
  await new Promise((resolve) => setTimeout(resolve)); // the reason comes a moment after the fact
  for (const path of ["/health", "/metrics", "/v1/loads"]) {
    const response = await get(app, path);
    assert.equal(response.status, 503, path);
    assert.match((await errorOf(response)).message, /second/);
  }
});

Deno.test("metrics have a line of each replica, labelled with its dp_rank; loads only of the living", async () => {
  const { engines, app } = served(3);
  await (await complete(app, "x")).body?.cancel();
  engines[2]!.kill("gone");
  const text = await (await get(app, "/metrics")).text();
  const lines = text.split("\n").filter((line) => line.startsWith("sglang:num_requests_total{"));
  assert.deepEqual(lines, [
    'sglang:num_requests_total{model_name="fake",dp_rank="0"} 1',
    'sglang:num_requests_total{model_name="fake",dp_rank="1"} 0',
    'sglang:num_requests_total{model_name="fake",dp_rank="2"} 0',
  ]);
  assert.match(text, /^sglang:replica_up\{model_name="fake",dp_rank="1"\} 1\nsglang:replica_up\{.*"2"\} 0$/m);
  assert.equal(text.match(/^# TYPE sglang:num_requests_total /gm)?.length, 1);
  assert.match(text, /^sglang:worker_restarts_total\{model_name="fake",dp_rank="1",worker="tokenizer"\} 0$/m);
  const { dp_rank_count, loads } = await (await get(app, "/v1/loads")).json();
  assert.equal(dp_rank_count, 3);
  assert.deepEqual(loads.map(({ dp_rank }: { dp_rank: number }) => dp_rank), [0, 1]);
  assert.equal((await (await get(app, "/server_info")).json()).dp_size, 3);
});

Deno.test("the scheduler's state is that of all replicas, or of the one that is asked for", async () => {
  const { app } = served(2);
  await (await complete(app, "x")).body?.cancel();
  const requests = async (query: string) =>
    (await (await get(app, `/debug/scheduler${query}`)).json()).counters.requestsTotal;
  assert.deepEqual([await requests(""), await requests("?dp_rank=0"), await requests("?dp_rank=1")], [
    1,
    1,
    0,
  ]);
  for (const rank of ["2", "-1", "x"]) {
    const response = await get(app, `/debug/scheduler?dp_rank=${rank}`);
    assert.equal((await errorOf(response)).param, "dp_rank");
  }
});

Deno.test("an abort finds its request on whichever replica it is, and drain waits for all of them", async () => {
  const { engines, app } = served(2, () => ({ silent: true }));
  const open = ["a", "b"].map((text) => post(app, "/generate", { text, rid: `request ${text}` }));
  while (counts(engines).some((count) => count === 0)) await new Promise((resolve) => setTimeout(resolve));
  const drained = app.service.drain().then(() => "drained");
  for (const name of ["b", "a"]) {
    assert.equal(await Promise.race([drained, Promise.resolve("not yet")]), "not yet");
    const { aborted } = await (await post(app, "/abort_request", { rid: `request ${name}` })).json();
    assert.equal(aborted, 1);
  }
  assert.equal(await drained, "drained");
  for (const response of await Promise.all(open)) {
    assert.equal((await response.json()).meta_info.finish_reason.type, "abort");
  }
});

/** Replicas whose dead engines are replaced by the promises that `next` gives; `notes` are the lines written. */
function restarted(count: number, next: (rank: number) => Promise<FakeEngine>, most = 5) {
  const engines = Array.from({ length: count }, () => new FakeEngine());
  const notes: string[] = [], released: unknown[] = [];
  const replicas = new Replicas(engines, {}, {
    start: next,
    release: (engine) => Promise.resolve(void released.push(engine)),
    note: (text) => notes.push(text),
    most,
    pauseMilliseconds: 1,
  });
  return { engines, notes, released, replicas, app: createApp(replicas, { logFormat: "none" }) };
}

/** Every counter of a page of metrics, by its name and labels. */
async function totals(app: App): Promise<Map<string, number>> {
  const text = await (await get(app, "/metrics")).text();
  const lines = text.split("\n").filter((line) => /^[^#{]*_total\{/.test(line));
  return new Map(lines.map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}

function assertGrown(before: Map<string, number>, after: Map<string, number>) {
  for (const [name, value] of before) {
    assert.ok((after.get(name) ?? -1) >= value, `${name}: ${value}, then ${after.get(name)}`);
  }
}

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve));
};

Deno.test("a dead replica is released and started again; health says so, and no total goes down", async () => {
  const coming = Promise.withResolvers<FakeEngine>();
  const { engines, notes, released, replicas, app } = restarted(2, () => coming.promise);
  for (let i = 0; i < 6; i++) await (await complete(app, `${document(`${i}`)}`)).body?.cancel();
  const before = await totals(app);
  assert.equal(before.get('sglang:num_requests_total{model_name="fake",dp_rank="0"}'), 3);
  engines[0]!.kill("out of luck");
  const health = async () => await (await get(app, "/health")).json();
  assert.deepEqual(await health(), {
    status: "degraded",
    replicas: [{ dp_rank: 0, status: "restarting" }, { dp_rank: 1, status: "ok" }],
  });
  const down = await totals(app);
  assertGrown(before, down);
  const { loads } = await (await get(app, "/v1/loads")).json();
  assert.deepEqual(loads.map(({ dp_rank }: { dp_rank: number }) => dp_rank), [1]);
  await until(() => notes.length === 1);
  assert.deepEqual(released, [engines[0]]);
  assert.match(notes[0]!, /^replica 0 stopped: out of luck; it is started again in 0.001 s \(1 of 5\)$/);
  await (await complete(app, "goes to the other one")).body?.cancel();
  assert.deepEqual(counts(engines), [3, 4]);

  const fresh = new FakeEngine();
  coming.resolve(fresh);
  await until(() => replicas.replicas[0]!.state === "up");
  assert.equal(notes[1], "replica 0 is back");
  assert.equal((await health()).status, "ok");
  assertGrown(down, await totals(app));
  await (await complete(app, "the new one has fewest requests, and none of this prefix")).body?.cancel();
  for (let i = 0; i < 3; i++) await (await complete(app, `${document(`new ${i}`)}`)).body?.cancel();
  assert.ok(fresh.requests.length > 0);
  const after = await totals(app);
  assertGrown(down, after);
  const all = [...engines, fresh].reduce((sum, { requests }) => sum + requests.length, 0);
  assert.equal((await replicas.counters()).requestsTotal, all);
  assert.equal(after.get('sglang:replica_restarts_total{model_name="fake",dp_rank="0"}'), 1);
});

Deno.test("a replica that cannot be started is given up after so many attempts, with pauses that double", async () => {
  let attempts = 0;
  const { engines, notes, replicas, app } = restarted(2, () => {
    attempts++;
    return Promise.reject(new Error("no memory"));
  }, 3);
  engines[1]!.kill("first");
  await until(() => replicas.replicas[1]!.state === "dead");
  assert.equal(attempts, 3);
  assert.deepEqual(notes, [
    "replica 1 stopped: first; it is started again in 0.001 s (1 of 3)",
    "replica 1 could not be started: no memory; it is started again in 0.002 s (2 of 3)",
    "replica 1 could not be started: no memory; it is started again in 0.004 s (3 of 3)",
    "replica 1 could not be started: no memory; it is given up after 3 restarts",
  ]);
  assert.equal((await (await get(app, "/health")).json()).status, "degraded");
  assert.equal((await complete(app, "x")).status, 200);
});

Deno.test("an engine that dies soon after each start is not started for ever", async () => {
  const { engines, replicas } = restarted(2, () => {
    const engine = new FakeEngine();
    setTimeout(() => engine.kill("again"));
    return Promise.resolve(engine);
  }, 4);
  engines[0]!.kill("once");
  await until(() => replicas.replicas[0]!.state === "dead");
  assert.equal(replicas.replicas[0]!.restarts, 4);
  assert.equal(replicas.health, "ready");
});

Deno.test("when the last one dies too, the fleet is dead, and what was being started is ended when it comes", async () => {
  const coming = Promise.withResolvers<FakeEngine>();
  let started = false;
  const { engines, replicas } = restarted(2, () => {
    started = true;
    return coming.promise;
  });
  engines[0]!.kill("one");
  await until(() => started);
  engines[1]!.kill("two");
  assert.match((await replicas.dead).message, /^replica 1, the last: two$/);
  const late = new FakeEngine();
  const ended = Promise.withResolvers<void>();
  late[Symbol.asyncDispose] = () => Promise.resolve(ended.resolve());
  coming.resolve(late);
  await ended.promise;
  assert.equal(replicas.health, "dead");
  await assert.rejects(replicas.counters(), /the last: two/);
});
