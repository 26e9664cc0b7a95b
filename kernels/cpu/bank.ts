// A bank: one WebAssembly memory with a bump allocator and its views.
//
// Nothing is ever freed: weights, pages and step buffers live as long as the engine. A memory has 4 GiB; a larger
// model takes several banks, filled in the order in which its weights come. A kernel sees one bank, so what moves
// along the layers (activations) or is needed everywhere (norm weights, angles) has a place in each: a `Region`
// has its contents in one bank at a time, a `Constant` is copied into every bank that asks.

import { createMemory, instantiate, type KernelExports, type Kernels, wasmPageBytes } from "./module.ts";

/** Below lies the kernels' own data. */
const firstFree = 65536;

/** One memory. Addresses are byte offsets. */
export class Bank {
  /** Shared by all threads. */
  readonly memory: WebAssembly.Memory;
  /** The kernels on this memory, for the caller's thread. */
  readonly exports: KernelExports;
  /** All of the memory. */
  readonly bytes: Uint8Array;
  /** All of the memory, by address / 4. */
  readonly words: Uint32Array;
  /** All of the memory, by address / 4. */
  readonly floats: Float32Array;
  /** Columns of the widest matrix here, for sizing packed inputs. */
  widest = 0;
  #next = firstFree;
  readonly #limit: number;
  /** Kept free by `fits` for step buffers. */
  readonly #reserve: number;

  /** Takes the memory at once; throws a RangeError when there is no room for it. */
  constructor(readonly index: number, kernels: Kernels) {
    this.memory = createMemory(kernels.pages);
    this.exports = instantiate(kernels.module, this.memory);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.words = new Uint32Array(this.memory.buffer);
    this.floats = new Float32Array(this.memory.buffer);
    // The last page stays empty, so that "one past the end" is still an address.
    this.#limit = (kernels.pages - 1) * wasmPageBytes;
    this.#reserve = Math.min(2 ** 29, this.#limit / 2);
  }

  /** Whether so many bytes of weights or pages go in. */
  fits(bytes: number): boolean {
    return this.#next + bytes <= this.#limit - this.#reserve;
  }

  /** Room for so many bytes on a cache line; zero, as memory begins. */
  allocate(bytes: number): number {
    const at = this.#next;
    if (at + bytes > this.#limit) {
      throw new RangeError(`out of memory: no room for ${bytes} bytes of step buffers`);
    }
    this.#next = at + Math.ceil(bytes / 64) * 64;
    return at;
  }
}

/** A buffer whose contents are in one bank at a time. */
export class Region {
  readonly #places = new Map<Bank, number>();
  #home: Bank | null = null;

  /** Nothing is allocated before the first use. */
  constructor(readonly byteLength: number) {}

  /** Where the contents are; null before the first write. */
  get home(): Bank | null {
    return this.#home;
  }

  /** Its address in a bank, with the first `used` bytes brought there if they are in another. */
  read(bank: Bank, used: number): number {
    const home = this.#home;
    const at = this.write(bank);
    if (home !== null && home !== bank) {
      const from = this.#place(home);
      bank.bytes.set(home.bytes.subarray(from, from + used), at);
    }
    return at;
  }

  /** Its address in a bank, for overwriting; earlier contents no longer count. */
  write(bank: Bank): number {
    this.#home = bank;
    return this.#place(bank);
  }

  #place(bank: Bank): number {
    let at = this.#places.get(bank);
    if (at === undefined) this.#places.set(bank, at = bank.allocate(this.byteLength));
    return at;
  }
}

/** Float32 values that every bank that asks gets a copy of. */
export class Constant {
  readonly #places = new Map<Bank, number>();

  /** Nothing is copied before the first use. */
  constructor(readonly values: Float32Array) {}

  /** Their address in a bank. */
  in(bank: Bank): number {
    let at = this.#places.get(bank);
    if (at === undefined) {
      this.#places.set(bank, at = bank.allocate(this.values.byteLength));
      bank.floats.set(this.values, at / 4);
    }
    return at;
  }
}
