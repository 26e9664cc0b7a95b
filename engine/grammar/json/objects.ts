/**
 * Objects: which properties may follow, given those that are there. Declared names are read along their sorted list,
 * other names as strings of the languages of their classes, all at once; a declared name is never written twice. What
 * has been seen is part of the position, which exists only for the combinations that texts come to.
 */
import { DEAD, Position, type Row, step, THROUGH } from "../automaton/position.ts";
import { stringContent } from "../automaton/text.ts";
import { GrammarError } from "../errors.ts";
import { canCover } from "../schema/cover.ts";
import { type NameClass, objectProperties } from "../schema/properties.ts";
import type { Expression, ObjectShape } from "../schema/shape.ts";
import { beneath, type JsonContext } from "./context.ts";
import { moreSpace, spaceMayEnd } from "./whitespace.ts";

/** A declared name. */
export interface DeclaredName {
  /** The name itself. */
  readonly name: string;
  /** UTF-8 of the name as JSON writes it, without quotes. */
  readonly bytes: Uint8Array;
  /** Place in the declared order. */
  readonly index: number;
  /** What its value is. */
  readonly value: Expression;
  /** Whether it has to be there. */
  readonly required: boolean;
  /** Which names asked for it satisfies, as bits. */
  readonly satisfies: number;
}

/** What is there so far. */
export interface Progress {
  /** Tells this progress from others. */
  readonly id: number;
  /** Indices of declared names, as bits. */
  readonly seen: Uint32Array;
  /** Required names not yet there. */
  readonly missing: number;
  /** Properties, as far as a bound asks for it. */
  readonly count: number;
  /** Which names asked for are there, as bits. */
  readonly satisfied: number;
  /** In declared order: the index after the last name. */
  readonly next: number;
}

const encoder = new TextEncoder();

/** The objects of one alternative. */
export class ObjectRules {
  /** For the keys of positions. */
  readonly id: number;
  /** What all rules share. */
  readonly context: JsonContext;
  /** By their bytes. */
  readonly names: readonly DeclaredName[];
  readonly #byIndex: readonly DeclaredName[];
  readonly #classes: readonly NameClass[];
  readonly #min: number;
  readonly #max: number;
  readonly #goal: number;
  readonly #ordered: boolean;
  readonly #progress = new Map<string, Progress>();
  #nextProgress = 0;

