// Ranks whose GPUs see each other's memory. Needs two GPUs, or four.

import assert from "node:assert/strict";
import { breakGroup, createGroupMemory } from "../../../engine/executor/collectives.ts";
import { listCudaGpus } from "../../../kernels/cuda/find.ts";
import type { PeerOutcome, PeerTask } from "./peers_rank.ts";

const gpus = await listCudaGpus();

/** Runs a task on every rank; a rank that fails gives its message. `waits` is called when one says that it waits. */
async function onRanks(
  size: number,
  task: (rank: number) => Partial<PeerTask>,
  waits: (memory: SharedArrayBuffer) => void = () => {},
): Promise<(PeerOutcome | string)[]> {
  const memory = createGroupMemory(size);
  const workers = Array.from(
    { length: size },
    () => new Worker(new URL("./peers_rank.ts", import.meta.url), { type: "module" }),
  );
  try {
    const outcomes = workers.map((worker, rank) =>
      new Promise<PeerOutcome | string>((resolve) => {
        worker.onmessage = ({ data }: MessageEvent<PeerOutcome | "waiting">) =>
          data === "waiting" ? waits(memory) : resolve(data);
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
            halves: [],
            gathers: [],
            absent: false,
            tells: false,
            ...task(rank),
          } satisfies PeerTask,
        );
      })
    );
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
      const lengths = [8, 1024, 4096, 5120 * 8, 65_536, 262_144, 262_152, 1_000_000, 5_000_000];
      const gathers = [[1, 32_003], [5, 2048], [3, 151_936]] as const;
      const outcomes = await onRanks(
        size,
        () => ({ lengths, halves: [8, 1000, 262_152, 1_000_000], gathers }),
      );
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

  // A kernel of each kind runs when the group is broken: sums of few numbers, and of many.
  for (const length of [8, 1_000_000]) {
    Deno.test({
      name: `cuda: ${size} GPUs stop waiting for a sum of ${length} when the group is broken`,
      ignore,
      async fn() {
        const task = (rank: number) => ({
          absent: rank === 1,
          tells: rank === 0,
          patience: 600_000,
          lengths: [length],
        });
        const outcomes = await onRanks(size, task, (memory) => breakGroup(memory, "failed"));
        outcomes.forEach((outcome, rank) => {
          if (rank !== 1) assert.match(String(outcome), /another rank of the group has failed/);
        });
      },
    });
  }
}
