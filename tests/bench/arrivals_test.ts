import assert from "node:assert/strict";
import { poissonArrivals, traceArrivals, type TraceRequest } from "../../bench/online/arrivals.ts";
import { readTrace } from "../../bench/online/traces.ts";

const poisson = {
  rate: 5,
  count: 4000,
  minTokens: 3,
  maxTokens: 9,
  sharedTokens: 6,
  vocabSize: 50,
  seed: 1,
};
const replay = { speed: 1, scale: 1, count: 100, seconds: 1000, vocabSize: 1000, seed: 0 };

Deno.test("Poisson arrivals come at their rate, with exponential gaps", () => {
  const arrivals = poissonArrivals(poisson);
  const gaps = arrivals.map(({ at }, i) => at - (arrivals[i - 1]?.at ?? 0));
  assert.ok(gaps.every((gap) => gap > 0));
  const mean = arrivals.at(-1)!.at / arrivals.length;
  assert.ok(Math.abs(mean * 5 - 1) < 0.05, `mean gap ${mean}`);
  // Of an exponential, the share 1 − 1/e is shorter than the mean.
  const short = gaps.filter((gap) => gap < 1 / 5).length / gaps.length;
  assert.ok(Math.abs(short - (1 - 1 / Math.E)) < 0.03, `${short} of the gaps are short`);
});

Deno.test("Poisson prompts share exactly their beginning, and lengths stay within their bounds", () => {
  const arrivals = poissonArrivals({ ...poisson, count: 50 });
  const shared = arrivals[0]!.ids.slice(0, 6);
  for (const { ids, outputTokens } of arrivals) {
    assert.deepEqual(ids.slice(0, 6), shared);
    assert.ok(ids.length >= 9 && ids.length <= 15 && outputTokens >= 3 && outputTokens <= 9);
    assert.ok(ids.every((id) => id >= 0 && id < 50));
  }
  assert.ok(new Set(arrivals.map(({ ids }) => ids.slice(6, 9).join())).size > 40);
  assert.deepEqual(poissonArrivals({ ...poisson, count: 50 }), arrivals);
});

Deno.test("a replayed trace shares the blocks that it shared, at any scale and speed", () => {
  const trace: TraceRequest[] = [
    { at: 0, inputTokens: 1300, outputTokens: 40, blocks: [7, 8, 9] },
    { at: 2, inputTokens: 1024, outputTokens: 20, blocks: [7, 8] },
    { at: 4, inputTokens: 700, outputTokens: 1, blocks: [7, 10] },
    { at: 900, inputTokens: 10, outputTokens: 1, blocks: [7] },
  ];
  for (const scale of [1, 0.1]) {
    const [first, second, third, ...late] = traceArrivals(trace, {
      ...replay,
      speed: 2,
      scale,
      seconds: 100,
    });
    assert.deepEqual(late, []); // 900 s at twice the speed is after 100 s
    assert.deepEqual([first!.at, second!.at, third!.at], [0, 1, 2]);
    assert.deepEqual(
      [first, second, third].map((each) => each!.ids.length),
      [1300, 1024, 700].map((length) => Math.round(length * scale)),
    );
    assert.equal(first!.outputTokens, 40 * scale);
    assert.equal(third!.outputTokens, 1);
    assert.deepEqual(first!.ids.slice(0, second!.ids.length), second!.ids);
    const block = Math.ceil(512 * scale);
    assert.deepEqual(third!.ids.slice(0, block), first!.ids.slice(0, block));
    assert.notDeepEqual(third!.ids.slice(block, block + 8), first!.ids.slice(block, block + 8));
  }
  assert.equal(traceArrivals(trace, { ...replay, count: 2 }).length, 2);
});

Deno.test("requests of a trace without contents share nothing", () => {
  const trace = [0, 1].map((at): TraceRequest => ({ at, inputTokens: 20, outputTokens: 2, blocks: null }));
  const [first, second] = traceArrivals(trace, replay);
  assert.equal(first!.ids.length, 20);
  assert.notDeepEqual(first!.ids.slice(0, 4), second!.ids.slice(0, 4));
});

async function withFile(text: string, run: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, text);
    await run(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("both forms of traces are read, with times from the first request", async () => {
  const azure = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n" +
    "2023-11-16 18:15:50.9951690,396,109\r\n";
  await withFile(azure, async (path) => {
    const [first, second] = await readTrace(path, 10);
    assert.deepEqual(first, { at: 0, inputTokens: 374, outputTokens: 44, blocks: null });
    assert.ok(Math.abs(second!.at - 4.315) < 0.01);
    assert.equal((await readTrace(path, 1)).length, 1);
  });
  const mooncake = '{"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n' +
    '{"timestamp": 4500, "input_length": 512, "output_length": 6, "hash_ids": [0]}\n';
  await withFile(mooncake, async (path) => {
    assert.deepEqual(await readTrace(path, 10), [
      { at: 0, inputTokens: 600, outputTokens: 5, blocks: [0, 1] },
      { at: 1.5, inputTokens: 512, outputTokens: 6, blocks: [0] },
    ]);
  });
});

Deno.test("a broken trace is refused with the request that is wrong", async () => {
  const good = '{"timestamp": 0, "input_length": 9, "output_length": 5, "hash_ids": [0]}\n';
  const cases: [string, RegExp][] = [
    [good + "{", /request 2/],
    [good.replace("9", "900"), /request 1: .*fewer blocks/s],
    [good.replace("9", "1e300"), /request 1: .*input_length/s],
    ["TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", /request 1: not "time/],
    ["", /no requests/],
  ];
  for (const [text, message] of cases) {
    await withFile(text, (path) => assert.rejects(readTrace(path, 10), message));
  }
});