  /** The rules of one alternative. */
  constructor(context: JsonContext, shape: ObjectShape) {
    this.context = context;
    this.id = context.table.newOwner();
    const { compiler } = context;
    const properties = objectProperties(compiler, shape);
    this.#byIndex = properties.declared.filter((name) => properties.allows(name)).map((name, index) => ({
      name,
      bytes: encoder.encode(JSON.stringify(name).slice(1, -1)),
      index,
      value: properties.value(name),
      required: shape.required.has(name),
      satisfies: properties.satisfies(name),
    }));
    this.names = [...this.#byIndex].sort((a, b) => compareBytes(a.bytes, b.bytes));
    this.#classes = properties.classes.filter((one) => !compiler.empty(one.value));
    this.#ordered = context.style.order === "declared";
    // As many names are required as there have to be, or names that are not declared count: those could be the same.
    this.#min = shape.min <= shape.required.size ? 0 : shape.min;
    this.#max = shape.max;
    if (this.#min > 1 && this.#classes.length > 0) {
      throw new GrammarError("unsupported", "minProperties", "", "above 1 needs additionalProperties: false");
    }
    this.#goal = 2 ** shape.some.length - 1;
  }

  /** After the opening brace. */
  get first(): Position {
    const missing = this.#byIndex.filter((name) => name.required).length;
    const seen = new Uint32Array(this.#byIndex.length + 31 >> 5);
    return this.nameAt(this.#intern({ seen, missing, count: 0, satisfied: 0, next: 0 }), 0, true);
  }

  /** Everything that can be a value. */
  children(): Iterable<Expression> {
    return new Set([...this.#byIndex.map((name) => name.value), ...this.#classes.map((one) => one.value)]);
  }

  /** Before a name, in a run of white space; `first`: the object may also end. */
  nameAt(progress: Progress, space: number, first: boolean): Position {
    return this.#position(`${this.id}n${progress.id},${space},${first}`, (byte) => {
      const more = this.#more(space, byte);
      if (more >= 0) return this.nameAt(progress, more, first).alone;
      if (!spaceMayEnd(space)) return DEAD;
      if (byte === 0x22) return this.#nameRows(progress);
      return byte === 0x7d && first && this.#mayClose(progress) ? THROUGH : DEAD;
    });
  }

  /** After a byte inside declared names that agree in the `depth` bytes before: those from `first` up to `end`. */
  within(progress: Progress, first: number, end: number, depth: number, byte: number): readonly Row[] {
    const { names } = this;
    let through: Position | undefined;
    if (byte === 0x22) {
      const name = names[first]!; // the shortest comes first
      if (name.bytes.length === depth && this.#mayAdd(progress, name)) {
        through = this.#colonAt(this.#added(progress, name), name.value);
      }
    }
    let from = first;
    while (from < end && (names[from]!.bytes[depth] ?? -1) < byte) from++;
    let to = from;
    while (to < end && names[to]!.bytes[depth] === byte) to++;
    if (!this.#anyName(progress, from, to)) return through?.alone ?? DEAD;
    // Nothing else leads there, so the position needs no key.
    const within = this.context.table.add(new WithinNames(this, progress, from, to, depth + 1));
    return through === undefined ? within.alone : [[through], [within]];
  }

  /** Between a name and its value. */
  #colonAt(progress: Progress, value: Expression): Position {
    return this.#position(
      `${this.id}c${progress.id},${value.id}`,
      (byte) => byte === 0x3a ? this.#valueAt(progress, value, 0).alone : DEAD,
    );
  }

  /** Before a value, in a run of white space. */
  #valueAt(progress: Progress, value: Expression, space: number): Position {
    return this.#position(`${this.id}v${progress.id},${value.id},${space}`, (byte) => {
      const more = this.#more(space, byte);
      if (more >= 0) return this.#valueAt(progress, value, more).alone;
      if (!spaceMayEnd(space)) return DEAD;
      const rows = this.context.starts(value).on(byte);
      return rows.length === 0 ? DEAD : beneath(this.#afterValue(progress, 0), rows);
    });
  }

  /** After a value, in a run of white space. */
  #afterValue(progress: Progress, space: number): Position {
    return this.#position(`${this.id}a${progress.id},${space}`, (byte) => {
      if (byte === 0x2c) {
        return space === 0 && this.#mayContinue(progress) ? this.nameAt(progress, 0, false).alone : DEAD;
      }
      if (!this.#mayClose(progress)) return DEAD;
      if (byte === 0x7d) return spaceMayEnd(space) ? THROUGH : DEAD;
      const more = this.#more(space, byte);
      return more >= 0 ? this.#afterValue(progress, more).alone : DEAD;
    });
  }

  #position(key: string, next: (byte: number) => readonly Row[]): Position {
    return this.context.table.get(key, () => step(next));
  }

  #more(space: number, byte: number): number {
    return this.context.style.whitespace === "bounded" ? moreSpace(space, byte) : -1;
  }

  /** Whether the object may end here. */
  #mayClose(progress: Progress): boolean {
    return progress.missing === 0 && progress.count >= this.#min && progress.satisfied === this.#goal;
  }

  /** Whether another property may follow. */
  #mayContinue(progress: Progress): boolean {
    return this.#anyName(progress, 0, this.names.length) || this.#mayAddOther(progress);
  }

  /** Whether any of the declared names from `from` up to `to` may follow. */
  #anyName(progress: Progress, from: number, to: number): boolean {
    for (let i = from; i < to; i++) if (this.#mayAdd(progress, this.names[i]!)) return true;
    return false;
  }

  /** Whether a declared name may follow. */
  #mayAdd(progress: Progress, name: DeclaredName): boolean {
    const { index, required } = name;
    if (isSeen(progress, name)) return false;
    if (progress.count + 1 + progress.missing - (required ? 1 : 0) > this.#max) return false;
    if (this.#goal > 0 && !this.#canSatisfy(this.#added(progress, name))) return false;
    if (!this.#ordered) return true;
    if (index < progress.next) return false;
    for (let i = progress.next; i < index; i++) if (this.#byIndex[i]!.required) return false;
    // The names that come later have to suffice.
    return this.#classes.length > 0 || progress.count + this.#byIndex.length - index >= this.#min;
  }

  /** Whether a name that is not declared may follow. */
  #mayAddOther(progress: Progress): boolean {
    if (this.#classes.length === 0 || progress.count + 1 + progress.missing > this.#max) return false;
    return !this.#ordered || progress.missing === 0;
  }

  #names(progress: Progress): Position {
    const make = () => new WithinNames(this, progress, 0, this.names.length, 0);
    return this.context.table.get(`${this.id}w${progress.id}`, make);
  }

  /** The rows of a name that begins, after its quote. */
  #nameRows(progress: Progress): readonly Row[] {
    const rows: Row[] = [];
    if (this.#anyName(progress, 0, this.names.length)) {
      rows.push([this.#names(progress)]);
    }
    if (this.#mayAddOther(progress)) {
      for (const { names, value, satisfies } of this.#classes) {
        const after = this.#intern({
          ...progress,
          count: this.#counted(progress.count + 1),
          satisfied: progress.satisfied | satisfies,
          next: this.#ordered ? this.#byIndex.length : 0,
        });
        if (!this.#canSatisfy(after)) continue;
        rows.push([this.#colonAt(after, value), stringContent(this.context.table, names)]);
      }
    }
    return rows;
  }

  // Whether the names asked for can still come: with those that are required, and in the places that they leave.
  #canSatisfy({ seen, next, count, missing, satisfied }: Progress): boolean {
    let left = this.#goal & ~satisfied;
    const kinds = this.#classes.map((one) => one.satisfies);
    for (const name of this.#byIndex) {
      if (isSeen({ seen }, name) || (this.#ordered && name.index < next)) continue;
      if (name.required) left &= ~name.satisfies;
      else kinds.push(name.satisfies);
    }
    const { regex } = this.context.table;
    return canCover(left, kinds, this.#max - count - missing, (steps) => regex.charge(steps));
  }

  /** What is there once a declared name is. */
  #added(progress: Progress, name: DeclaredName): Progress {
    const seen = progress.seen.slice();
    seen[name.index >> 5]! |= 1 << (name.index & 31);
    return this.#intern({
      seen,
      missing: progress.missing - (name.required ? 1 : 0),
      count: this.#counted(progress.count + 1),
      satisfied: progress.satisfied | name.satisfies,
      next: this.#ordered ? name.index + 1 : 0,
    });
  }

  #counted(count: number): number {
    return this.#max < Infinity ? count : Math.min(count, this.#min);
  }

  #intern(progress: Omit<Progress, "id">): Progress {
    // In declared order the required names before the last one are there, so its place says all.
    const seen = this.#ordered ? progress.next : progress.seen.join(".");
    const key = `${seen},${progress.missing},${progress.count},${progress.satisfied}`;
    let known = this.#progress.get(key);
    if (known === undefined) {
      if (this.#progress.size > 4096) this.#progress.clear();
      this.#progress.set(key, known = { ...progress, id: this.#nextProgress++ });
    }
    return known;
  }
}

// Inside declared names: see `ObjectRules.within`. Most positions of large objects are these.
class WithinNames extends Position {
  readonly nullable = false;
  readonly #rules: ObjectRules;
  readonly #progress: Progress;
  readonly #first: number;
  readonly #end: number;
  readonly #depth: number;

  constructor(rules: ObjectRules, progress: Progress, first: number, end: number, depth: number) {
    super();
    this.#rules = rules;
    this.#progress = progress;
    this.#first = first;
    this.#end = end;
    this.#depth = depth;
  }

  compute(byte: number): readonly Row[] {
    return this.#rules.within(this.#progress, this.#first, this.#end, this.#depth, byte);
  }
}

function isSeen({ seen }: Pick<Progress, "seen">, { index }: DeclaredName): boolean {
  return (seen[index >> 5]! >>> (index & 31) & 1) === 1;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
