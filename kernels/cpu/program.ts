// Writes programs for the kernels: arrays of operations, whose words `operations.ts` declares.

import type { Bank } from "./bank.ts";
import { floatWords, layouts, type Operation, operations, operationWords, type Words } from "./operations.ts";

const capacity = 4096;

/** Number and words of each operation, in order; whether a word is a float. */
const kinds = new Map(
  Object.entries(operations).map(([name, layout], number) => [
    name,
    { number, words: layouts[layout].map((word) => ({ word, float: floatWords.has(word) })) },
  ]),
);

/** The program of one bank. */
export class Program {
  /** Of the first operation. */
  readonly address: number;
  /** Operations so far. */
  count = 0;
  readonly #bank: Bank;

  /** Takes room for a full program. */
  constructor(bank: Bank) {
    this.#bank = bank;
    this.address = bank.allocate(capacity * operationWords * 4);
  }

  /** Whether nothing more goes in. */
  get full(): boolean {
    return this.count === capacity;
  }

  /** Appends an operation. */
  push<K extends Operation>(kind: K, args: Words<K>): void {
    const { words, floats } = this.#bank, { number, words: names } = kinds.get(kind)!;
    const values: Readonly<Record<string, number>> = args;
    let at = this.address / 4 + this.count++ * operationWords;
    words[at++] = number;
    words[at++] = 0;
    for (const { word, float } of names) (float ? floats : words)[at++] = values[word]!;
  }
}
