// Random numbers for kernels, the same on host and device, and how far results are from float64.

import type { Gpu } from "./gpu.ts";

/** Element types of products and attention. */
export type Element = "bf16" | "f16";

const table = (element: Element) => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  if (element === "f16") return Float64Array.from(new Float16Array(bits.buffer));
  return Float64Array.from(new Float32Array(Uint32Array.from(bits, (b) => b * 65536).buffer));
};
const tables = new Map<Element, Float64Array>();
/** The value of every bit pattern. */
export function valuesOf(element: Element): Float64Array {
  const known = tables.get(element) ?? table(element);
  tables.set(element, known);
  return known;
}

/** 16-bit floats of either sign between 2^-7 and 2^-3. */
export class Pool {
  readonly #words: Uint16Array<ArrayBuffer>;
  readonly #values: Float64Array;
  /** On the device, several times one behind the other. */
  readonly address: bigint;
  /** Numbers on the device. */
  readonly length: number;

  /** `count` numbers, a power of two, `copies` times. */
  constructor(readonly element: Element, gpu: Gpu, readonly count: number, copies: number) {
    const words = this.#words = new Uint16Array(count);
    const bits = element === "bf16" ? 7 : 10, bias = element === "bf16" ? 127 : 15;
    const mask = 0x8000 | ((1 << bits) - 1);
    let state = element === "bf16" ? 12345 : 54321;
    for (let i = 0; i < count; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = (state & mask) | ((bias - 7 + ((state >>> 16) & 3)) << bits);
    }
    this.#values = valuesOf(element);
    this.length = count * copies;
    this.address = gpu.alloc(2 * this.length);
    for (let c = 0; c < copies; c++) gpu.write(this.address + BigInt(2 * c * count), words);
  }

  /** The number at a place. */
  at(i: number): number {
    return this.#values[this.#words[i % this.count]!]!;
  }
  /** Its bits. */
  bits(i: number): number {
    return this.#words[i % this.count]!;
  }
  /** Its address. */
  pointer(i: number): bigint {
    return this.address + BigInt(2 * i);
  }
}

/** Sum of squares of differences and of references. */
export class Deviation {
  #difference = 0;
  #reference = 0;
  #bad = 0;
  /** Counts one result. */
  add(value: number, reference: number): void {
    if (!Number.isFinite(value)) this.#bad++;
    else this.#difference += (value - reference) ** 2;
    this.#reference += reference ** 2;
  }
  /** ‖value − reference‖ / ‖reference‖, infinite when a value is not a number. */
  get relative(): number {
    return this.#bad > 0 ? Infinity : Math.sqrt(this.#difference / this.#reference);
  }
}
