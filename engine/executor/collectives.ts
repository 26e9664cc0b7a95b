// All-reduce and all-gather between the ranks of a tensor-parallel group, through shared memory on the host.
//
// WebGPU devices cannot see each other's memory, so a partial result is read back, added here, and written to the
// device again. Each rank copies its data into its own slot, all meet at a barrier, and each adds all slots in rank
// order: the sums have the same bits everywhere, so ranks can never drift apart. Two sets of slots take turns: a
// rank that is already in the next operation writes where no rank still reads, so one barrier per piece is enough.
//
// The barrier is a word per rank that counts its arrivals; a rank that waits knows for which. No rank waits for ever: the
// launcher breaks the group when a rank has died, and a rank that is alive but does not come is given up after a
// time that depends on how long its equals took.

import type { Collective } from "../../kernels/ops.ts";

/** What partial sums travel as; sums are always taken in float32. */
export type ReduceType = "float32" | "float16";

/** Words of the control block (see `Collective`); the arrival words follow, each on a cache line of its own. */
const Control = { Size: 0, Broken: 1, Patience: 2 } as const;
const lineWords = 16;
const arrivalWord = (rank: number) => (rank + 1) * lineWords;

/** Values of the word `Broken`; 3 + r says that rank r has stalled. */
const Broken = { No: 0, Closed: 1, Failed: 2, Stalled: 3 } as const;

/** Floats moved per barrier; longer data goes in pieces. */
const pieceLength = 1 << 18;

/**
 * How long a rank waits for another: `leastPatience` milliseconds, plus `patienceFactor` times what it took itself
 * since the group last met. Ranks do equal work: where one compiles kernels or computes for long, the others do too.
 */
const leastPatience = 10_000;
const patienceFactor = 10;

/** Spins before sleeping: a decode step's ranks arrive within microseconds of each other. */
const spins = 2_000;

/** Beyond this a float16 is infinite. */
const largestHalf = 65504;

/** The group cannot go on, because a rank has died or stalled. */
export class GroupFailed extends Error {
  /** The error's name. */
  override readonly name: string = "GroupFailed";
}

/** The group has been dissolved on purpose: the engine is being closed. */
export class GroupClosed extends GroupFailed {
  /** The error's name. */
  override readonly name = "GroupClosed";
}

/** Shared memory for a group of `size` ranks; made by the launcher, handed to every rank. */
export function createGroupMemory(size: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4 * (arrivalWord(size) + 2 * size * pieceLength));
  new Int32Array(memory, 0, lineWords)[Control.Size] = size;
  return memory;
}

/**
 * Makes every rank that waits, now or later, throw. The launcher calls it when a rank has died ("failed") and when
 * the engine is closed. The first reason stands.
 */
export function breakGroup(memory: SharedArrayBuffer, reason: "failed" | "closed"): void {
  dissolve(memory, reason === "closed" ? Broken.Closed : Broken.Failed);
}

function dissolve(memory: SharedArrayBuffer, code: number): void {
  const size = new Int32Array(memory, 0, lineWords)[Control.Size]!;
  const control = new Int32Array(memory, 0, arrivalWord(size));
  Atomics.compareExchange(control, Control.Broken, Broken.No, code);
  // A changed word wakes who waits for it, also one that is just about to.
  for (let rank = 0; rank < size; rank++) {
    Atomics.add(control, arrivalWord(rank), 1);
    Atomics.notify(control, arrivalWord(rank));
  }
}

/** One rank's end of the group. */
export class SharedMemoryCollective implements Collective {
  /** This rank, from 0. */
  readonly rank: number;
  /** Number of ranks in the group. */
  readonly size: number;
  readonly #memory: SharedArrayBuffer;
  /** Its control block. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** See `Collective`. */
  readonly halves: boolean;
  /** Two turns of a slot for each rank. */
  readonly #slots: readonly (readonly Float32Array[])[];
  readonly #sumSlots: readonly (readonly (Float32Array | Float16Array)[])[];
  readonly #leastPatience: number;
  #watching = false;
  #turn = 0;
  #arrivals = 0;
  /** When this rank last left the others. */
  #left = 0;

  /** `leastPatience` in milliseconds; only tests change it. */
  constructor(
    memory: SharedArrayBuffer,
    rank: number,
    options: { readonly reduceType?: ReduceType; readonly leastPatience?: number } = {},
  ) {
    const size = new Int32Array(memory, 0, lineWords)[Control.Size]!;
    this.rank = rank;
    this.size = size;
    this.#memory = memory;
    this.control = new Int32Array(memory, 0, arrivalWord(size));
    this.#leastPatience = options.leastPatience ?? leastPatience;
    const slots = <T>(make: (byteOffset: number) => T) =>
      [0, 1].map((turn) =>
        Array.from(
          { length: size },
          (_, r) => make(4 * (arrivalWord(size) + (turn * size + r) * pieceLength)),
        )
      );
    this.#slots = slots((offset) => new Float32Array(memory, offset, pieceLength));
    this.halves = options.reduceType === "float16";
    this.#sumSlots = this.halves
      ? slots((offset) => new Float16Array(memory, offset, pieceLength))
      : this.#slots;
  }

