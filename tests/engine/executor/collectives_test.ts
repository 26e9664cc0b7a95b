import assert from "node:assert/strict";
import { breakGroup, createGroupMemory } from "../../../engine/executor/collectives.ts";

interface Outcome {
  sums?: Float32Array[];
  gathered?: Float32Array;
  error?: string;
}

/** Starts some of a group's ranks; `outcomes` in the order of `ranks`. */
function startRanks(size: number, ranks: readonly number[], lengths: readonly number[]) {
  const memory = createGroupMemory(size);
  const workers = ranks.map(() => new Worker(new URL("./rank.ts", import.meta.url), { type: "module" }));
  const outcomes = workers.map((worker, i) =>
    new Promise<Outcome>((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.postMessage({ memory, rank: ranks[i], size, lengths });
    })
  );
  return {
    memory,
    outcomes: Promise.all(outcomes),
    [Symbol.dispose]: () => workers.forEach((w) => w.terminate()),
  };
}

for (const size of [2, 4]) {
  Deno.test(`${size} ranks end an all-reduce with the same sums, for short and for long data`, async () => {
    const lengths = [1, 64, 1000, 5, 600_000, 7];
    using group = startRanks(size, Array.from({ length: size }, (_, r) => r), lengths);
    const all = await group.outcomes;
    const factor = size * (size + 1) / 2;
    for (const { sums, gathered } of all) {
      sums!.forEach((data, round) => {
        assert.equal(data.length, lengths[round]);
        assert.ok(data.every((v, i) => v === factor * (i % 17) + size * round));
      });
      assert.deepEqual(
        gathered,
        Float32Array.from({ length: 3 * size }, (_, i) => Math.floor(i / 3) * 10 ** (i % 3)),
      );
    }
  });
}

Deno.test("ranks that wait for one that never comes end with an error when the group is broken", async () => {
  using group = startRanks(3, [0, 1], [8]);
  // Both are in, or on their way to, the barrier; either way they must see it.
  breakGroup(group.memory, "failed");
  for (const { error } of await group.outcomes) {
    assert.match(error ?? "", /another rank of the group has failed/);
  }
});
