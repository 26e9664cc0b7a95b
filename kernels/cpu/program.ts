// Writes programs for the kernels: arrays of operations of 128 bytes, whose words `assembly/` explains.

import type { Bank } from "./bank.ts";

/** Kinds of operations, as `assembly/index.ts` numbers them. */
export const Kind = {
  Embed: 0,
  Pack: 1,
  Linear: 2,
  RopeStore: 3,
  Attention: 4,
  Route: 5,
  GroupTokens: 6,
  ExpertPack: 7,
  ExpertLinear: 8,
  Combine: 9,
} as const;

/** What happens to a product, as `assembly/linear.ts` numbers it. */
export const Epilogue = { store: 0, add: 1, "silu-mul": 2 } as const;

const operationWords = 32;
const capacity = 4096;

/** A float among integer words. */
export class Real {
  /** Written as a float32. */
  constructor(readonly value: number) {}
}

/** The program of one bank. */
export class Program {
  /** Of the first operation. */
  readonly address: number;
  /** Operations so far. */
  count = 0;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;

  /** Takes room for a full program. */
  constructor(bank: Bank) {
    this.address = bank.allocate(capacity * operationWords * 4);
    this.#words = bank.words.subarray(this.address / 4, this.address / 4 + capacity * operationWords);
    this.#floats = bank.floats.subarray(this.address / 4, this.address / 4 + capacity * operationWords);
  }

  /** Whether nothing more goes in. */
  get full(): boolean {
    return this.count === capacity;
  }

  /** Appends an operation; `args` are its words from the second on. */
  push(kind: number, args: readonly (number | Real)[]): void {
    let at = this.count++ * operationWords;
    this.#words[at++] = kind;
    this.#words[at++] = 0;
    for (const arg of args) {
      if (typeof arg === "number") this.#words[at++] = arg;
      else this.#floats[at++] = arg.value;
    }
  }
}