  /**
   * From now on a rank that does not come ends the group. Before, while ranks load their weights, they may take as
   * long as their disks do.
   */
  watchStalls(): void {
    this.#watching = true;
    Atomics.store(this.control, Control.Patience, this.#leastPatience);
    this.beginStep();
  }

  /** Work begins after a time without any: idle time is not work that the others may take as long for. */
  beginStep(): void {
    this.#left = performance.now();
  }

  allReduce(data: Float32Array): void {
    for (let start = 0; start < data.length; start += pieceLength) {
      const piece = data.subarray(start, start + pieceLength);
      const slots = this.#sumSlots[this.#turn]!;
      publish(piece, slots[this.rank]!);
      this.#meet();
      addSlots(slots, piece);
    }
  }

  allGather(data: Float32Array, out: Float32Array): void {
    for (let start = 0; start < data.length; start += pieceLength) {
      const piece = data.subarray(start, start + pieceLength);
      const slots = this.#slots[this.#turn]!;
      slots[this.rank]!.set(piece);
      this.#meet();
      slots.forEach((slot, r) => out.set(slot.subarray(0, piece.length), r * data.length + start));
    }
  }

  /** The smallest of the ranks' numbers, a non-negative integer below 2³². */
  smallest(value: number): number {
    const own = Uint32Array.of(value), all = new Uint32Array(this.size);
    this.allGather(new Float32Array(own.buffer), new Float32Array(all.buffer));
    return Math.min(...all);
  }

  /** Runs an action on one rank after the other. */
  async inTurn<T>(action: () => Promise<T>): Promise<T> {
    let result: Promise<T> | null = null;
    for (let rank = 0; rank < this.size; rank++) {
      if (rank === this.rank) await (result = action());
      this.#meet();
    }
    return await result!;
  }

  /** The barrier; slots of this turn are then complete, and stay so until the next but one. */
  #meet(): void {
    this.#turn = 1 - this.#turn;
    this.throwIfBroken();
    this.#arrivals = (this.#arrivals + 1) | 0;
    const own = arrivalWord(this.rank);
    Atomics.store(this.control, own, this.#arrivals);
    Atomics.notify(this.control, own);
    const arrived = performance.now();
    const patience = this.#watching
      ? this.#leastPatience + patienceFactor * (arrived - this.#left)
      : Infinity;
    for (let rank = 0; rank < this.size; rank++) {
      if (rank !== this.rank) this.#await(rank, arrived + patience);
    }
    this.throwIfBroken();
    this.#left = performance.now();
  }

  /** Returns when a rank has arrived as often as this one, or the group is broken. */
  #await(rank: number, deadline: number): void {
    const word = arrivalWord(rank);
    for (let i = 0; i < spins; i++) {
      if (this.#reached(Atomics.load(this.control, word))) return;
    }
    for (;;) {
      const seen = Atomics.load(this.control, word);
      if (this.#reached(seen)) return;
      this.throwIfBroken();
      const left = deadline - performance.now();
      if (left <= 0) {
        dissolve(this.#memory, Broken.Stalled + rank);
        return;
      }
      Atomics.wait(this.control, word, seen, left);
    }
  }

  #reached(arrivals: number): boolean {
    return ((arrivals - this.#arrivals) | 0) >= 0;
  }

  /** @throws GroupFailed */
  throwIfBroken(): void {
    const code = Atomics.load(this.control, Control.Broken);
    if (code === Broken.No) return;
    if (code === Broken.Closed) throw new GroupClosed("the group of ranks has been closed");
    throw new GroupFailed(
      code === Broken.Failed
        ? `rank ${this.rank}: another rank of the group has failed`
        : `rank ${code - Broken.Stalled} of the group has stalled: it does not arrive where the others wait`,
    );
  }
}

/** Copies a partial sum into a slot; what a float16 cannot hold becomes its largest value. */
function publish(piece: Float32Array, slot: Float32Array | Float16Array): void {
  if (slot instanceof Float32Array) return slot.set(piece);
  for (let i = 0; i < piece.length; i++) {
    slot[i] = Math.min(largestHalf, Math.max(-largestHalf, piece[i]!));
  }
}

/** out = the sum of the slots, taken in their order. */
function addSlots(slots: readonly (Float32Array | Float16Array)[], out: Float32Array): void {
  const [first, second, ...rest] = slots;
  if (first === undefined || second === undefined) return; // a group of one: `out` is the sum
  for (let i = 0; i < out.length; i++) out[i] = first[i]! + second[i]!;
  for (const slot of rest) for (let i = 0; i < out.length; i++) out[i]! += slot[i]!;
}
