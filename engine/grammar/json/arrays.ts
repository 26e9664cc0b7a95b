/** Arrays: which items may follow by position, and how many of them have matched `contains` so far. */
import { DEAD, type Position, type Row, step, THROUGH } from "../automaton/position.ts";
import { GrammarError } from "../errors.ts";
import type { ArrayShape, Expression } from "../schema/shape.ts";
import { beneath, type JsonContext } from "./context.ts";
import { moreSpace, spaceMayEnd } from "./whitespace.ts";

/** `contains` of one array that are counted side by side: each doubles the readings of an item. */
const MAX_CONTAINS = 4;
/** Items that are looked ahead at where several `contains`, or one with a maximum, have to be met together. */
const MAX_AHEAD = 500;

/** How many items there are, and how many of them matched each `contains`; both only as far as they matter. */
export interface Progress {
  /** What tells this progress from others. */
  readonly key: string;
  /** Items so far, as far as it matters. */
  readonly index: number;
  /** Matches of each `contains` so far, as far as they matter. */
  readonly found: readonly number[];
}

/** One reading of an item. */
export interface Option {
  /** What the item is. */
  readonly item: Expression;
  /** What is there after it. */
  readonly after: Progress;
}

/** The arrays of one alternative. */
export class ArrayRules {
  /** For the keys of positions. */
  readonly id: number;
  /** What all rules share. */
  readonly context: JsonContext;
  readonly #shape: ArrayShape;
  readonly #most: number;
  readonly #cap: number;
  readonly #readings = new Map<string, readonly Option[]>();
  readonly #options = new Map<string, readonly Option[]>();
  /** By progress: whether the array can end from there. Undefined where no search is needed. */
  readonly #ends: Map<string, boolean> | undefined;

