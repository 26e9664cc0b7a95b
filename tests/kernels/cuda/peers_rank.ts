// A worker that is one rank with a GPU of its own, for `peers_test.ts`: sums and gathers, compared with what they should
// be, bit by bit. It posts what went wrong, and a number that is the same where all bits are.

import { SharedMemoryCollective } from "../../../engine/executor/collectives.ts";
import type { CudaDevice } from "../../../kernels/cuda/device.ts";
import { openDevice } from "../../../kernels/cuda/open.ts";
import { joinPeers, type Peers } from "../../../kernels/cuda/peers/peers.ts";
import { vocabularyShare } from "../../../kernels/vocabulary.ts";

/** What to do. */
export interface PeerTask {
  readonly memory: SharedArrayBuffer;
  readonly rank: number;
  readonly size: number;
  readonly address: string;
  /** Milliseconds after which a rank that does not come has stalled. */
  readonly patience: number;
  /** Of sums. */
  readonly lengths: readonly number[];
  /** Of sums that travel as halves. */
  readonly halves: readonly number[];
  /** Rows and vocabulary of gathers. */
  readonly gathers: readonly (readonly [rows: number, vocabSize: number])[];
  /** Join, and never sum. */
  readonly absent: boolean;
  /** Say so, with the text "waiting", when the first sum has been launched and cannot end without the others. */
  readonly tells: boolean;
}

/** What came of it. */
export interface PeerOutcome {
  readonly link: string;
  readonly wrong: readonly string[];
  readonly bits: number;
  readonly milliseconds: number;
}

const value = (rank: number, i: number) => Math.fround(((i * 31 + rank * 7919) % 2003 - 1001) * 0.37);
function filled(length: number, rank: number): Float32Array {
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) values[i] = value(rank, i);
  return values;
}

/** The sum in the order of the ranks where parts travel as halves: a rank's own part, and sums, are not rounded before. */
function summedHalves(length: number, size: number, before: number | null): Float32Array {
  const sums = new Float32Array(length), share = Math.ceil(length / 8 / size);
  for (let i = 0; i < length; i++) {
    const owner = Math.floor(i / 8 / share);
    let sum = 0;
    for (let r = 0; r < size; r++) {
      const part = r === owner ? value(r, i) : Math.f16round(value(r, i));
      sum = r === 0 ? part : Math.fround(sum + part);
    }
    sum = Math.f16round(sum);
    sums[i] = before === null ? sum : Math.fround(value(before, i) + sum);
  }
  return sums;
}

/** The sum in the order of the ranks, in float32. */
function summed(length: number, size: number, before: number | null): Float32Array {
  const sums = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    let sum = value(0, i);
    for (let r = 1; r < size; r++) sum = Math.fround(sum + value(r, i));
    sums[i] = before === null ? sum : Math.fround(value(before, i) + sum);
  }
  return sums;
}

function run(device: CudaDevice, peers: Peers, { rank, size, lengths, halves, gathers, tells }: PeerTask) {
  const wrong: string[] = [];
  let bits = 17;
  const compare = (what: string, at: bigint, expected: Float32Array) => {
    const found = new Uint32Array(device.read(at, expected.byteLength));
    const words = new Uint32Array(expected.buffer);
    let different = 0, first = -1;
    for (let i = 0; i < words.length; i++) {
      bits = (Math.imul(bits, 31) + found[i]!) | 0;
      if (words[i] !== found[i]) {
        different++;
        if (first < 0) first = i;
      }
    }
    if (different === 0) return;
    const [a, b] = [new Float32Array(found.buffer)[first], expected[first]];
    wrong.push(`rank ${rank}: ${what}: ${different} of ${words.length}, at ${first} ${a} for ${b}`);
  };
  const most = Math.max(...lengths);
  const part = device.alloc(4 * most, "parts").address, out = device.alloc(4 * most, "sums").address;
  for (const length of lengths) {
    for (const way of ["store", "add", "in place", "graph"] as const) {
      device.write(part, filled(length, rank));
      device.write(out, filled(length, 99));
      const to = way === "in place" ? part : out, epilogue = way === "add" ? "add" : "store";
      const sum = () => peers.sum(part, to, length, epilogue);
      if (way === "graph") {
        const graph = device.capture(() => [sum(), sum(), sum()]);
        for (let i = 0; i < 5; i++) device.replay(graph);
      } else sum();
      if (tells) self.postMessage("waiting");
      compare(`${way} ${length}`, to, summed(length, size, way === "add" ? 99 : null));
    }
  }
  for (const length of halves) {
    for (const epilogue of ["store", "add"] as const) {
      device.write(part, filled(length, rank));
      device.write(out, filled(length, 99));
      peers.sum(part, out, length, epilogue, false, true);
      compare(
        `halves, ${epilogue} ${length}`,
        out,
        summedHalves(length, size, epilogue === "add" ? 99 : null),
      );
    }
  }
  for (const [rows, vocabSize] of gathers) {
    const share = vocabularyShare(vocabSize, { rank, size }), four = (n: number) => 4 * Math.ceil(n / 4);
    const ownStride = four(share.rows), stride = four(vocabSize);
    const own = device.alloc(4 * rows * ownStride, "a share"), all = device.alloc(4 * rows * stride, "rows");
    const local = new Float32Array(rows * ownStride), expected = new Float32Array(rows * stride);
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < share.rows; i++) local[row * ownStride + i] = value(row, share.start + i);
      for (let i = 0; i < vocabSize; i++) expected[row * stride + i] = value(row, i);
    }
    device.write(own.address, local);
    device.fill(all.address, 0, rows * stride);
    peers.gatherRows(
      { address: own.address, stride: ownStride },
      { address: all.address, stride },
      rows,
      vocabSize,
    );
    compare(`rows ${rows} × ${vocabSize}`, all.address, expected);

    const chunks = Math.ceil(Math.ceil(vocabSize / size) / 4096), none = 0xffffffff;
    const pairs = (r: number) =>
      Uint32Array.from(
        { length: 2 * rows * chunks },
        (_, i) => i % 2 === 0 ? 1000 * r + i : i % 14 === 7 ? none : i,
      );
    const gathered = new Uint32Array(2 * rows * chunks * size);
    for (let r = 0; r < size; r++) {
      const { start } = vocabularyShare(vocabSize, { rank: r, size });
      pairs(r).forEach((word, i) => {
        const row = Math.floor(i / 2 / chunks), rest = i - 2 * chunks * row;
        gathered[2 * (row * size + r) * chunks + rest] = i % 2 === 1 && word !== none ? word + start : word;
      });
    }
    const from = device.alloc(8 * rows * chunks, "candidates"),
      to = device.alloc(gathered.byteLength, "candidates");
    device.write(from.address, pairs(rank));
    peers.gatherCandidates(from.address, to.address, rows, chunks, share.start);
    compare(`candidates ${rows} × ${chunks}`, to.address, new Float32Array(gathered.buffer));
  }
  peers.check();
  return { wrong, bits };
}

self.onmessage = ({ data: task }: MessageEvent<PeerTask>) => {
  const collective = new SharedMemoryCollective(task.memory, task.rank, { leastPatience: task.patience });
  using device = openDevice(task.address);
  const peers = joinPeers(device, collective, { floats: Math.max(...task.lengths) });
  if (typeof peers === "string") throw new Error(peers);
  collective.watchStalls();
  const started = performance.now();
  const { wrong, bits } = task.absent ? { wrong: [], bits: 0 } : run(device, peers, task);
  self.postMessage(
    { link: peers.link, wrong, bits, milliseconds: performance.now() - started } satisfies PeerOutcome,
  );
  peers.leave();
};
