// From what server and clients wrote down to a profile, with records whose times are known; and the real thing once.

import assert from "node:assert/strict";
import { type ClientRecord, joinRecords } from "../../../bench/capacity/calibrate.ts";
import { fitProfile } from "../../../bench/capacity/fit.ts";
import {
  activityAfter,
  noiseFor,
  type Profile,
  stepFeatures,
  stepMilliseconds,
  stepParts,
  type StepShape,
} from "../../../bench/capacity/profile.ts";
import { parseRecords, requestKey, type ServerRecord } from "../../../bench/capacity/records.ts";
import { median } from "../../../bench/common/statistics.ts";
import { PythonRandom } from "../../../bench/common/python_random.ts";
import { runDeno } from "../program.ts";

const planted: Partial<Record<typeof stepParts[number], number>> = {
  plan: 0.4,
  row: 0.2,
  "prompt token": 0.05,
  "context token": 0.001,
  pair: 0.0001,
};

function milliseconds(shape: StepShape): number {
  return stepFeatures(shape).reduce((sum, count, i) => sum + count * (planted[stepParts[i]!] ?? 0), 0);
}

Deno.test("a profile's steps are those that the records were made of", () => {
  const random = new PythonRandom(2);
  const steps = Array.from({ length: 400 }, () => {
    const decodes = random.next() < 0.6,
      rows = random.int(decodes ? 1 : 0, 16),
      prompt = decodes ? 0 : random.int(1, 300);
    const each = random.int(10, 900);
    const shape = {
      forwards: decodes ? random.int(1, 8) : 1,
      rows,
      context: rows * each,
      longest: rows > 0 ? each + random.int(0, 500) : 0,
      prompt,
      chunks: prompt > 0 ? 1 : 0,
      pairs: prompt * random.int(1, 500),
    };
    return { shape, idle: 0, activity: 1, after: 0, arrivals: 0, milliseconds: milliseconds(shape) };
  });
  const profile = fitProfile({ steps, turns: [0.1, 0.3, 0.2], arrivals: [], deliveries: [] });
  stepParts.forEach((part, i) => {
    const expected = planted[part] ?? 0;
    assert.ok(Math.abs(profile.step[i]! - expected) <= 0.02 * expected + 1e-3, `${part}: ${profile.step[i]}`);
  });
  assert.ok(profile.noise.every((ratio) => Math.abs(ratio - 1) < 0.05));
  assert.equal(profile.turn, 0.2);
});

Deno.test("a step is predicted to take the mean of what such steps took, however far they spread", () => {
  const shape = { forwards: 1, rows: 4, context: 400, longest: 200, prompt: 0, chunks: 0, pairs: 0 };
  const steps = Array.from({ length: 101 }, (_, i) => ({
    shape,
    idle: 0,
    activity: 1,
    after: 0,
    arrivals: 0,
    milliseconds: 0.5 + 0.05 * i,
  }));
  const profile = {
    ...fitProfile({ steps, turns: [], arrivals: [], deliveries: [] }),
    config: {},
  } as Profile;
  const time = stepMilliseconds(profile, shape);
  assert.ok(Math.abs(time - 3) < 0.01, `${time} ms`);
});

Deno.test("the context that others wait for is told from that of all", () => {
  const random = new PythonRandom(3);
  const took = (shape: StepShape) => shape.forwards * (1 + 0.0001 * shape.context + 0.0004 * shape.longest);
  const shapes = Array.from({ length: 300 }, (): StepShape => {
    const rows = random.int(9, 16), longest = random.int(500, 4000);
    const context = longest + (rows - 1) * random.int(10, 500);
    return { forwards: random.int(1, 8), rows, context, longest, prompt: 0, chunks: 0, pairs: 0 };
  });
  const steps = shapes.map((shape) => ({
    shape,
    idle: 0,
    activity: 1,
    after: 0,
    arrivals: 0,
    milliseconds: took(shape),
  }));
  const profile = {
    ...fitProfile({ steps, turns: [], arrivals: [], deliveries: [] }),
    config: {},
  } as Profile;
  const even = { ...shapes[0]!, forwards: 1, rows: 12, context: 12_000, longest: 1000 };
  const uneven = { ...even, longest: 4000 };
  for (const shape of [even, uneven]) {
    const time = stepMilliseconds(profile, shape);
    assert.ok(Math.abs(time / took(shape) - 1) < 0.02, `${time} ms, not ${took(shape)}`);
  }
});

