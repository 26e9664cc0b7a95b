// The arguments of a launch, laid out in one block of pinned memory whose table of pointers never changes: the driver
// copies them before the call returns.

import type { PinnedBuffer } from "./pinned.ts";

/** An argument of a kernel: a device address (or 0n), an int, a float, or a structure of up to 128 bytes. */
export type Argument = bigint | number | Float | Uint8Array;

/** A float argument; plain numbers are ints. */
export class Float {
  /** Passed as float32. */
  constructor(readonly value: number) {}
}

/** The grid of a launch. */
export type Grid = readonly [x: number, y: number, z?: number];

/** Arguments of a launch, and room for each. */
const mostArguments = 24, cellBytes = 128;
/** Where things stand in the block. */
const cellsAt = 256,
  configurationAt = cellsAt + mostArguments * cellBytes,
  attributeAt = configurationAt + 64;

/** Bytes of the block. */
export const argumentBytes = 4096;

/** The driver's numbers of launch attributes, and bytes of one. */
const clusterDimension = 4, programmaticSerialization = 6, attributeBytes = 72;

/** What a launch has beside its grid. */
export interface LaunchTraits {
  /** The kernel waits for the one in front of it by itself, and may begin before that one has ended. */
  readonly programmatic: boolean;
  /** Blocks of a cluster, along x; 1 for none. */
  readonly cluster: number;
}

/** One block. */
export class LaunchArguments {
  readonly #block: PinnedBuffer;
  readonly #view: DataView;

  /** Writes the table. */
  constructor(block: PinnedBuffer) {
    this.#block = block;
    this.#view = new DataView(block.data.buffer, block.data.byteOffset, block.data.length);
    for (let i = 0; i < mostArguments; i++) {
      this.#view.setBigUint64(8 * i, block.address + BigInt(cellsAt + cellBytes * i), true);
    }
  }

  /** Writes arguments; returns the address of the table. */
  set(args: readonly Argument[]): bigint {
    for (let i = 0; i < args.length; i++) {
      const value = args[i]!, at = cellsAt + cellBytes * i;
      if (typeof value === "bigint") this.#view.setBigUint64(at, value, true);
      else if (typeof value === "number") this.#view.setInt32(at, value, true);
      else if (value instanceof Float) this.#view.setFloat32(at, value.value, true);
      else this.#block.data.set(value, at);
    }
    return this.#block.address;
  }

  /** Writes a CUlaunchConfig; returns its address. */
  configure(grid: Grid, threads: number, shared: number, stream: bigint, traits: LaunchTraits): bigint {
    const view = this.#view, { address } = this.#block;
    [grid[0], grid[1], grid[2] ?? 1, threads, 1, 1, shared].forEach((word, i) => {
      view.setUint32(configurationAt + 4 * i, word, true);
    });
    let count = 0;
    const attribute = (id: number, ...words: number[]) => {
      const at = attributeAt + attributeBytes * count++;
      view.setUint32(at, id, true);
      words.forEach((word, i) => view.setUint32(at + 8 + 4 * i, word, true));
    };
    if (traits.programmatic) attribute(programmaticSerialization, 1);
    if (traits.cluster > 1) attribute(clusterDimension, traits.cluster, 1, 1);
    view.setBigUint64(configurationAt + 32, stream, true);
    view.setBigUint64(configurationAt + 40, address + BigInt(attributeAt), true);
    view.setUint32(configurationAt + 48, count, true);
    return address + BigInt(configurationAt);
  }
}
