// Memory of the host that stays in its place, so that the device reads and writes it by itself.

import { Code, type Driver } from "./driver.ts";

/** Pinned memory. */
export interface PinnedBuffer {
  /** For the driver; host and device have the same address for it. */
  readonly address: bigint;
  /** The same memory. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The memory as words. */
export function wordsOf({ data: { buffer, byteOffset, length } }: PinnedBuffer): Uint32Array<ArrayBuffer> {
  return new Uint32Array(buffer, byteOffset, length / 4);
}

/**
 * Memory is pinned in slabs: two of them must not share a page, and every allocator takes so many bytes from the
 * system in whole pages.
 */
const slabBytes = 36 * 2 ** 20;

/** Pieces of memory that are tried. */
const mostTries = 8;

/** Pins memory, and hands it out. */
export class PinnedMemory {
  readonly #driver: Driver;
  readonly #check: (code: number, what: string) => void;
  readonly #slabs: PinnedBuffer[] = [];
  /** Bytes of the last slab that are handed out. */
  #used = 0;

  /** `check` throws for a code that is not 0. Nothing is pinned yet. */
  constructor(driver: Driver, check: (code: number, what: string) => void) {
    this.#driver = driver;
    this.#check = check;
  }

  /** At least `bytes`, until everything is given back. */
  take(bytes: number): PinnedBuffer {
    const size = Math.ceil(bytes / 256) * 256;
    let slab = this.#slabs.at(-1);
    if (slab === undefined || slab.data.length - this.#used < size) {
      slab = this.#register(Math.max(size, slabBytes));
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += size;
    return { address: slab.address + BigInt(at), data: slab.data.subarray(at, at + size) };
  }

  /** Unpins everything; errors say nothing new by then. */
  release(): void {
    for (const { data } of this.#slabs) this.#driver.cuMemHostUnregister(data);
    this.#slabs.length = 0;
  }

  /**
   * A worker that was ended left its memory pinned, as far as the driver knows; memory that comes to stand in the same
   * place is unpinned first, or left alone where it overlaps only.
   */
  #pin(bytes: number): Uint8Array<ArrayBuffer> {
    const aside: Uint8Array[] = [];
    for (;;) {
      const data = new Uint8Array(bytes);
      let code = this.#driver.cuMemHostRegister_v2(data, BigInt(bytes), 0);
      if (code === Code.HostMemoryAlreadyRegistered) {
        this.#driver.cuMemHostUnregister(data);
        code = this.#driver.cuMemHostRegister_v2(data, BigInt(bytes), 0);
      }
      if (code !== Code.HostMemoryAlreadyRegistered || aside.length === mostTries) {
        this.#check(code, `cuMemHostRegister of ${bytes} bytes`);
        return data;
      }
      aside.push(data);
    }
  }

  #register(bytes: number): PinnedBuffer {
    const data = this.#pin(bytes), address = new BigUint64Array(1);
    const result = new Uint8Array(address.buffer);
    this.#check(this.#driver.cuMemHostGetDevicePointer_v2(result, data, 0), "cuMemHostGetDevicePointer");
    const slab = { address: address[0]!, data };
    this.#slabs.push(slab);
    return slab;
  }
}