Deno.test("steps, ways there and ways back are told from one another in the records", () => {
  const shape = { forwards: 1, rows: 0, context: 0, longest: 0, prompt: 5, chunks: 1, pairs: 15 };
  const next = { ...shape, prompt: 0, chunks: 0, pairs: 0, rows: 1, context: 5, longest: 5 };
  const server: ServerRecord[] = [
    { type: "request", at: 1002, key: "a", prompt: 5 },
    { type: "plan", at: 1002, id: 1, turn: null, shape },
    { type: "request", at: 1005, key: "b", prompt: 7 },
    { type: "result", at: 1012, id: 1, milliseconds: 9 },
    { type: "plan", at: 1012.5, id: 2, turn: 0.5, shape: next },
    { type: "news", at: 1013, news: [["a", 1]] },
    { type: "result", at: 1014.5, id: 2, milliseconds: 2 },
    { type: "news", at: 1015, news: [["b", 0], ["a", 1]] },
    { type: "plan", at: 1100, id: 3, turn: null, shape },
    { type: "result", at: 1110, id: 3, milliseconds: 10 },
  ];
  const clients: ClientRecord[] = [
    { due: 1000, key: "a", prompt: 5, tokens: [14, 16] },
    { due: 1001, key: "b", prompt: 7, tokens: [] },
  ];
  const { rest, work } = activityAfter;
  const second = rest(work(0, 10), 0.5), third = rest(work(second, 2), 85.5);
  assert.ok(second > 0.09 && second < 0.1 && third > 0.04 && third < 0.05);
  assert.deepEqual(joinRecords(server, clients), {
    steps: [
      { shape, idle: 0, activity: 0, after: 0, arrivals: 1, milliseconds: 10 },
      { shape: next, idle: 0.5, activity: second, after: 5, arrivals: 0, milliseconds: 2 },
      { shape, idle: 85.5, activity: third, after: 0, arrivals: 0, milliseconds: 10 },
    ],
    turns: [0.5],
    arrivals: [
      { prompt: 5, busy: false, activity: 0, company: 1, milliseconds: 2 },
      { prompt: 7, busy: true, activity: 0, company: 2, milliseconds: 4 },
    ],
    deliveries: [
      { place: 1, size: 1, first: true, milliseconds: 1 },
      { place: 2, size: 2, first: false, milliseconds: 1 },
    ],
  });
});

Deno.test("prompts are told apart by their ids, however they are stored", () => {
  assert.equal(requestKey([1, 2, 3]), requestKey(Uint32Array.of(1, 2, 3)));
  assert.notEqual(requestKey([1, 2, 3]), requestKey([1, 3, 2]));
  assert.throws(() => parseRecords('{"type": "plan"}\n'));
});

Deno.test("a validation measures a real server, and its file gives the same prediction again", async () => {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const options = ["--model", "models/pocket", "--device", "cpu", "--threads", "1", "--scale", "0.05"];
    const quick = ["--seconds", "1", "--clients", "1,4", "--loads", "0.3", "--limit", "60", "--out", file];
    const first = await runDeno(["bench/capacity.ts", "validate"], options, quick);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /^30 % .*first token p50 ms/m);
    const again = await runDeno(["bench/capacity.ts", "validate", "--from", file]);
    assert.equal(again.stdout, first.stdout);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("calibrate writes what simulate reads, and simulate writes a page", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const profile = `${folder}/profile.json`, html = `${folder}/page.html`;
    const made = await runDeno(
      ["bench/capacity.ts", "calibrate", "--model", "models/pocket", "--device", "cpu", "--threads", "1"],
      ["--seconds", "1", "--clients", "1,4", "--out", profile],
    );
    assert.equal(made.code, 0, made.stderr);
    const simulated = await runDeno(
      ["bench/capacity.ts", "simulate", "--profile", profile, "--rates", "2,8", "--servers", "1,2"],
      ["--routing", "prefix,round-robin", "--count", "40", "--html", html],
    );
    assert.equal(simulated.code, 0, simulated.stderr);
    assert.match(simulated.stdout, /a simulation/);
    const page = await Deno.readTextFile(html);
    assert.match(page, /2 servers, round-robin/);
    assert.doesNotMatch(page, /NaN|Infinity/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a command that does not exist is one line and exit code 2", async () => {
  const { code, stderr } = await runDeno(["bench/capacity.ts", "guess"]);
  assert.equal(code, 2);
  assert.equal(stderr.trim(), 'capacity: calibrate, validate, simulate or size, not "guess"');
});

Deno.test("after rest steps are as slow as they were after rest, and among others as fast as among others", () => {
  const shape = { forwards: 8, rows: 1, context: 50, longest: 50, prompt: 0, chunks: 0, pairs: 0 };
  const step = (activity: number, factor: number, forwards: number) => ({
    shape: { ...shape, forwards },
    idle: 0,
    activity,
    after: 0,
    arrivals: 0,
    milliseconds: factor * (0.5 + 0.25 * forwards),
  });
  const steps = [8, 1].flatMap((forwards) =>
    Array.from({ length: 40 }, (_, i) => i % 2 === 0 ? step(0.05, 1.6, forwards) : step(0.9, 1, forwards))
  );
  const fitted = fitProfile({ steps, turns: [], arrivals: [], deliveries: [] });
  const profile = { ...fitted, config: {} } as Profile;
  for (const forwards of [8, 1]) {
    for (const [activity, factor] of [[0.05, 1.6], [0.9, 1]] as const) {
      const noise = noiseFor(profile, { ...shape, forwards }, activity);
      const time = stepMilliseconds(profile, { ...shape, forwards }) * median(noise);
      const expected = factor * (0.5 + 0.25 * forwards);
      assert.ok(Math.abs(time / expected - 1) < 0.01, `${forwards} forwards after ${activity}: ${time} ms`);
    }
  }
  const eights = noiseFor(profile, { ...shape, rows: 3 }, 0.9);
  assert.deepEqual(eights, noiseFor(profile, shape, 0.9), "of a number of rows that was not seen");
  assert.deepEqual(
    noiseFor(profile, { ...shape, forwards: 3 }, 0.5),
    profile.noise,
    "of no kind that was seen",
  );
});
