// What `value.name` and `value[key]` find, by Jinja's rules: a method comes before an entry after a dot, an entry
// first in brackets. Methods that would change a list or mapping are refused, as in transformers' sandbox.

import { type Budget, TemplateError } from "./budget.ts";
import { isEqual } from "./operators.ts";
import { textMethods } from "./text_methods.ts";
import { Text } from "./text.ts";
import {
  Arguments,
  Callable,
  found,
  Mapping,
  Namespace,
  numberOf,
  Sequence,
  typeName,
  Undefined,
  type Value,
} from "./value.ts";

const changing: Readonly<Record<string, ReadonlySet<string>>> = {
  list: new Set(["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]),
  dict: new Set(["clear", "pop", "popitem", "setdefault", "update"]),
};

/** `value.name`. */
export function attributeOf(value: Value, name: string, budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  const method = methodOf(value, name, budget);
  if (method !== undefined) return method;
  return value instanceof Mapping ? found(value.getText(name), missing(value, name)) : missing(value, name);
}

/** `value[key]`. */
export function itemOf(value: Value, key: Value, budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  if (value instanceof Mapping) {
    const item = isHashable(key) ? value.get(key) : undefined;
    if (item !== undefined) return item;
  } else if (value instanceof Text || (value instanceof Sequence && value.isIndexed)) {
    const index = typeof key === "boolean" ? Number(key) : key;
    if (typeof index === "number") {
      const items: readonly Value[] = value instanceof Text ? characterAt(value, index) : value.items;
      const at = value instanceof Text ? 0 : index < 0 ? index + items.length : index;
      return found(items[at], new Undefined(`${typeName(value)} object has no element ${index}`));
    }
  }
  if (!(key instanceof Text)) {
    return new Undefined(`'${typeName(value)} object' has no such element`);
  }
  return found(methodOf(value, key.value, budget), missing(value, key.value));
}

/** `value[start:stop:step]`. */
export function sliceOf(value: Value, bounds: readonly Value[], budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateError(value.reason);
  const isText = value instanceof Text;
  if (!isText && !(value instanceof Sequence && value.isIndexed)) {
    throw new TemplateError(`'${typeName(value)}' object is not subscriptable`);
  }
  const [start, stop, step = 1] = bounds.map((bound) => {
    if (bound === null || bound instanceof Undefined) return undefined;
    const number = numberOf(bound);
    if (number === undefined || !Number.isInteger(number)) {
      throw new TemplateError("slice indices must be integers");
    }
    return number;
  });
  if (step === 0) throw new TemplateError("slice step cannot be zero");
  if (isText && step === 1 && !/[\ud800-\udbff]/.test(value.value)) {
    const [from, to] = range(value.length, start, stop, 1);
    return value.slice(from, Math.max(from, to));
  }
  const items: readonly Value[] = isText ? value.split() : value.items;
  const picked: Value[] = [];
  const [from, to] = range(items.length, start, stop, step);
  for (let i = from; step > 0 ? i < to : i > to; i += step) picked.push(items[i]!);
  budget.list(picked.length);
  if (!isText) return new Sequence(picked, (value as Sequence).kind);
  return textMethods.get("join")!(Text.own(""), argumentsOf(new Sequence(picked)), {
    budget,
    read: reader(budget),
  });
}

/** Python's slice.indices(). */
function range(
  length: number,
  start: number | undefined,
  stop: number | undefined,
  step: number,
): [number, number] {
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? length : length - 1;
  const clamp = (bound: number) => Math.min(Math.max(bound < 0 ? bound + length : bound, low), high);
  return [
    start === undefined ? (step > 0 ? low : high) : clamp(start),
    stop === undefined ? (step > 0 ? high : low) : clamp(stop),
  ];
}

/** Reads fields of format strings. */
export function reader(budget: Budget): (value: Value, name: Value) => Value {
  return (value, name) => itemOf(value, name, budget);
}

/** The one code point at an index, or none. */
function characterAt(text: Text, index: number): Text[] {
  if (!/[\ud800-\udbff]/.test(text.value)) {
    const at = index < 0 ? index + text.length : index;
    return at >= 0 && at < text.length ? [text.slice(at, at + 1)] : [];
  }
  const letter = text.split().at(index);
  return letter ? [letter] : [];
}

function argumentsOf(value: Value): Arguments {
  return new Arguments([value]);
}

function isHashable(key: Value): boolean {
  return !(key instanceof Mapping || key instanceof Undefined ||
    (key instanceof Sequence && key.kind !== "tuple"));
}

function missing(value: Value, name: string): Undefined {
  const owner = value === null ? "None" : `'${typeName(value)} object'`;
  return new Undefined(`${owner} has no attribute '${name.slice(0, 100)}'`);
}

function methodOf(value: Value, name: string, budget: Budget): Value | undefined {
  if (value instanceof Namespace) return value.attributes.get(name);
  if (value instanceof Callable) return value.attributes.get(name);
  const bound = (call: (args: Arguments) => Value) => new Callable(name, call);
  if (value instanceof Text) {
    const method = textMethods.get(name);
    return method && bound((args) => method(value, args, { budget, read: reader(budget) }));
  }
  if (!(value instanceof Mapping || value instanceof Sequence)) return undefined;
  if (changing[typeName(value)]?.has(name)) {
    return new Undefined(`access to attribute '${name}' of '${typeName(value)}' object is unsafe`);
  }
  if (value instanceof Sequence) {
    if (!value.isIndexed) return undefined;
    const same = (args: Arguments) => (item: Value) => isEqual(item, args.positional[0] ?? null, budget);
    switch (name) {
      case "count":
        return bound((args) => value.items.filter(same(args)).length);
      case "index":
        return bound((args) => {
          const at = value.items.findIndex(same(args));
          if (at < 0) throw new TemplateError("the value is not in the list");
          return at;
        });
      case "copy":
        return bound(() => value);
    }
    return undefined;
  }
  switch (name) {
    case "get":
      return bound((args) => {
        const key = args.positional[0] ?? null;
        return found(value.get(key), args.positional[1] ?? null);
      });
    case "items":
      return bound(() => {
        budget.list(3 * value.size);
        return new Sequence(value.entries.map((pair) => new Sequence(pair, "tuple")), "dict_items");
      });
    case "keys":
      return bound(() => {
        budget.list(value.size);
        return new Sequence(value.entries.map(([key]) => key), "dict_keys");
      });
    case "values":
      return bound(() => {
        budget.list(value.size);
        return new Sequence(value.entries.map(([, item]) => item), "dict_values");
      });
    case "copy":
      return bound(() => value);
  }
  return undefined;
}
