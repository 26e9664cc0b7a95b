// The functions that every template has: Jinja's own and transformers' additions.

import { type Budget, TemplateError } from "./budget.ts";
import { Text } from "./text.ts";
import {
  Arguments,
  Callable,
  found,
  iterated,
  Mapping,
  Namespace,
  numberOf,
  Sequence,
  Undefined,
  type Value,
} from "./value.ts";
import { jsonLayout, toJson, toText } from "./write.ts";

const mostRange = 100_000;

/** All of them, by name. */
export function templateGlobals(budget: Budget): Map<string, Value> {
  const functions: [string, (args: Arguments) => Value][] = [
    ["raise_exception", (args) => {
      throw new TemplateError(toText(args.get(0, "message") ?? new Undefined(""), budget).value);
    }],
    ["range", (args) => range(args, budget)],
    ["strftime_now", (args) => {
      const format = args.get(0, "format");
      if (!(format instanceof Text)) throw new TemplateError("strftime_now takes a text");
      return Text.own(formatNow(format.value));
    }],
    ["namespace", (args) => {
      const namespace = new Namespace();
      for (const [key, value] of dictionary(args).entries) {
        namespace.attributes.set(toText(key, budget).value, value);
      }
      budget.list(namespace.attributes.size);
      return namespace;
    }],
    ["dict", (args) => {
      const made = dictionary(args);
      budget.list(made.size);
      return made;
    }],
    ["joiner", (args) => {
      let used = false;
      const separator = args.get(0, "sep") ?? Text.own(", ");
      return new Callable("joiner", () => {
        const text = used ? separator : Text.own("");
        used = true;
        return text;
      });
    }],
    ["cycler", (args) => cycler(args.positional)],
    ["tojson", (args) => {
      const layout = jsonLayout(Object.fromEntries(args.named), budget);
      return toJson(args.positional[0] ?? null, layout, budget);
    }],
  ];
  const constants: [string, Value][] = [
    ["true", true],
    ["false", false],
    ["none", null],
    ["True", true],
    ["False", false],
    ["None", null],
  ];
  return new Map<string, Value>([
    ...constants,
    ...functions.map(([name, call]): [string, Value] => [name, new Callable(name, call)]),
  ]);
}

/** Python's dict(…). */
function dictionary(args: Arguments): Mapping {
  const made = new Mapping();
  const source = args.positional[0];
  if (source instanceof Mapping) { for (const [key, value] of source.entries) made.set(key, value); }
  else if (source !== undefined) {
    for (const pair of iterated(source)) {
      const [key, value] = iterated(pair);
      if (key === undefined || value === undefined) throw new TemplateError("dict takes pairs");
      made.set(key, value);
    }
  }
  for (const [name, value] of args.named) made.set(Text.own(name), value);
  return made;
}

function cycler(items: readonly Value[]): Callable {
  let at = 0;
  const current = () => found(items[at], new Undefined("at least one item has to be provided"));
  const next = () => {
    const value = current();
    at = (at + 1) % Math.max(1, items.length);
    return value;
  };
  const reset = () => {
    at = 0;
    return null;
  };
  return new Callable(
    "cycler",
    next,
    new Map([["next", new Callable("next", next)], ["reset", new Callable("reset", reset)]]),
  );
}

/** Python's range as a list. */
function range(args: Arguments, budget: Budget): Sequence {
  const numbers = args.positional.map((value) => {
    const number = numberOf(value);
    if (number === undefined || !Number.isInteger(number)) throw new TemplateError("range takes integers");
    return number;
  });
  const [first = 0, second, step = 1] = numbers;
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const count = Math.ceil((stop - start) / step);
  if (!(Math.abs(count) <= mostRange)) throw new TemplateError("makes too large a list");
  budget.list(Math.max(0, count));
  return new Sequence(Array.from({ length: Math.max(0, count) }, (_, i) => start + i * step));
}

/** strftime of the present time, for the codes that templates use. */
function formatNow(format: string): string {
  const now = new Date();
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (options: Intl.DateTimeFormatOptions) => now.toLocaleDateString("en-US", options);
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => String(now.getFullYear()),
    y: () => two(now.getFullYear() % 100),
    m: () => two(now.getMonth() + 1),
    d: () => two(now.getDate()),
    B: () => name({ month: "long" }),
    b: () => name({ month: "short" }),
    A: () => name({ weekday: "long" }),
    a: () => name({ weekday: "short" }),
    H: () => two(now.getHours()),
    I: () => two((now.getHours() + 11) % 12 + 1),
    M: () => two(now.getMinutes()),
    S: () => two(now.getSeconds()),
    p: () => now.getHours() < 12 ? "AM" : "PM",
    j: () =>
      String(
        Math.round(
          (Date.UTC(now.getFullYear(), now.getMonth(), now.getDate()) - Date.UTC(now.getFullYear(), 0, 0)) /
            86_400_000,
        ),
      ).padStart(3, "0"),
    "%": () => "%",
  };
  return format.slice(0, 256).replace(/%([a-zA-Z%])/g, (all, code: string) => codes[code]?.() ?? all);
}
