// A worker that is one rank of a group, for `collectives.ts`: times all-reduces of several lengths.

import { type ReduceType, SharedMemoryCollective } from "../engine/executor/collectives.ts";

/** What to time. */
export interface ReduceTask {
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly lengths: readonly number[];
  readonly reduceType: ReduceType;
}

/** Floats that one timing should move, so that short reductions are repeated more often. */
const timedFloats = 1 << 22;

/** Median microseconds of one all-reduce of a length. */
function time(collective: SharedMemoryCollective, length: number): number {
  const data = new Float32Array(length).fill(0.01);
  const times = Array.from({ length: Math.max(8, Math.min(400, timedFloats / length)) }, () => {
    data.fill(0.01);
    const start = performance.now();
    collective.allReduce(data);
    return 1000 * (performance.now() - start);
  }).sort((a, b) => a - b);
  return times[times.length >> 1]!;
}

self.onmessage = ({ data: { memory, rank, lengths, reduceType } }: MessageEvent<ReduceTask>) => {
  const collective = new SharedMemoryCollective(memory, rank, { reduceType });
  for (const length of lengths) time(collective, length); // until it is compiled
  self.postMessage(lengths.map((length) => time(collective, length)));
};
