// Ranks whose GPUs see each other's memory. Needs two GPUs, or four.

import assert from "node:assert/strict";
import { breakGroup, createGroupMemory } from "../../../engine/executor/collectives.ts";
import { listCudaGpus } from "../../../kernels/cuda/find.ts";
import type { PeerOutcome, PeerTask } from "./peers_rank.ts";

const gpus = await listCudaGpus();

/** Runs a task on every rank; a rank that fails gives its message. */
async function onRanks(
  size: number,
  task: (rank: number) => Partial<PeerTask>,
  started: (memory: SharedArrayBuffer) => void = () => {},
): Promise<(PeerOutcome | string)[]> {
  const memory = createGroupMemory(size);
  const workers = Array.from(
    { length: size },
    () => new Worker(new URL("./peers_rank.ts", import.meta.url), { type: "module" }),
  );
  try {
    const outcomes = workers.map((worker, rank) =>
      new Promise<PeerOutcome | string>((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => {
          event.preventDefault();
          resolve(event.message);
        };
        const { address } = gpus[rank]!;
        worker.postMessage(
          {
            memory,
            rank,
            size,
            address,
            patience: 10_000,
            lengths: [8],
            gathers: [],
            absent: false,
            ...task(rank),
          } satisfies PeerTask,
        );
      })
    );
    started(memory);
    return await Promise.all(outcomes);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

for (const size of [2, 4, 8]) {
  const ignore = gpus.length < size;
  if (ignore) console.error(`Sums over ${size} GPUs are not tested: there are ${gpus.length}`);
  Deno.test({
    name:
      `cuda: ${size} GPUs add up through each other's memory, in the order of the ranks, with the same bits`,
    ignore,
    async fn() {
      const lengths = [8, 1024, 4096, 5120 * 8, 65_536, 262_144, 262_152, 1_000_000, 10_485_760];
      const gathers = [[1, 32_003], [5, 2048], [3, 151_936]] as const;
      const outcomes = await onRanks(size, () => ({ lengths, gathers }));
      for (const outcome of outcomes) {
        if (typeof outcome === "string") assert.fail(outcome);
        assert.deepEqual(outcome.wrong, []);
      }
      assert.equal(new Set(outcomes.map((outcome) => (outcome as PeerOutcome).bits)).size, 1);
    },
  });

  Deno.test({
    name: `cuda: ${size} GPUs do not wait for ever for a rank that does not come`,
    ignore,
    async fn() {
      const outcomes = await onRanks(size, (rank) => ({ absent: rank === 1, patience: 500 }));
      outcomes.forEach((outcome, rank) => {
        if (rank === 1) assert.notEqual(typeof outcome, "string");
        else assert.match(String(outcome), /rank 1 of the group has stalled/);
      });
    },
  });

  Deno.test({
    name: `cuda: ${size} GPUs stop waiting when the group is broken`,
    ignore,
    async fn() {
      const started = performance.now();
      const outcomes = await onRanks(size, (rank) => ({ absent: rank === 1, patience: 60_000 }), (memory) => {
        setTimeout(() => breakGroup(memory, "failed"), 4000);
      });
      assert.match(String(outcomes[0]), /another rank of the group has failed/);
      assert.ok(performance.now() - started < 20_000);
    },
  });
}
