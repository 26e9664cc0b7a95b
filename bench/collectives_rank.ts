// A worker that is one rank of a group, for `collectives.ts`: times all-reduces of several lengths, through the host or
// through the GPUs' memory.

import { type ReduceType, SharedMemoryCollective } from "../engine/executor/collectives.ts";
import { openDevice } from "../kernels/cuda/open.ts";
import { joinPeers } from "../kernels/cuda/peers/peers.ts";
import { median } from "./common/statistics.ts";

/** What to time. */
export interface ReduceTask {
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly lengths: readonly number[];
  readonly reduceType: ReduceType;
  /** Of the GPU whose memory the sum goes through; null for the host's. */
  readonly address: string | null;
  /** On GPUs, everything to everybody (true), or in two steps (false); null as it is done. */
  readonly few: boolean | null;
}

/** Floats that one timing should move, so that short reductions are repeated more often. */
const timedFloats = 1 << 22;

/** Median microseconds of one all-reduce of a length. */
function time(collective: SharedMemoryCollective, length: number): number {
  const data = new Float32Array(length).fill(0.01);
  return median(Array.from({ length: Math.max(8, Math.min(400, timedFloats / length)) }, () => {
    data.fill(0.01);
    const start = performance.now();
    collective.allReduce(data);
    return 1000 * (performance.now() - start);
  }));
}

/** Sums of a graph; timings of which the median counts. */
const graphSums = 50, timings = 7;

/** Microseconds of one sum inside of a graph, for each length. */
function timeOnGpu({ lengths, address, few }: ReduceTask, collective: SharedMemoryCollective): number[] {
  using device = openDevice(address);
  const most = Math.max(...lengths), peers = joinPeers(device, collective, { floats: most });
  if (typeof peers === "string") throw new Error(`no sums between GPUs: ${peers}`);
  collective.watchStalls();
  const part = device.alloc(4 * most, "parts"), out = device.alloc(4 * most, "sums");
  device.fill(part.address, 0, most);
  device.fill(out.address, 0, most);
  const times = lengths.map((length) => {
    const sum = () => peers.sum(part.address, out.address, length, "add", ...few === null ? [] : [few]);
    const graph = device.capture(() => {
      for (let i = 0; i < graphSums; i++) sum();
    });
    device.replay(graph);
    device.synchronize("warming up");
    return median(Array.from({ length: timings }, () => {
      collective.allReduce(new Float32Array(1)); // all begin together: waiting for a late one is not what is timed
      const start = performance.now();
      device.replay(graph);
      device.replay(graph);
      device.synchronize("timing");
      return 1000 * (performance.now() - start) / 2 / graphSums;
    }));
  });
  peers.check();
  peers.leave();
  return times;
}

self.onmessage = ({ data: task }: MessageEvent<ReduceTask>) => {
  const { memory, rank, lengths, reduceType, address } = task;
  const collective = new SharedMemoryCollective(memory, rank, { reduceType });
  if (address !== null) return self.postMessage(timeOnGpu(task, collective));
  for (const length of lengths) time(collective, length); // until it is compiled
  self.postMessage(lengths.map((length) => time(collective, length)));
};
