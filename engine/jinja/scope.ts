// Variables and the blocks that they belong to.

import type { Value } from "./value.ts";

/** Variables of a block; those of the blocks around it can be read. */
export class Scope {
  readonly #variables = new Map<string, Value>();
  readonly #outer: Scope | null;

  /** Within another scope. */
  constructor(outer: Scope | null) {
    this.#outer = outer;
  }

  /** A variable's value. */
  get(name: string): Value | undefined {
    const value = this.#variables.get(name);
    return value === undefined ? this.#outer?.get(name) : value;
  }

  /** Sets a variable of this very block. */
  set(name: string, value: Value): void {
    this.#variables.set(name, value);
  }
}
