import assert from "node:assert/strict";
import { breakGroup, createGroupMemory } from "../../../engine/executor/collectives.ts";
import { type RankAction, type RankOutcome, type RankTask } from "./rank.ts";

type Options = RankTask["options"];

/** A group whose ranks are started one by one. */
class Group implements Disposable {
  readonly memory: SharedArrayBuffer;
  readonly #workers: Worker[] = [];

  constructor(readonly size: number) {
    this.memory = createGroupMemory(size);
  }

  /** Starts a rank; the promise has what it did in the end. */
  start(
    rank: number,
    actions: readonly RankAction[],
    options: Options = {},
  ): Promise<RankOutcome> {
    const worker = new Worker(new URL("./rank.ts", import.meta.url), {
      type: "module",
    });
    this.#workers.push(worker);
    const { promise, resolve } = Promise.withResolvers<RankOutcome>();
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(
      { memory: this.memory, rank, actions, options } satisfies RankTask,
    );
    return promise;
  }

  startAll(
    actions: (rank: number) => readonly RankAction[],
    options: Options = {},
  ): Promise<RankOutcome[]> {
    return Promise.all(
      Array.from(
        { length: this.size },
        (_, rank) => this.start(rank, actions(rank), options),
      ),
    );
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
  }
}

/** What a rank that succeeded has. */
function resultsOf(outcome: RankOutcome) {
  if ("error" in outcome) throw new Error(outcome.error);
  return outcome.results;
}

function errorOf(outcome: RankOutcome) {
  assert.ok("error" in outcome, "a rank that should have failed did not");
  return outcome;
}

/** The summand of `rank.ts`, which is a worker and cannot be imported here. */
function summands(size: number, length: number, scale: number): Float32Array[] {
  return Array.from(
    { length: size },
    (_, rank) =>
      Float32Array.from(
        { length },
        (_, i) => (rank + 1) * (i % 17) + scale * i,
      ),
  );
}

for (const size of [2, 4]) {
  Deno.test(`${size} ranks end with the same sums, taken in rank order, for short and for long data`, async () => {
    const lengths = [1, 64, 1000, 5, 600_000, 7];
    using group = new Group(size);
    const actions = lengths.map((length) => ({ type: "sum", length, scale: 0.1 }) as const);
    for (
      const outcome of await group.startAll(
        () => [...actions, { type: "gather" }],
      )
    ) {
      const results = resultsOf(outcome);
      lengths.forEach((length, round) => {
        const parts = summands(size, length, 0.1);
        const expected = parts.reduce((sum, part) => sum.map((v, i) => v + part[i]!));
        assert.deepEqual(results[round], expected);
      });
      assert.deepEqual(
        results.at(-1),
        Float32Array.from(
          { length: 3 * size },
          (_, i) => Math.floor(i / 3) * 10 ** (i % 3),
        ),
      );
    }
  });
}

Deno.test("in float16 the parts are rounded, the sum is taken in float32, and what is too large stays finite", async () => {
  using group = new Group(3);
  const length = 1000, scale = 100.3; // up to 100,300
  const outcomes = await group.startAll(
    () => [{ type: "sum", length, scale }, { type: "gather" }],
    { reduceType: "float16" },
  );
  const halves = summands(3, length, scale).map((part) =>
    Float32Array.from(Float16Array.from(part.map((v) => Math.min(v, 65504))))
  );
  const expected = halves.reduce((sum, part) => sum.map((v, i) => v + part[i]!));
  for (const outcome of outcomes) {
    assert.deepEqual(resultsOf(outcome)[0], expected);
    assert.deepEqual([...resultsOf(outcome)[1] as Float32Array], [
      0,
      0,
      0,
      1,
      10,
      100,
      2,
      20,
      200,
    ]);
  }
});

Deno.test("ranks agree on their smallest number, beyond what a float32 holds, and take turns in order", async () => {
  using group = new Group(3);
  const counter = new SharedArrayBuffer(4);
  const outcomes = await group.startAll((rank) => [
    { type: "smallest", value: 2 ** 26 + 3 - rank },
    { type: "turn", counter },
  ]);
  outcomes.forEach((outcome, rank) => assert.deepEqual(resultsOf(outcome), [2 ** 26 + 1, rank]));
});

for (const reason of ["failed", "closed"] as const) {
  Deno.test(`ranks that wait for one that never comes end with an error when the group has ${reason}`, async () => {
    using group = new Group(3);
    const waiting = [0, 1].map((rank) => group.start(rank, [{ type: "gather" }]));
    // Both are in, or on their way to, the barrier; either way they must see it.
    breakGroup(group.memory, reason);
    breakGroup(group.memory, "failed"); // the first reason stands
    for (const outcome of await Promise.all(waiting)) {
      const { error, name } = errorOf(outcome);
      if (reason === "closed") assert.equal(name, "GroupClosed");
      else {assert.match(
          error,
          /rank [01]: another rank of the group has failed/,
        );}
    }
  });
}

Deno.test("a rank that stalls is given up and named", async () => {
  using group = new Group(2);
  const actions = [{ type: "gather" }, { type: "watch" }, {
    type: "gather",
  }] as const;
  const waiting = group.start(0, actions, { leastPatience: 20 });
  resultsOf(await group.start(1, actions.slice(0, 1))); // comes once, and not again
  assert.match(
    errorOf(await waiting).error,
    /^rank 1 of the group has stalled/,
  );
});

Deno.test("before stalls are watched for, a rank may come as late as it likes", async () => {
  using group = new Group(2);
  const early = group.start(0, [{ type: "gather" }], { leastPatience: 0 });
  // The word in which rank 0 says that it is there.
  await Atomics.waitAsync(new Int32Array(group.memory), 16, 0).value;
  const late = group.start(1, [{ type: "gather" }], { leastPatience: 0 });
  for (const outcome of [await early, await late]) {
    assert.deepEqual(
      resultsOf(outcome)[0],
      Float32Array.of(0, 0, 0, 1, 10, 100),
    );
  }
});
