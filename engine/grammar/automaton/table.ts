/** Positions by what they stand for, and what all positions of a grammar share. */
import type { Budget } from "../limits.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import type { Derivatives } from "../regex/derive.ts";
import type { Position } from "./position.ts";

/** Makes each position once. */
export class PositionTable {
  /** Builds the languages. */
  readonly regex: RegexBuilder;
  /** Walks the languages. */
  readonly derivatives: Derivatives;
  readonly #budget: () => Budget;
  readonly #positions = new Map<string, Position>();
  #nextId = 0;

  /** An empty table; `budget` gives what the present work is charged to. */
  constructor(regex: RegexBuilder, derivatives: Derivatives, budget: () => Budget) {
    this.regex = regex;
    this.derivatives = derivatives;
    this.#budget = budget;
  }

  /** A number for the keys of one owner's positions. */
  newOwner(): number {
    return this.#nextId++;
  }

  /** How many positions it holds. */
  get size(): number {
    return this.#positions.size;
  }

  /** The position of this key, made when it is new. */
  get<P extends Position>(key: string, make: () => P): P {
    const known = this.#positions.get(key);
    if (known !== undefined) return known as P;
    this.#budget().spend(4);
    const made = make();
    made.key = key;
    this.#positions.set(key, made);
    return made;
  }

  /** Forgets all and what they led to; positions held elsewhere stay valid. */
  clear(): void {
    for (const position of this.#positions.values()) position.forget();
    this.#positions.clear();
  }
}
