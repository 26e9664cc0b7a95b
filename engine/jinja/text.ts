// Text that remembers where it came from. A chat template mixes its own words, among them the control tokens that
// frame a turn, with words of the client. Each text therefore carries the ranges that are foreign: not the
// template's. Every operation keeps them, so that the tokenizer can tell a control token that the template wrote from
// one that somebody wrote into a message (see forged_tokens.ts).
//
// Positions are UTF-16 units, as in JavaScript; `characters` and `character slices` count code points, as Python does.

import { type Budget, TemplateError } from "./budget.ts";

const none: readonly number[] = [];

/** An immutable text with the ranges of it that are not the template's. */
export class Text {
  /** The text itself. */
  readonly value: string;
  /** Starts and ends of the foreign ranges by turns, ascending. */
  readonly foreign: readonly number[];

  /** Python's Markup, the result of `safe`: adding a plain text to it escapes that for HTML, even here. */
  readonly isMarkup: boolean;

  private constructor(value: string, foreign: readonly number[], isMarkup = false) {
    this.value = value;
    this.foreign = foreign;
    this.isMarkup = isMarkup;
  }

  /** A text of the template. */
  static own(value: string): Text {
    return new Text(value, none);
  }

  /** A text of the client. */
  static foreign(value: string): Text {
    return new Text(value, value === "" ? none : [0, value.length]);
  }

  /** A text with given ranges. */
  static marked(value: string, foreign: readonly number[], isMarkup = false): Text {
    return new Text(value, foreign.length === 0 ? none : foreign, isMarkup);
  }

  /** The same as markup. */
  asMarkup(): Text {
    return this.isMarkup ? this : new Text(this.value, this.foreign, true);
  }

  /** UTF-16 units. */
  get length(): number {
    return this.value.length;
  }

  /** Code points: what Python calls its length. */
  get characters(): number {
    let count = this.value.length;
    if (/[\ud800-\udbff]/.test(this.value)) { for (const _ of this.value.matchAll(pairs)) count--; }
    return count;
  }

  /** Whether any of `[start, end)` is foreign. */
  isForeign(start: number, end: number): boolean {
    for (let i = this.#firstRange(start); i < this.foreign.length && this.foreign[i]! < end; i += 2) {
      if (this.foreign[i + 1]! > start) return true;
    }
    return false;
  }

  /** Part of it, in UTF-16 units. */
  slice(start: number, end = this.value.length): Text {
    if (start <= 0 && end >= this.value.length) return this;
    const value = this.value.slice(start, end);
    if (this.foreign.length === 0 || value === "") return Text.marked(value, none, this.isMarkup);
    const ranges: number[] = [];
    for (let i = this.#firstRange(start); i < this.foreign.length && this.foreign[i]! < end; i += 2) {
      const from = Math.max(this.foreign[i]!, start) - start;
      const to = Math.min(this.foreign[i + 1]!, end) - start;
      if (from < to) ranges.push(from, to);
    }
    return Text.marked(value, ranges, this.isMarkup);
  }

  /** Its code points, each a text. */
  split(): Text[] {
    if (this.characters > mostSplit) throw new TemplateError("makes too large a list");
    const letters: Text[] = [];
    let at = 0;
    for (const letter of this.value) letters.push(this.slice(at, at += letter.length));
    return letters;
  }

  /**
   * A text made of this one piece by piece, each piece all foreign or all own. Where the lengths stay the same the
   * function sees the whole text, so that it can look at neighbours.
   */
  map(change: (text: string) => string): Text {
    const whole = change(this.value);
    if (this.foreign.length === 0) return Text.marked(whole, none, this.isMarkup);
    if (whole.length === this.value.length) return Text.marked(whole, this.foreign, this.isMarkup);
    const builder = new TextBuilder(null);
    let at = 0;
    for (let i = 0; i < this.foreign.length; i += 2) {
      builder.append(Text.own(change(this.value.slice(at, this.foreign[i]))));
      at = this.foreign[i + 1]!;
      builder.append(Text.foreign(change(this.value.slice(this.foreign[i], at))));
    }
    builder.append(Text.own(change(this.value.slice(at))));
    return this.isMarkup ? builder.build().asMarkup() : builder.build();
  }

  /** The first range that ends after `position`, as an index into `foreign`. */
  #firstRange(position: number): number {
    let low = 0;
    let high = this.foreign.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.foreign[2 * middle + 1]! <= position) low = middle + 1;
      else high = middle;
    }
    return 2 * low;
  }
}

/** Code points of a text that can be taken apart. */
const mostSplit = 1 << 20;
const pairs = /[\ud800-\udbff][\udc00-\udfff]/g;

/** Puts texts together. */
export class TextBuilder {
  readonly #budget: Budget | null;
  #value = "";
  readonly #foreign: number[] = [];

  /** With a budget every text that is appended is counted first. */
  constructor(budget: Budget | null) {
    this.#budget = budget;
  }

  /** UTF-16 units so far. */
  get length(): number {
    return this.#value.length;
  }

  /** Adds to the end. */
  append(text: Text): void {
    this.#budget?.text(this.#value.length + text.length, text.length);
    const offset = this.#value.length;
    for (let i = 0; i < text.foreign.length; i += 2) {
      const from = text.foreign[i]! + offset;
      const to = text.foreign[i + 1]! + offset;
      if (this.#foreign.at(-1) === from) this.#foreign[this.#foreign.length - 1] = to;
      else this.#foreign.push(from, to);
    }
    this.#value += text.value;
  }

  /** Adds words of the template's own. */
  appendOwn(value: string): void {
    this.#budget?.text(this.#value.length + value.length, value.length);
    this.#value += value;
  }

  /** What has been put together. */
  build(): Text {
    return Text.marked(this.#value, this.#foreign.slice());
  }
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
};

/** A text as markup: escaped unless it is markup already. */
export function escapedText(text: Text): Text {
  return text.isMarkup ? text : text.map((part) => part.replace(/[&<>"']/g, (c) => escapes[c]!)).asMarkup();
}

/** Texts one after the other; what is given as a string is the template's own. */
export function concatenated(budget: Budget | null, parts: readonly (Text | string)[]): Text {
  const builder = new TextBuilder(budget);
  for (const part of parts) typeof part === "string" ? builder.appendOwn(part) : builder.append(part);
  return builder.build();
}

/** Joins texts. */
export function joined(parts: readonly Text[], separator: Text, budget: Budget): Text {
  return concatenated(budget, parts.flatMap((part, i) => i > 0 ? [separator, part] : [part]));
}
