/** Arrays: which items may follow by position, and how many of them have matched `contains` so far. */
import { DEAD, Position, type Row, THROUGH } from "../automaton/position.ts";
import { GrammarError } from "../errors.ts";
import type { ArrayShape, Expression } from "../schema/shape.ts";
import { beneath, type JsonContext } from "./context.ts";
import { moreSpace, spaceMayEnd } from "./whitespace.ts";

/** `contains` of one array that are counted side by side: each doubles the readings of an item. */
const MAX_CONTAINS = 4;

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
  readonly #options = new Map<string, readonly Option[]>();

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
  }

  /** After the opening bracket. */
  get first(): Position {
    return this.itemAt({ key: "", index: 0, found: this.#shape.contains.map(() => 0) }, 0, true);
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
    const key = `ai${this.id},${progress.index},${progress.found},${space},${first}`;
    return this.context.table.get(key, () => new ItemPosition(this, progress, space, first));
  }

  /** After an item, in a run of white space. */
  afterItem(progress: Progress, space: number): Position {
    const key = `aa${this.id},${progress.index},${progress.found},${space}`;
    return this.context.table.get(key, () => new AfterItemPosition(this, progress, space));
  }

  /** Whether the array may end here. */
  mayClose({ index, found }: Progress): boolean {
    return index >= this.#shape.min && this.#shape.contains.every(({ min }, i) => found[i]! >= min);
  }

  /** The readings of the next item; none where no item may follow. */
  options(progress: Progress): readonly Option[] {
    const key = `${progress.index},${progress.found}`;
    let options = this.#options.get(key);
    if (options === undefined) this.#options.set(key, options = this.#findOptions(progress));
    return options;
  }

  #findOptions({ index, found }: Progress): readonly Option[] {
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

// Before an item; before the first one, the array may also end.
class ItemPosition extends Position {
  readonly nullable = false;
  readonly #rules: ArrayRules;
  readonly #progress: Progress;
  readonly #space: number;
  readonly #first: boolean;

  constructor(rules: ArrayRules, progress: Progress, space: number, first: boolean) {
    super();
    this.#rules = rules;
    this.#progress = progress;
    this.#space = space;
    this.#first = first;
  }

  override clamped(length: number): Position {
    return this.#rules.itemAt(this.#rules.clamped(this.#progress, length), this.#space, this.#first);
  }

  protected compute(byte: number): readonly Row[] {
    const { context } = this.#rules;
    if (context.style.whitespace === "bounded") {
      const space = moreSpace(this.#space, byte);
      if (space >= 0) return [[this.#rules.itemAt(this.#progress, space, this.#first)]];
    }
    if (!spaceMayEnd(this.#space)) return DEAD;
    if (byte === 0x5d) return this.#first && this.#rules.mayClose(this.#progress) ? THROUGH : DEAD;
    return this.#rules.options(this.#progress).flatMap(({ item, after }) =>
      beneath(this.#rules.afterItem(after, 0), context.starts(item).on(byte))
    );
  }
}

// After an item.
class AfterItemPosition extends Position {
  readonly nullable = false;
  readonly #rules: ArrayRules;
  readonly #progress: Progress;
  readonly #space: number;

  constructor(rules: ArrayRules, progress: Progress, space: number) {
    super();
    this.#rules = rules;
    this.#progress = progress;
    this.#space = space;
  }

  override clamped(length: number): Position {
    return this.#rules.afterItem(this.#rules.clamped(this.#progress, length), this.#space);
  }

  protected compute(byte: number): readonly Row[] {
    const rules = this.#rules;
    if (byte === 0x2c) {
      const more = this.#space === 0 && rules.options(this.#progress).length > 0;
      return more ? [[rules.itemAt(this.#progress, 0, false)]] : DEAD;
    }
    if (!rules.mayClose(this.#progress)) return DEAD;
    if (byte === 0x5d) return spaceMayEnd(this.#space) ? THROUGH : DEAD;
    const space = rules.context.style.whitespace === "bounded" ? moreSpace(this.#space, byte) : -1;
    return space >= 0 ? [[rules.afterItem(this.#progress, space)]] : DEAD;
  }
}
