/**
 * Free text with triggers: anything may be written, but once a trigger has been, what it triggers must follow. That is
 * how tools are offered with `tool_choice: auto` (SGLang's structural tags): the model talks as it likes, and as soon
 * as it opens a call, the call is on the schema.
 * Source: Aho, Corasick, Efficient string matching (1975); with the few triggers there are, by their prefixes.
 */
import { type Position, type Row, step } from "../automaton/position.ts";
import type { PositionTable } from "../automaton/table.ts";
import { type Term, Terms } from "./term.ts";

/** What must follow a trigger. */
export interface Triggered {
  /** UTF-8 of the trigger. */
  readonly trigger: Uint8Array;
  /** What follows it. */
  readonly then: Term;
}

/** Free text until the end or a trigger. */
export class FreeText {
  readonly #table: PositionTable;
  readonly #terms: Terms;
  readonly #triggered: readonly Triggered[];
  readonly #stopAfterFirst: boolean;
  readonly #owner: number;

  /** Text with these triggers. */
  constructor(
    table: PositionTable,
    terms: Terms,
    triggered: readonly Triggered[],
    options: { stopAfterFirst: boolean },
  ) {
    this.#table = table;
    this.#terms = terms;
    this.#triggered = triggered;
    this.#stopAfterFirst = options.stopAfterFirst;
    this.#owner = table.newOwner();
  }

  /** After `written`, the end of the text that may become a trigger; `mayEnd`: whether no trigger is needed any more. */
  at(written: string, mayEnd: boolean): Position {
    const key = `f${this.#owner},${mayEnd},${written}`;
    return this.#table.get(key, () => step((byte) => this.#rows(written, mayEnd, byte), mayEnd));
  }

  /** One byte more, `written` as one character for each byte. */
  #rows(written: string, mayEnd: boolean, byte: number): readonly Row[] {
    const text = written + String.fromCharCode(byte);
    const rows: Row[] = [];
    let longest = "";
    for (const { trigger, then } of this.#triggered) {
      const wanted = String.fromCharCode(...trigger);
      if (text.endsWith(wanted)) {
        const next = this.#terms.position(then);
        rows.push([
          ...(this.#stopAfterFirst ? [] : [this.at("", true)]),
          ...(next === undefined ? [] : [next]),
        ]);
      }
      for (let length = Math.min(wanted.length - 1, text.length); length > longest.length; length--) {
        if (text.endsWith(wanted.slice(0, length))) longest = wanted.slice(0, length);
      }
    }
    return rows.length > 0 ? rows : [[this.at(longest, mayEnd)]];
  }
}
