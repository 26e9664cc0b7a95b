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

/** The driver's number of the attribute that lets a kernel begin before the one in front of it has ended. */
const programmaticSerialization = 6;

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

  /** Writes a CUlaunchConfig of a kernel that may begin early; returns its address. */
  configure(grid: Grid, threads: number, shared: number, stream: bigint): bigint {
    const view = this.#view, { address } = this.#block;
    [grid[0], grid[1], grid[2] ?? 1, threads, 1, 1, shared].forEach((word, i) => {
      view.setUint32(configurationAt + 4 * i, word, true);
    });
    view.setBigUint64(configurationAt + 32, stream, true);
    view.setBigUint64(configurationAt + 40, address + BigInt(attributeAt), true);
    view.setUint32(configurationAt + 48, 1, true);
    view.setUint32(attributeAt, programmaticSerialization, true);
    view.setUint32(attributeAt + 8, 1, true);
    return address + BigInt(configurationAt);
  }
}