  /** The rules of one alternative. */
  constructor(context: JsonContext, shape: ArrayShape) {
    this.context = context;
    this.id = context.table.newOwner();
    this.#shape = shape;
    this.#most = context.compiler.mostItems(shape);
    if (shape.contains.length > MAX_CONTAINS) {
      throw new GrammarError("limit", "contains", "", `more than ${MAX_CONTAINS} for one array`);
    }
    this.#cap = Math.max(
      shape.prefix.length,
      shape.min,
      this.#most === Infinity ? 0 : this.#most,
      ...shape.contains.map(({ from }) => from),
    );
    if (shape.contains.length < 2 && shape.contains.every(({ max }) => max === Infinity)) return;
    const ahead = this.#cap +
      shape.contains.reduce((sum, { min, max }) => sum + (max < Infinity ? max : min), 0);
    if (ahead > MAX_AHEAD) {
      throw new GrammarError("limit", "contains", "", `with bounds of more than ${MAX_AHEAD} items`);
    }
    this.#ends = new Map();
  }

  /** Whether there is any such array. */
  get possible(): boolean {
    return this.#mayEnd(this.#start);
  }

  get #start(): Progress {
    return this.#progress(0, this.#shape.contains.map(() => 0));
  }

  /** After the opening bracket. */
  get first(): Position {
    return this.itemAt(this.#start, 0, true);
  }

  /** Everything that can be an item. */
  children(): Iterable<Expression> {
    const { prefix, rest, contains } = this.#shape;
    const { expressions } = this.context.compiler;
    let items = [...prefix, ...(this.#most > prefix.length ? [rest] : [])];
    for (const { item, max } of contains) {
      items = items.flatMap((own) => [
        expressions.and([own, item]),
        max < Infinity ? expressions.and([own, expressions.not(item)]) : own,
      ]);
    }
    return new Set(items.filter((item) => !this.context.compiler.empty(item)));
  }

  /** Before an item, in a run of white space; `first`: the array may also end. */
  itemAt(progress: Progress, space: number, first: boolean): Position {
    const next = (byte: number): readonly Row[] => {
      const more = this.#more(space, byte);
      if (more >= 0) return this.itemAt(progress, more, first).alone;
      if (!spaceMayEnd(space)) return DEAD;
      if (byte === 0x5d) return first && this.mayClose(progress) ? THROUGH : DEAD;
      return this.options(progress).flatMap(({ item, after }) =>
        beneath(this.afterItem(after, 0), this.context.starts(item).on(byte))
      );
    };
    const key = `ai${this.id},${progress.index},${progress.found},${space},${first}`;
    const clamped = (length: number) => this.itemAt(this.clamped(progress, length), space, first);
    return this.context.table.get(key, () => step(next, false, clamped));
  }

  /** After an item, in a run of white space. */
  afterItem(progress: Progress, space: number): Position {
    const next = (byte: number): readonly Row[] => {
      if (byte === 0x2c) {
        const more = space === 0 && this.options(progress).length > 0;
        return more ? this.itemAt(progress, 0, false).alone : DEAD;
      }
      if (!this.mayClose(progress)) return DEAD;
      if (byte === 0x5d) return spaceMayEnd(space) ? THROUGH : DEAD;
      const more = this.#more(space, byte);
      return more >= 0 ? this.afterItem(progress, more).alone : DEAD;
    };
    const key = `aa${this.id},${progress.index},${progress.found},${space}`;
    const clamped = (length: number) => this.afterItem(this.clamped(progress, length), space);
    return this.context.table.get(key, () => step(next, false, clamped));
  }

  #more(space: number, byte: number): number {
    return this.context.style.whitespace === "bounded" ? moreSpace(space, byte) : -1;
  }

  /** Whether the array may end here. */
  mayClose({ index, found }: Progress): boolean {
    return index >= this.#shape.min && this.#shape.contains.every(({ min }, i) => found[i]! >= min);
  }

  /** The readings of the next item; none where no item may follow. */
  options(progress: Progress): readonly Option[] {
    const { key } = progress;
    let options = this.#options.get(key);
    if (options === undefined) {
      options = this.#readingsOf(progress).filter(({ after }) => this.#mayEnd(after));
      this.#options.set(key, options);
    }
    return options;
  }

  // Every item leads on in the order of progress or leaves it as it is, so a place that is being looked at can be left
  // out.
  #mayEnd(progress: Progress): boolean {
    if (this.#ends === undefined || this.mayClose(progress)) return true;
    let may = this.#ends.get(progress.key);
    if (may === undefined) {
      this.#ends.set(progress.key, false);
      may = this.#readingsOf(progress).some(({ after }) => this.#mayEnd(after));
      this.#ends.set(progress.key, may);
    }
    return may;
  }

  #readingsOf(progress: Progress): readonly Option[] {
    let readings = this.#readings.get(progress.key);
    if (readings === undefined) this.#readings.set(progress.key, readings = this.#findReadings(progress));
    return readings;
  }

  #findReadings({ index, found }: Progress): readonly Option[] {
    if (index >= this.#most) return [];
    const { expressions, empty } = this.#tools();
    const { prefix, rest, contains } = this.#shape;
    let options: { item: Expression; found: readonly number[] }[] = [{
      item: prefix[index] ?? rest,
      found: [],
    }];
    contains.forEach(({ item, min, max, from }, i) => {
      const soFar = found[i]!;
      // Once enough have matched and any number may, it matters no more.
      const counts = index >= from && (soFar < min || max < Infinity);
      options = options.flatMap((option) => {
        const not = max < Infinity && counts
          ? expressions.and([option.item, expressions.not(item)])
          : option.item;
        const both = [{ item: not, found: [...option.found, soFar] }];
        if (counts && soFar < max) {
          both.push({ item: expressions.and([option.item, item]), found: [...option.found, soFar + 1] });
        }
        return both;
      });
    });
    return options
      .map(({ item, found: now }) => ({ item, after: this.#progress(index + 1, now) }))
      .filter(({ item, after }) => !empty(item) && this.#canFinish(after));
  }

  /** The same as far as the next `length` items go, and the same for all places in the middle of a long array. */
  clamped(progress: Progress, length: number): Progress {
    const { prefix, min, contains } = this.#shape;
    const { index } = progress;
    const first = index < min ? prefix.length : Math.max(prefix.length, min);
    const far = index > first && this.#most - index > length && (index >= min || min - index > length);
    return far && contains.length === 0 ? this.#progress(first, progress.found) : progress;
  }

  // Whether the items still needed have places left.
  #canFinish({ index, found }: Progress): boolean {
    const { expressions, empty } = this.#tools();
    const { prefix, rest, contains } = this.#shape;
    return contains.every(({ item, min, from }, i) => {
      let needed = min - found[i]!;
      for (let at = Math.max(index, from); at < prefix.length && at < this.#most && needed > 0; at++) {
        if (!empty(expressions.and([item, prefix[at]!]))) needed--;
      }
      const places = this.#most - Math.max(index, from, prefix.length);
      return needed <= 0 || (places >= needed && !empty(expressions.and([item, rest])));
    });
  }

  #progress(index: number, found: readonly number[]): Progress {
    const at = Math.min(index, this.#cap);
    return { key: `${at},${found}`, index: at, found };
  }

  #tools() {
    const { compiler } = this.context;
    return { expressions: compiler.expressions, empty: (item: Expression) => compiler.empty(item) };
  }
}
