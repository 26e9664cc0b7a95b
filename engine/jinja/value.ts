// The values of a template, with Python's types: Jinja is Python's, and templates rely on how its types print, compare
// and iterate. Integers are numbers, floats a class of their own (1.0 prints its point); what comes from JSON without
// a fraction is an integer, because JSON's parser here does not tell.

import { type Budget, TemplateError } from "./budget.ts";
import { Text } from "./text.ts";

/** A value in a template. */
export type Value =
  | null
  | boolean
  | number
  | Float
  | Text
  | Sequence
  | Mapping
  | Namespace
  | Callable
  | Undefined;

/** A number with a fraction, or that came out of a division. */
export class Float {
  /** A float of this value. */
  constructor(
    /** The number. */
    readonly value: number,
  ) {}
}

/** Python's kinds of sequences; a generator is empty after it has been read once. */
export type SequenceKind = "list" | "tuple" | "generator" | "dict_items" | "dict_keys" | "dict_values";

/** A list or something like it. */
export class Sequence {
  #items: readonly Value[];

  /** Of the given items, which are not copied. */
  constructor(
    items: readonly Value[],
    /** Which of Python's. */
    readonly kind: SequenceKind = "list",
  ) {
    this.#items = items;
  }

  /** The items, without reading a generator. */
  get items(): readonly Value[] {
    return this.#items;
  }

  /** Its items for a loop: a generator has none afterwards. */
  read(): readonly Value[] {
    const items = this.#items;
    if (this.kind === "generator") this.#items = [];
    return items;
  }

  /** Whether it has a length and can be indexed. */
  get isIndexed(): boolean {
    return this.kind === "list" || this.kind === "tuple";
  }
}

/** Python's dict: keys of any simple type, in the order of insertion. */
export class Mapping {
  readonly #entries = new Map<string, readonly [Value, Value]>();

  /** Number of entries. */
  get size(): number {
    return this.#entries.size;
  }

  /** Keys with values. */
  get entries(): readonly (readonly [Value, Value])[] {
    return [...this.#entries.values()];
  }

  /** The value of a key; undefined where there is none. */
  get(key: Value): Value | undefined {
    return this.#entries.get(hashed(key))?.[1];
  }

  /** The value of a key that is text. */
  getText(key: string): Value | undefined {
    return this.#entries.get(`s${key}`)?.[1];
  }

  /** Sets a key. */
  set(key: Value, value: Value): void {
    const hash = hashed(key);
    this.#entries.set(hash, [this.#entries.get(hash)?.[0] ?? key, value]);
  }
}

/** What `namespace()` makes: the only thing that a template can change. */
export class Namespace {
  /** Its attributes. */
  readonly attributes = new Map<string, Value>();
}

/** Arguments of a call. */
export class Arguments {
  /** Of a call `f(positional, name=value)`. */
  constructor(
    /** By position. */
    readonly positional: readonly Value[],
    /** By name. */
    readonly named: ReadonlyMap<string, Value> = new Map(),
  ) {}

  /** The argument at a position, or of a name; undefined where it was not given. */
  get(position: number, name: string): Value | undefined {
    return position < this.positional.length ? this.positional[position] : this.named.get(name);
  }

  /** All but the first `count` positional ones. */
  rest(count: number): Arguments {
    return new Arguments(this.positional.slice(count), this.named);
  }
}

/** A function or macro. */
export class Callable {
  /** A function under a name. */
  constructor(
    /** For messages. */
    readonly label: string,
    /** Runs it. */
    readonly call: (args: Arguments) => Value,
    /** Values that can be read off it, as off `loop`. */
    readonly attributes: ReadonlyMap<string, Value> = new Map(),
  ) {}
}

/** A variable, attribute or element that is not there. Prints as nothing; most else that is done to it is an error. */
export class Undefined {
  /** With the message of the error. */
  constructor(
    /** What is not there, as an error says it. */
    readonly reason: string,
  ) {}
}

/** A value that was found, null included, or else what stands for one that was not. */
export function found(value: Value | undefined, otherwise: Value): Value {
  return value === undefined ? otherwise : value;
}

/** Python's name of a value's type. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (value instanceof Float) return "float";
  if (value instanceof Text) return "str";
  if (value instanceof Sequence) return value.kind;
  if (value instanceof Mapping) return "dict";
  if (value instanceof Namespace) return "namespace";
  if (value instanceof Callable) return "function";
  return "undefined";
}

/** Python's bool(). */
export function isTrue(value: Value): boolean {
  if (value === null || typeof value === "boolean" || typeof value === "number") return Boolean(value);
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Text) return value.length > 0;
  if (value instanceof Sequence) return value.kind === "generator" || value.items.length > 0;
  if (value instanceof Mapping) return value.size > 0;
  return !(value instanceof Undefined);
}

/** The number of a number or truth value; undefined for all else. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return Number(value);
  return value instanceof Float ? value.value : undefined;
}

/** What a loop over the value sees. */
export function iterated(value: Value): readonly Value[] {
  if (value instanceof Sequence) return value.read();
  if (value instanceof Mapping) return value.entries.map(([key]) => key);
  if (value instanceof Text) return value.split();
  if (value instanceof Undefined) return [];
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

/** A value from outside, as JSON has it: its texts are foreign. */
export function fromJson(json: unknown, budget: Budget): Value {
  return budget.nested((): Value => {
    switch (typeof json) {
      case "string":
        return Text.foreign(json);
      case "number":
        return Number.isInteger(json) ? json : new Float(json);
      case "boolean":
        return json;
      case "object": {
        if (json === null) return null;
        if (Array.isArray(json)) {
          budget.list(json.length);
          return new Sequence(json.map((item) => fromJson(item, budget)));
        }
        const mapping = new Mapping();
        for (const [key, value] of Object.entries(json)) {
          budget.list(1);
          if (value !== undefined) mapping.set(Text.foreign(key), fromJson(value, budget));
        }
        return mapping;
      }
      default:
        throw new TemplateError(`is given a ${typeof json}`);
    }
  });
}

/** Equal keys have equal hashes: 1, 1.0 and true are one key, as in Python. */
function hashed(key: Value): string {
  if (key instanceof Text) return `s${key.value}`;
  if (key === null) return "None";
  const number = numberOf(key);
  if (number !== undefined) return `n${number}`;
  const isShort = key instanceof Sequence && key.kind === "tuple" && key.items.length <= 16;
  // No tuples in tuples: shared ones would take exponential time.
  if (isShort && !key.items.some((item) => item instanceof Sequence)) {
    return `t${key.items.map((item) => JSON.stringify(hashed(item))).join()}`;
  }
  throw new TemplateError(`unhashable type: '${typeName(key)}'`);
}
