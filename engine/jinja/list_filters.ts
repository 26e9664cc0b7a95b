// Jinja's filters on lists and mappings. Those that Python writes as generators give generators here: always true, of
// no length, empty after one reading.

import { type Budget, TemplateError } from "./budget.ts";
import { attributeOf, itemOf } from "./members.ts";
import { compared, isEqual } from "./operators.ts";
import { runTest } from "./tests.ts";
import { joined, Text } from "./text.ts";
import {
  Arguments,
  Float,
  found,
  isTrue,
  iterated,
  Mapping,
  numberOf,
  Sequence,
  typeName,
  Undefined,
  type Value,
} from "./value.ts";
import { toText } from "./write.ts";

/** Runs another filter by its name. */
export type FilterByName = (name: string, value: Value, args: Arguments) => Value;
/** A filter by what it gets. */
export type Filter = (value: Value, args: Arguments, budget: Budget, run: FilterByName) => Value;

function list(items: readonly Value[], budget: Budget, kind: "list" | "generator" = "list"): Sequence {
  budget.list(items.length);
  return new Sequence(items, kind);
}

/** Reads a dotted path off items: `"function.name"`, `0`. */
function getter(path: Value, budget: Budget, otherwise?: Value): (item: Value) => Value {
  const parts = path instanceof Text ? path.value.split(".") : [String(numberOf(path) ?? "")];
  const keys = parts.map((part) => /^\d+$/.test(part) ? Number(part) : Text.own(part));
  return (item) =>
    keys.reduce<Value>((value, key) => {
      const next = itemOf(value, key, budget);
      return next instanceof Undefined && otherwise !== undefined ? otherwise : next;
    }, item);
}

/** What to sort or compare by: an attribute or the item itself, and texts without regard to case. */
function keyOf(attribute: Value | undefined, caseSensitive: boolean, budget: Budget): (item: Value) => Value {
  const get = attribute === undefined || attribute === null
    ? (item: Value) => item
    : getter(attribute, budget);
  return (item) => {
    const key = get(item);
    return key instanceof Text && !caseSensitive ? key.map((part) => part.toLowerCase()) : key;
  };
}

function sorted(
  items: readonly Value[],
  key: (item: Value) => Value,
  reverse: boolean,
  budget: Budget,
): readonly Value[] {
  const keyed = items.map((item) => [key(item), item] as const);
  keyed.sort(([a], [b]) => reverse ? compared(b, a, budget) : compared(a, b, budget));
  return keyed.map(([, item]) => item);
}

function extreme(value: Value, args: Arguments, budget: Budget, sign: 1 | -1): Value {
  const key = keyOf(args.get(1, "attribute"), isTrue(args.get(0, "case_sensitive") ?? false), budget);
  const items = iterated(value);
  if (items.length === 0) return new Undefined("No aggregated item, sequence was empty.");
  return items.reduce((best, item) => sign * compared(key(item), key(best), budget) > 0 ? item : best);
}

/** select, reject and their forms on an attribute. */
function selection(keep: boolean, onAttribute: boolean): Filter {
  return (value, args, budget) => {
    if (!isTrue(value)) return list([], budget, "generator");
    const first = args.positional[0];
    if (onAttribute && first === undefined) throw new TemplateError("Missing parameter for attribute name");
    const get = onAttribute ? getter(first!, budget) : (item: Value) => item;
    const rest = args.rest(onAttribute ? 1 : 0);
    const name = rest.positional[0];
    if (name !== undefined && !(name instanceof Text)) {
      throw new TemplateError("a test's name must be a text");
    }
    const holds = (item: Value) =>
      name === undefined ? isTrue(item) : runTest(name.value, item, rest.rest(1), budget);
    return list(iterated(value).filter((item) => holds(get(item)) === keep), budget, "generator");
  };
}

const map: Filter = (value, args, budget, run) => {
  if (!isTrue(value)) return list([], budget, "generator");
  const attribute = args.named.get("attribute");
  if (args.positional.length === 0 && attribute !== undefined) {
    const get = getter(attribute, budget, args.named.get("default"));
    return list(iterated(value).map(get), budget, "generator");
  }
  const name = args.positional[0];
  if (!(name instanceof Text)) throw new TemplateError("map requires a filter argument");
  return list(iterated(value).map((item) => run(name.value, item, args.rest(1))), budget, "generator");
};

const unique: Filter = (value, args, budget) => {
  const key = keyOf(args.get(1, "attribute"), isTrue(args.get(0, "case_sensitive") ?? false), budget);
  const seen = new Mapping();
  const kept = iterated(value).filter((item) => {
    const known = key(item);
    if (seen.get(known) !== undefined) return false;
    seen.set(known, true);
    return true;
  });
  return list(kept, budget, "generator");
};

