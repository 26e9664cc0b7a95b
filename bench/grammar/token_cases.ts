// A corpus outside of the heap: schemas and the tokens of their instances behind each other in a few arrays. What a
// collection costs grows with the objects that live, and the worker that makes masks holds no corpus.

import type { Json } from "../../engine/grammar/schema/document.ts";
import { readCase } from "./corpus.ts";

/** Numbers behind each other in memory that collections of the heap do not look into. */
export class Store<A extends Uint8Array | Uint32Array | Float64Array> {
  #values: A;
  #length = 0;
  readonly #make: (capacity: number) => A;

  constructor(make: (capacity: number) => A) {
    this.#make = make;
    this.#values = make(1 << 20);
  }

  get length(): number {
    return this.#length;
  }

  add(values: ArrayLike<number>): void {
    const end = this.#length + values.length;
    if (end > this.#values.length) {
      const larger = this.#make(2 * end);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values.set(values, this.#length);
    this.#length = end;
  }

  at(start = 0, end: number = this.#length): A {
    return this.#values.subarray(start, end) as A;
  }
}

/** One instance of a schema. */
export interface TokenTest {
  readonly valid: boolean;
  readonly tokens: Uint32Array;
}

/** Schemas and instances by number. */
export class TokenCases {
  readonly #schemas = new Store((capacity) => new Uint8Array(capacity));
  readonly #tokens = new Store((capacity) => new Uint32Array(capacity));
  /** Where each schema ends, and the tests of it. */
  readonly #ends = new Store((capacity) => new Uint32Array(capacity));
  /** Whether each test is valid, and where its tokens end. */
  readonly #tests = new Store((capacity) => new Uint32Array(capacity));

  /** Reads files; `encode` gives a text's tokens. */
  constructor(folder: string, files: readonly string[], encode: (text: string) => number[]) {
    for (const file of files) {
      const { schema, tests } = readCase(folder, file);
      this.#schemas.add(new TextEncoder().encode(JSON.stringify(schema)));
      for (const { valid, text } of tests) {
        this.#tokens.add(encode(text));
        this.#tests.add([valid ? 1 : 0, this.#tokens.length]);
      }
      this.#ends.add([this.#schemas.length, this.#tests.length / 2]);
    }
  }

  get length(): number {
    return this.#ends.length / 2;
  }

  schema(index: number): Json {
    const [end] = this.#end(index), [start] = this.#end(index - 1);
    return JSON.parse(new TextDecoder().decode(this.#schemas.at(start, end)));
  }

  tests(index: number): TokenTest[] {
    const [, end] = this.#end(index), [, start] = this.#end(index - 1);
    return Array.from({ length: end - start }, (_, i) => {
      const [valid, last] = this.#test(start + i), [, first] = this.#test(start + i - 1);
      return { valid: valid === 1, tokens: this.#tokens.at(first, last) };
    });
  }

  #end(index: number): readonly [schemas: number, tests: number] {
    return pair(this.#ends, index);
  }

  #test(index: number): readonly [valid: number, tokens: number] {
    return pair(this.#tests, index);
  }
}

// Nothing stands before the first.
function pair(store: Store<Uint32Array>, index: number): readonly [number, number] {
  const [first = 0, second = 0] = index < 0 ? [] : store.at(2 * index, 2 * index + 2);
  return [first, second];
}
