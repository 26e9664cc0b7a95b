// A worker that is one rank of a group, for the tests of the collectives: does what it is told, one after the other.

import { SharedMemoryCollective } from "../../../engine/executor/collectives.ts";

/** One thing to do; each leaves a result. */
export type RankAction =
  /** Adds data that can be told apart: (rank + 1) · (i mod 17) + scale · i. */
  | { readonly type: "sum"; readonly length: number; readonly scale: number }
  /** Gathers (rank, 10 rank, 100 rank). */
  | { readonly type: "gather" }
  | { readonly type: "smallest"; readonly value: number }
  /** In its turn, counts up a word that all share; the result is what it was. */
  | { readonly type: "turn"; readonly counter: SharedArrayBuffer }
  | { readonly type: "watch" };

export interface RankTask {
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly actions: readonly RankAction[];
  readonly options: ConstructorParameters<typeof SharedMemoryCollective>[2];
}

export type RankOutcome =
  | { readonly results: readonly (Float32Array | number | null)[] }
  | { readonly error: string; readonly name: string };

function summand(rank: number, length: number, scale: number): Float32Array {
  return Float32Array.from(
    { length },
    (_, i) => (rank + 1) * (i % 17) + scale * i,
  );
}

async function perform(
  collective: SharedMemoryCollective,
  action: RankAction,
): Promise<Float32Array | number | null> {
  switch (action.type) {
    case "sum": {
      const data = summand(collective.rank, action.length, action.scale);
      collective.allReduce(data);
      return data;
    }
    case "gather": {
      const { rank, size } = collective;
      const gathered = new Float32Array(3 * size);
      collective.allGather(
        Float32Array.of(rank, rank * 10, rank * 100),
        gathered,
      );
      return gathered;
    }
    case "smallest":
      return collective.smallest(action.value);
    case "turn":
      return await collective.inTurn(() =>
        Promise.resolve(Atomics.add(new Int32Array(action.counter), 0, 1))
      );
    case "watch":
      collective.watchStalls();
      return null;
  }
}

self.onmessage = async (
  { data: { memory, rank, actions, options } }: MessageEvent<RankTask>,
) => {
  let outcome: RankOutcome;
  try {
    const collective = new SharedMemoryCollective(memory, rank, options);
    const results = [];
    for (const action of actions) {
      results.push(await perform(collective, action));
    }
    outcome = { results };
  } catch (error) {
    outcome = error instanceof Error
      ? { error: error.message, name: error.name }
      : { error: String(error), name: "" };
  }
  self.postMessage(outcome);
};