const groupBy: Filter = (value, args, budget) => {
  const attribute = args.get(0, "attribute");
  if (attribute === undefined) throw new TemplateError("groupby takes an attribute");
  const key = keyOf(attribute, isTrue(args.get(2, "case_sensitive") ?? false), budget);
  const fallback = args.get(1, "default");
  const keyWithDefault = (item: Value) => {
    const found = key(item);
    return found instanceof Undefined && fallback !== undefined ? fallback : found;
  };
  const groups: [Value, Value[]][] = [];
  for (const item of sorted(iterated(value), keyWithDefault, false, budget)) {
    const last = groups.at(-1);
    if (last && isEqual(last[0], keyWithDefault(item), budget)) last[1].push(item);
    else groups.push([keyWithDefault(item), [item]]);
  }
  return list(groups.map(([name, items]) => new Sequence([name, list(items, budget)], "tuple")), budget);
};

function sum(value: Value, args: Arguments, budget: Budget): Value {
  const attribute = args.get(0, "attribute");
  const items = attribute === undefined ? iterated(value) : iterated(value).map(getter(attribute, budget));
  let total = numberOf(args.get(1, "start") ?? 0) ?? 0;
  for (const item of items) {
    const number = numberOf(item);
    if (number === undefined) throw new TemplateError(`cannot add '${typeName(item)}'`);
    total += number;
  }
  return items.some((item) => item instanceof Float) ? new Float(total) : total;
}

const batch: Filter = (value, args, budget) => {
  const size = numberOf(args.get(0, "linecount") ?? null) ?? 0;
  if (!(size >= 1)) throw new TemplateError("batch takes a number above 0");
  const fill = args.get(1, "fill_with");
  const items = iterated(value);
  const rows: Value[] = [];
  for (let i = 0; i < items.length; i += size) {
    const row = items.slice(i, i + size);
    if (fill !== undefined && fill !== null) {
      budget.list(size);
      while (row.length < size) (row as Value[]).push(fill);
    }
    rows.push(list(row, budget));
  }
  return list(rows, budget, "generator");
};

const edge = (which: "First" | "Last"): Filter => (value) => {
  const items = iterated(value);
  return found(
    items.at(which === "First" ? 0 : -1),
    new Undefined(`No ${which.toLowerCase()} item, sequence was empty.`),
  );
};

function pairs(value: Value): readonly (readonly [Value, Value])[] {
  if (value instanceof Mapping) return value.entries;
  if (value instanceof Undefined) return [];
  throw new TemplateError("Can only get item pairs from a mapping.");
}

/** By name. */
export const listFilters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["list", (value, _, budget) => list(iterated(value), budget)],
  ["first", edge("First")],
  ["last", edge("Last")],
  ["reverse", (value, _, budget) => {
    if (!(value instanceof Text)) return list([...iterated(value)].reverse(), budget, "generator");
    return joined(value.split().reverse(), Text.own(""), budget);
  }],
  ["join", (value, args, budget) => {
    const attribute = args.get(1, "attribute");
    const items = attribute === undefined || attribute === null
      ? iterated(value)
      : iterated(value).map(getter(attribute, budget));
    const separator = toText(args.get(0, "d") ?? Text.own(""), budget);
    return joined(items.map((item) => toText(item, budget)), separator, budget);
  }],
  ["sort", (value, args, budget) => {
    const key = keyOf(args.get(2, "attribute"), isTrue(args.get(1, "case_sensitive") ?? false), budget);
    return list(sorted(iterated(value), key, isTrue(args.get(0, "reverse") ?? false), budget), budget);
  }],
  ["min", (value, args, budget) => extreme(value, args, budget, -1)],
  ["max", (value, args, budget) => extreme(value, args, budget, 1)],
  ["sum", sum],
  ["unique", unique],
  ["groupby", groupBy],
  ["batch", batch],
  ["map", map],
  ["select", selection(true, false)],
  ["reject", selection(false, false)],
  ["selectattr", selection(true, true)],
  ["rejectattr", selection(false, true)],
  [
    "items",
    (value, _, budget) => list(pairs(value).map((pair) => new Sequence(pair, "tuple")), budget, "generator"),
  ],
  ["dictsort", (value, args, budget) => {
    const by = args.get(1, "by");
    const at = by instanceof Text && by.value === "value" ? 1 : 0;
    const key = keyOf(at, isTrue(args.get(0, "case_sensitive") ?? false), budget);
    const items = pairs(value).map((pair) => new Sequence(pair, "tuple"));
    return list(sorted(items, key, isTrue(args.get(2, "reverse") ?? false), budget), budget);
  }],
  ["attr", (value, args, budget) => {
    const name = args.get(0, "name");
    if (!(name instanceof Text)) throw new TemplateError("attr takes a text");
    return value instanceof Mapping
      ? new Undefined(`no attribute ${name.value}`)
      : attributeOf(value, name.value, budget);
  }],
]);
