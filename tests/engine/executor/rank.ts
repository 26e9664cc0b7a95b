// A worker that is one rank of a group, for the tests of the collectives.

import { SharedMemoryCollective } from "../../../engine/executor/collectives.ts";

interface Task {
  memory: SharedArrayBuffer;
  rank: number;
  size: number;
  lengths: number[];
}

self.onmessage = ({ data: { memory, rank, size, lengths } }: MessageEvent<Task>) => {
  try {
    const collective = new SharedMemoryCollective(memory, rank);
    const sums = lengths.map((length, round) => {
      const data = Float32Array.from({ length }, (_, i) => (rank + 1) * (i % 17) + round);
      collective.allReduce(data);
      return data;
    });
    const gathered = new Float32Array(3 * size);
    collective.allGather(Float32Array.of(rank, rank * 10, rank * 100), gathered);
    self.postMessage({ sums, gathered });
  } catch (error) {
    self.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
