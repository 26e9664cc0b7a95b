// All-reduce and all-gather between the ranks of a tensor-parallel group, through shared memory on the host.
//
// WebGPU devices cannot see each other's memory, so a partial result is read back, added here, and written to the
// device again. Each rank copies its data into its own slot, all meet at a barrier, and each adds all slots in rank
// order: the sums have the same bits everywhere, so ranks can never drift apart. Two sets of slots take turns: a
// rank that is already in the next operation writes where nobody still reads, so one barrier per piece is enough.

import type { Collective } from "../../kernels/ops.ts";

/** Words of the control block. */
const Control = { Arrived: 0, Generation: 1, Broken: 2 } as const;
const controlWords = 4;

/** Floats moved per barrier; longer data goes in pieces. */
const pieceLength = 1 << 18;

/** How long a rank waits for the others before it gives the group up. */
const stallMilliseconds = 20_000;

/** Spins before sleeping: a decode step's ranks arrive within microseconds of each other. */
const spins = 2_000;

/** Shared memory for a group of `size` ranks; made by the launcher, handed to every rank. */
export function createGroupMemory(size: number): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (controlWords + 2 * size * pieceLength));
}

/** Makes every rank that waits, now or later, throw. The launcher calls it when a rank has died. */
export function breakGroup(memory: SharedArrayBuffer): void {
  const control = new Int32Array(memory, 0, controlWords);
  Atomics.store(control, Control.Broken, 1);
  Atomics.add(control, Control.Generation, 1);
  Atomics.notify(control, Control.Generation);
}

/** One rank's end of the group. */
export class SharedMemoryCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly #memory: SharedArrayBuffer;
  readonly #control: Int32Array;
  #turn = 0;

  constructor(memory: SharedArrayBuffer, rank: number, size: number) {
    this.rank = rank;
    this.size = size;
    this.#memory = memory;
    this.#control = new Int32Array(memory, 0, controlWords);
  }

  allReduce(data: Float32Array): void {
    for (let start = 0; start < data.length; start += pieceLength) {
      const piece = data.subarray(start, start + pieceLength);
      const slots = this.#exchange(piece);
      piece.set(slots[0]!);
      for (let r = 1; r < this.size; r++) {
        const other = slots[r]!;
        for (let i = 0; i < piece.length; i++) piece[i]! += other[i]!;
      }
    }
  }

  allGather(data: Float32Array, out: Float32Array): void {
    for (let start = 0; start < data.length; start += pieceLength) {
      const slots = this.#exchange(data.subarray(start, start + pieceLength));
      slots.forEach((slot, r) => out.set(slot, r * data.length + start));
    }
  }

  /** Publishes this rank's piece and returns everyone's, valid until the next but one exchange. */
  #exchange(piece: Float32Array): Float32Array[] {
    const slots = Array.from({ length: this.size }, (_, r) => {
      const offset = controlWords + (this.#turn * this.size + r) * pieceLength;
      return new Float32Array(this.#memory, 4 * offset, piece.length);
    });
    this.#turn = 1 - this.#turn;
    slots[this.rank]!.set(piece);
    this.#barrier();
    return slots;
  }

  #barrier(): void {
    const generation = Atomics.load(this.#control, Control.Generation);
    this.#throwIfBroken();
    if (Atomics.add(this.#control, Control.Arrived, 1) === this.size - 1) {
      Atomics.store(this.#control, Control.Arrived, 0);
      Atomics.add(this.#control, Control.Generation, 1);
      Atomics.notify(this.#control, Control.Generation);
      return;
    }
    for (let i = 0; i < spins; i++) {
      if (Atomics.load(this.#control, Control.Generation) !== generation) return this.#throwIfBroken();
    }
    const outcome = Atomics.wait(this.#control, Control.Generation, generation, stallMilliseconds);
    if (outcome === "timed-out") {
      breakGroup(this.#memory);
      throw new Error(`rank ${this.rank} waited ${stallMilliseconds / 1000} s for the other ranks`);
    }
    this.#throwIfBroken();
  }

  #throwIfBroken(): void {
    if (Atomics.load(this.#control, Control.Broken) !== 0) {
      throw new Error(`rank ${this.rank}: another rank of the group has failed`);
    }
  }
}
