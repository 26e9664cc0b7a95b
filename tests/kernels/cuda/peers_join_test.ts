// How ranks become peers, or do not, on a driver that only answers: kernels do not run, so nothing is added up.

import assert from "node:assert/strict";
import { createGroupMemory } from "../../../engine/executor/collectives.ts";
import type { FakeOutcome, FakeTask } from "./peers_fake_rank.ts";

/** Two ranks, with a GPU each where nothing else is said. */
async function ranks(task: (rank: number) => Partial<FakeTask> = () => ({})): Promise<FakeOutcome[]> {
  const memory = createGroupMemory(2);
  const workers = [0, 1].map(() =>
    new Worker(new URL("./peers_fake_rank.ts", import.meta.url), { type: "module" })
  );
  try {
    return await Promise.all(workers.map((worker, rank) =>
      new Promise<FakeOutcome>((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new Error(event.message));
        };
        worker.postMessage(
          {
            memory,
            rank,
            size: 2,
            ordinal: rank,
            fail: null,
            temperature: 0,
            ...task(rank),
          } satisfies FakeTask,
        );
      })
    ));
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

for (const temperature of [0, 0.8]) {
  Deno.test(`ranks whose GPUs see each other's memory decode in graphs, without the host (temperature ${temperature})`, async () => {
    const outcomes = await ranks(() => ({ temperature }));
    for (const { description, readbacks, replays, mapped } of outcomes) {
      assert.match(description, /, sums over NVLink$/);
      assert.equal(readbacks, 0);
      assert.equal(replays, 4); // all but the first step
      assert.equal(mapped, 1);
    }
    // The last to leave gives everything back.
    assert.deepEqual(outcomes.map(({ unmapped }) => unmapped).sort(), [0, 2]);
  });
}

Deno.test("ranks that share a GPU add up through the host, and say so", async () => {
  for (const { description, readbacks, replays } of await ranks(() => ({ ordinal: 0 }))) {
    assert.match(description, /, sums through the host: ranks share a GPU$/);
    assert.ok(readbacks > 0);
    assert.equal(replays, 0);
  }
});

Deno.test("when one rank's driver refuses to share memory, all add up through the host, and say so", async () => {
  for (const call of ["cuMemCreate", "cuMemSetAccess"]) {
    const outcomes = await ranks((rank) => ({ fail: rank === 1 ? [call, 801] : null }));
    for (const { description, readbacks, replays, mapped, unmapped } of outcomes) {
      assert.match(
        description,
        /sums through the host: the driver does not share memory \(CUDA error 801 on rank 1\)$/,
      );
      assert.ok(readbacks > 0);
      assert.equal(replays, 0);
      assert.equal(mapped, unmapped);
    }
  }
});

Deno.test("when one GPU does not reach another's memory, all add up through the host, and say so", async () => {
  for (
    const { description } of await ranks((rank) => ({
      fail: rank === 1 ? ["cuDeviceCanAccessPeer", 1] : null,
    }))
  ) {
    assert.match(
      description,
      /sums through the host: the GPU of rank 1 does not reach the memory of all others$/,
    );
  }
});
