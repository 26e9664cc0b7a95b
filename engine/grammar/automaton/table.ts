/** Positions by what they stand for, and what all positions of a grammar share. */
import type { Budget } from "../limits.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import type { Derivatives } from "../regex/derive.ts";
import { ByteTable, NOWHERE, UNKNOWN } from "./byte_table.ts";
import { DEAD, type Position, type Row } from "./position.ts";

/** Makes each position once. */
export class PositionTable {
  /** Builds the languages. */
  readonly regex: RegexBuilder;
  /** Walks the languages. */
  readonly derivatives: Derivatives;
  readonly #budget: () => Budget;
  readonly #positions = new Map<string | number, Position>();
  #nextId = 0;
  /** Positions without a key. */
  #added = 0;
  // What each byte of a position leads to: one more than the place of its rows.
  readonly #next = new ByteTable();
  #rows: (readonly Row[])[] = [];
  #numbered: Position[] = [];

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
    return this.#positions.size + this.#added;
  }

  /** The position of this key, made when it is new. */
  get<P extends Position>(key: string | number, make: () => P): P {
    const known = this.#positions.get(key);
    if (known !== undefined) return known as P;
    this.#budget().spend(4);
    const made = make();
    made.key = key;
    this.#positions.set(key, made);
    return made;
  }

  /**
   * A new position that its maker finds again without looking for its key. That is made of the number of a language's
   * node, which is never used twice, and a kind below 16; without one it stands for this position alone.
   */
  add<P extends Position>(position: P, kind = 0, node = this.#nextId++): P {
    this.#budget().spend(4);
    this.#added++;
    position.key = -1 - (16 * node + kind);
    return position;
  }

  /** What a position becomes on a byte. */
  on(position: Position, byte: number): readonly Row[] {
    if (position.number < 0) position.number = this.#numbered.push(position) - 1;
    const known = this.#next.get(position.number, byte);
    if (known !== UNKNOWN) return known === NOWHERE ? DEAD : this.#rows[known - 1]!;
    const rows = position.compute(byte);
    this.#next.set(position.number, byte, rows.length === 0 ? NOWHERE : this.#rows.push(rows));
    return rows;
  }

  /** Forgets all and what they led to; positions held elsewhere stay valid. */
  clear(): void {
    for (const position of this.#numbered) position.number = -1;
    this.#numbered = [];
    this.#rows = [];
    this.#next.clear();
    this.#positions.clear();
    this.#added = 0;
  }
}
