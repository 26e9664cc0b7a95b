/**
 * A place in the grammar: what may come next. A position takes one byte and becomes a row of positions, the last of
 * which goes on top of the stack; when that one is through, the one below continues. Rows are computed when first
 * asked for (`PositionTable.on`), so an automaton is only as large as the texts that went through it.
 */
import type { CharSet } from "../regex/char_set.ts";

/** What a position becomes on a byte, from the bottom to the top of the stack; empty: it is through. */
export type Row = readonly Position[];

/** One place. Equal places are one object as long as the automaton's table is not cleared. */
export abstract class Position {
  /**
   * What it stands for. The table sets it, and makes a position of the same behaviour by it after it was cleared; a
   * number below zero stands for this one alone.
   */
  key: string | number = "";
  /** In the table, since it was last cleared; -1: it has no rows there. */
  number = -1;
  #alone: readonly Row[] | undefined;

  /** Whether it may be through without another byte. */
  abstract readonly nullable: boolean;

  /** How many ordinary characters, whichever they are, may follow inside the string that this position is in. */
  get free(): number {
    return 0;
  }

  /** Whether every character of a set may follow inside the text that this position is in. */
  takes(_set: CharSet): boolean {
    return false;
  }

  /** Whether it is known that every text of `length` characters of a set may follow there. */
  takesAll(_set: CharSet, _length: number): boolean {
    return false;
  }

  /** Whether it is inside a JSON string, which ordinary characters do not leave: for them, what is below is all one. */
  get insideString(): boolean {
    return false;
  }

  /** Whether every ordinary character leads back to this very position. */
  get anyString(): boolean {
    return false;
  }

  /** What leads to this position and nothing else. */
  get alone(): readonly Row[] {
    return this.#alone ??= [[this]];
  }

  /**
   * A position with the same behaviour for the next `length` characters, the same one for all long counts: masks are
   * kept by it.
   */
  clamped(_length: number): Position {
    return this;
  }

  /** What it becomes on a byte; several rows where the text can be read in several ways. For `PositionTable.on`. */
  abstract compute(byte: number): readonly Row[];
}

/** A position that is no more than what it becomes. */
class Step extends Position {
  readonly #next: (byte: number) => readonly Row[];
  readonly #clamped: ((length: number) => Position) | undefined;

  constructor(
    readonly nullable: boolean,
    next: (byte: number) => readonly Row[],
    clamped: ((length: number) => Position) | undefined,
  ) {
    super();
    this.#next = next;
    this.#clamped = clamped;
  }

  override clamped(length: number): Position {
    return this.#clamped?.(length) ?? this;
  }

  compute(byte: number): readonly Row[] {
    return this.#next(byte);
  }
}

/** The position that becomes `next(byte)` on a byte; `nullable`: it may be through without another one. */
export function step(
  next: (byte: number) => readonly Row[],
  nullable = false,
  clamped?: (length: number) => Position,
): Position {
  return new Step(nullable, next, clamped);
}

/** No way on. */
export const DEAD: readonly Row[] = [];
/** Through. */
export const THROUGH: readonly Row[] = [[]];
