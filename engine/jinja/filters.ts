// Jinja's filters on texts and numbers: `value | …`. Those on lists are in list_filters.ts.

import { type Budget, TemplateError } from "./budget.ts";
import { formatPercent, padded } from "./format.ts";
import { type Filter, listFilters } from "./list_filters.ts";
import { capitalized, lines, replaced, stripped, wordCount } from "./text_methods.ts";
import { concatenated, escapedText, Text, TextBuilder } from "./text.ts";
import {
  type Arguments,
  Float,
  isTrue,
  Mapping,
  numberOf,
  Sequence,
  typeName,
  Undefined,
  type Value,
} from "./value.ts";
import { jsonLayout, toJson, toText } from "./write.ts";

const onText =
  (change: (text: Text, args: Arguments, budget: Budget) => Value): Filter => (value, args, budget) =>
    change(toText(value, budget), args, budget);
const onPieces = (change: (text: string) => string) => onText((text) => text.map(change));

/** Jinja's own title(): words begin after space, dashes and opening brackets. */
const titled = (text: string) =>
  text.replace(/[^-\s({[<]+/gu, (word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase());

function indent(text: Text, args: Arguments, budget: Budget): Text {
  const width = args.get(0, "width") ?? 4;
  const [first, blank] = [isTrue(args.get(1, "first") ?? false), isTrue(args.get(2, "blank") ?? false)];
  const count = numberOf(width);
  if (!(width instanceof Text)) budget.indent(count ?? NaN);
  const indention = width instanceof Text ? width : Text.own(" ".repeat(Math.max(0, count!)));
  budget.indent(indention.length);
  const builder = new TextBuilder(budget);
  // As Jinja does, so that a line end at the end stays.
  lines(concatenated(null, [text, "\n"]), budget).forEach((line, i) => {
    if (i > 0) builder.appendOwn("\n");
    if (i === 0 ? first : blank || line.length > 0) builder.append(indention);
    builder.append(line);
  });
  return builder.build();
}

function truncate(text: Text, args: Arguments): Text {
  const length = numberOf(args.get(0, "length") ?? 255) ?? 255;
  const leeway = numberOf(args.get(3, "leeway") ?? 5) ?? 5;
  const end = args.get(2, "end") ?? Text.own("...");
  if (!(end instanceof Text)) throw new TemplateError("truncate: end must be a text");
  const letters = text.split();
  if (letters.length <= length + leeway) return text;
  let cut = concatenated(null, letters.slice(0, Math.max(0, length - end.characters)));
  if (!isTrue(args.get(1, "killwords") ?? false)) {
    const at = cut.value.lastIndexOf(" ");
    if (at >= 0) cut = cut.slice(0, at);
  }
  return concatenated(null, [cut, end]);
}

/** int(): whole numbers at the front of nothing else; a fraction is cut off. */
function toInteger(value: Value, args: Arguments): Value {
  const fallback = args.get(0, "default") ?? 0;
  const number = numberOf(value);
  if (number !== undefined) return Number.isFinite(number) ? Math.trunc(number) : fallback;
  if (!(value instanceof Text)) return fallback;
  const text = value.value.trim().replace(/(?<=\d)_(?=\d)/g, "");
  const base = numberOf(args.get(1, "base") ?? 10) ?? 10;
  if (base !== 10) {
    const digits = text.replace(/^([+-]?)0[xXoObB]/, "$1");
    const parsed = /^[+-]?[0-9a-zA-Z]+$/.test(digits) ? parseInt(digits, base) : NaN;
    return Number.isNaN(parsed) ? fallback : parsed;
  }
  return isNumeral(text) ? Math.trunc(Number(text)) : fallback;
}

function toFloat(value: Value, args: Arguments): Value {
  const number = numberOf(value);
  if (number !== undefined) return new Float(number);
  if (value instanceof Text && isNumeral(value.value.trim())) return new Float(Number(value.value));
  return args.get(0, "default") ?? new Float(0);
}

const isNumeral = (text: string) => /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/.test(text);

function round(value: Value, args: Arguments): Value {
  const number = numberOf(value);
  const digits = numberOf(args.get(0, "precision") ?? 0);
  if (number === undefined || digits === undefined) throw new TemplateError("round takes numbers");
  const method = args.get(1, "method");
  const scale = 10 ** digits;
  const scaled = number * scale;
  // Halves go to the even neighbour, as in Python.
  const rounded = method instanceof Text && method.value === "ceil"
    ? Math.ceil(scaled)
    : method instanceof Text && method.value === "floor"
    ? Math.floor(scaled)
    : Math.abs(scaled % 1) === 0.5
    ? 2 * Math.round(scaled / 2)
    : Math.round(scaled);
  return new Float(rounded / scale);
}

function length(value: Value): number {
  if (value instanceof Text) return value.characters;
  if (value instanceof Mapping) return value.size;
  if (value instanceof Sequence && value.kind !== "generator") return value.items.length;
  if (value instanceof Undefined) return 0;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

const fallback: Filter = (value, args) => {
  const other = args.get(0, "default_value") ?? Text.own("");
  const onFalse = isTrue(args.get(1, "boolean") ?? false);
  return value instanceof Undefined || (onFalse && !isTrue(value)) ? other : value;
};
const number = (value: Value): number => {
  const known = numberOf(value);
  if (known === undefined) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
  return known;
};

const filters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["safe", (value, _, budget) => toText(value, budget).asMarkup()],
  ["string", (value, _, budget) => toText(value, budget)],
  ["upper", onPieces((text) => text.toUpperCase())],
  ["lower", onPieces((text) => text.toLowerCase())],
  ["title", onPieces(titled)],
  ["capitalize", onPieces(capitalized)],
  ["e", onText((text) => escapedText(text))],
  ["escape", onText((text) => escapedText(text))],
  [
    "trim",
    onText((text, args) => {
      const characters = args.get(0, "chars") ?? null;
      return stripped(text, characters instanceof Text ? characters.value : null, true, true);
    }),
  ],
  [
    "replace",
    onText((text, args, budget) => {
      const [from, to] = [args.get(0, "old"), args.get(1, "new")];
      if (from === undefined || to === undefined) throw new TemplateError("replace takes two texts");
      const count = numberOf(args.get(2, "count") ?? null) ?? -1;
      return replaced(text, toText(from, budget), toText(to, budget), count, budget);
    }),
  ],
  ["indent", onText(indent)],
  ["truncate", onText(truncate)],
  [
    "center",
    onText((text, args, budget) => {
      const width = numberOf(args.get(0, "width") ?? 80) ?? 80;
      return padded(text, width, " ", "^", budget);
    }),
  ],
  ["wordcount", onText((text) => wordCount(text))],
  [
    "format",
    onText((text, args, budget) => {
      if (args.named.size === 0) return formatPercent(text, new Sequence(args.positional, "tuple"), budget);
      const mapping = new Mapping();
      for (const [name, value] of args.named) mapping.set(Text.own(name), value);
      return formatPercent(text, mapping, budget);
    }),
  ],
  ["tojson", (value, args, budget) => {
    const names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    const given = Object.fromEntries(names.map((name, i) => [name, args.get(i, name)]));
    return toJson(value, jsonLayout(given, budget), budget);
  }],
  ["default", fallback],
  ["d", fallback],
  ["int", toInteger],
  ["float", toFloat],
  ["round", round],
  ["abs", (value) => value instanceof Float ? new Float(Math.abs(value.value)) : Math.abs(number(value))],
  ["length", length],
  ["count", length],
]);

/** Runs a filter by its name. */
export function runFilter(name: string, value: Value, args: Arguments, budget: Budget): Value {
  const filter = filters.get(name) ?? listFilters.get(name);
  if (!filter) throw new TemplateError(`No filter named '${name.slice(0, 100)}'`);
  budget.step();
  return filter(value, args, budget, (other, item, rest) => runFilter(other, item, rest, budget));
}
