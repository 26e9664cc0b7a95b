// The methods of Python's str.

import { type Budget, TemplateError } from "./budget.ts";
import { formatBraces, padded, type Reader } from "./format.ts";
import { joined, Text, TextBuilder } from "./text.ts";
import { type Arguments, iterated, numberOf, Sequence, typeName, type Value } from "./value.ts";

type Method = (text: Text, args: Arguments, tools: { budget: Budget; read: Reader }) => Value;

/** What Python's str.isspace() takes for space. */
const space = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const words = new RegExp(`[^${space}]+`, "g");
const isSpace = new RegExp(`^[${space}]+$`);
// deno-lint-ignore no-control-regex
const lineEnds = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** str.strip() and its one-sided forms; without characters it strips space. */
export function stripped(text: Text, characters: string | null, left: boolean, right: boolean): Text {
  const set = characters === null ? null : new Set(characters);
  const goes = (letter: string) => set ? set.has(letter) : isSpace.test(letter);
  const { value } = text;
  let start = 0;
  let end = value.length;
  while (left && start < end) {
    const letter = String.fromCodePoint(value.codePointAt(start)!);
    if (!goes(letter)) break;
    start += letter.length;
  }
  while (right && end > start) {
    const low = value.charCodeAt(end - 1);
    const isPair = end - 2 >= start && low >= 0xdc00 && low < 0xe000 &&
      (value.charCodeAt(end - 2) & 0xfc00) === 0xd800;
    const letter = value.slice(isPair ? end - 2 : end - 1, end);
    if (!goes(letter)) break;
    end -= letter.length;
  }
  return text.slice(start, end);
}

/** str.replace(). */
export function replaced(text: Text, from: Text, to: Text, count: number, budget: Budget): Text {
  const builder = new TextBuilder(budget);
  let at = 0;
  let left = count < 0 ? Infinity : count;
  if (from.length === 0) {
    for (const letter of text.split()) {
      budget.step();
      if (left-- > 0) builder.append(to);
      builder.append(letter);
    }
    if (left > 0) builder.append(to);
    return builder.build();
  }
  for (let next = text.value.indexOf(from.value); next >= 0 && left-- > 0;) {
    budget.step();
    builder.append(text.slice(at, next));
    builder.append(to);
    at = next + from.length;
    next = text.value.indexOf(from.value, at);
  }
  builder.append(text.slice(at));
  return builder.build();
}

/** str.splitlines(). */
export function lines(text: Text, budget: Budget): Text[] {
  const parts: Text[] = [];
  let at = 0;
  for (const match of text.value.matchAll(lineEnds)) {
    budget.list(1);
    parts.push(text.slice(at, match.index));
    at = match.index + match[0].length;
  }
  if (at < text.length) parts.push(text.slice(at));
  return parts;
}

/** Words of a text, as str.split() without a separator sees them. */
export function wordCount(text: Text): number {
  return text.value.match(words)?.length ?? 0;
}

/** str.title(): every run of letters begins with a capital. */
function titled(text: string): string {
  return text.replace(
    /\p{L}[\p{L}\p{M}]*/gu,
    (word) => word[0]!.toUpperCase() + word.slice(1).toLowerCase(),
  );
}

/** str.capitalize(). */
export function capitalized(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase();
}

function split(text: Text, args: Arguments, budget: Budget, fromRight: boolean): Sequence {
  const separator = args.get(0, "sep") ?? null;
  const most = integerOf(args.get(1, "maxsplit") ?? -1);
  const left = most < 0 ? Infinity : most;
  const parts = separator === null
    ? splitAtSpace(text, left, fromRight)
    : splitAt(text, textOf(separator, "split"), left, fromRight);
  budget.list(parts.length);
  return new Sequence(parts);
}

/** Into words; what `most` cuts leave keeps the space at its far end. */
function splitAtSpace(text: Text, most: number, fromRight: boolean): Text[] {
  const found = [...text.value.matchAll(words)].map((match) =>
    [match.index, match.index + match[0].length] as const
  );
  const rest = found.length - 1 - most;
  const kept = rest < 0 ? found : fromRight ? found.slice(rest + 1) : found.slice(0, most);
  const parts = kept.map(([from, to]) => text.slice(from, to));
  if (rest < 0) return parts;
  return fromRight ? [text.slice(0, found[rest]![1]), ...parts] : [...parts, text.slice(found[most]![0])];
}

function splitAt(text: Text, separator: string, most: number, fromRight: boolean): Text[] {
  if (separator === "") throw new TemplateError("empty separator");
  const cuts: number[] = [];
  if (fromRight) {
    let at = text.value.lastIndexOf(separator);
    while (at >= 0 && cuts.length < most) {
      cuts.unshift(at);
      at = at < separator.length ? -1 : text.value.lastIndexOf(separator, at - separator.length);
    }
  } else {
    let at = text.value.indexOf(separator);
    while (at >= 0 && cuts.length < most) {
      cuts.push(at);
      at = text.value.indexOf(separator, at + separator.length);
    }
  }
  const starts = [0, ...cuts.map((at) => at + separator.length)];
  return starts.map((start, i) => text.slice(start, cuts[i]));
}

function partition(text: Text, args: Arguments, fromRight: boolean): Sequence {
  const separator = textOf(args.get(0, "sep"), "partition");
  const at = fromRight ? text.value.lastIndexOf(separator) : text.value.indexOf(separator);
  const nothing = Text.own("");
  if (at < 0) return new Sequence(fromRight ? [nothing, nothing, text] : [text, nothing, nothing], "tuple");
  const end = at + separator.length;
  return new Sequence([text.slice(0, at), text.slice(at, end), text.slice(end)], "tuple");
}

function find(text: Text, args: Arguments, fromRight: boolean): number {
  const wanted = textOf(args.get(0, "sub"), "find");
  const at = fromRight ? text.value.lastIndexOf(wanted) : text.value.indexOf(wanted);
  return at < 0 ? -1 : text.slice(0, at).characters;
}

function hasEdge(text: Text, args: Arguments, test: (text: string, edge: string) => boolean): boolean {
  const edge = args.positional[0];
  const edges = edge instanceof Sequence ? edge.items : [edge];
  return edges.some((one) => test(text.value, textOf(one, "startswith")));
}

function textOf(value: Value | undefined, method: string): string {
  if (value instanceof Text) return value.value;
  throw new TemplateError(
    `${method}() takes a text, not ${value === undefined ? "nothing" : typeName(value)}`,
  );
}

function integerOf(value: Value): number {
  const number = numberOf(value);
  if (number === undefined || !Number.isInteger(number)) {
    throw new TemplateError(`'${typeName(value)}' object cannot be interpreted as an integer`);
  }
  return number;
}

const stripOf = (left: boolean, right: boolean): Method => (text, args) => {
  const characters = args.positional[0] ?? null;
  return stripped(text, characters === null ? null : textOf(characters, "strip"), left, right);
};
const padOf = (align: string): Method => (text, args, { budget }) =>
  padded(
    text,
    integerOf(args.positional[0] ?? 0),
    textOf(args.positional[1] ?? Text.own(" "), "center"),
    align,
    budget,
  );
const test = (pattern: RegExp): Method => (text) => pattern.test(text.value);
const cased = (text: string, same: string, other: string) => text === same && text !== other;

/** By name. */
export const textMethods: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["upper", (text) => text.map((part) => part.toUpperCase())],
  ["lower", (text) => text.map((part) => part.toLowerCase())],
  ["casefold", (text) => text.map((part) => part.toLowerCase())],
  ["title", (text) => text.map(titled)],
  ["capitalize", (text) => text.map(capitalized)],
  [
    "swapcase",
    (text) =>
      text.map((part) =>
        [...part].map((c) => c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase()).join("")
      ),
  ],
  ["strip", stripOf(true, true)],
  ["lstrip", stripOf(true, false)],
  ["rstrip", stripOf(false, true)],
  ["split", (text, args, { budget }) => split(text, args, budget, false)],
  ["rsplit", (text, args, { budget }) => split(text, args, budget, true)],
  ["splitlines", (text, _, { budget }) => new Sequence(lines(text, budget))],
  ["partition", (text, args) => partition(text, args, false)],
  ["rpartition", (text, args) => partition(text, args, true)],
  ["startswith", (text, args) => hasEdge(text, args, (a, b) => a.startsWith(b))],
  ["endswith", (text, args) => hasEdge(text, args, (a, b) => a.endsWith(b))],
  ["removeprefix", (text, args) => {
    const edge = textOf(args.positional[0], "removeprefix");
    return text.value.startsWith(edge) ? text.slice(edge.length) : text;
  }],
  ["removesuffix", (text, args) => {
    const edge = textOf(args.positional[0], "removesuffix");
    return edge !== "" && text.value.endsWith(edge) ? text.slice(0, text.length - edge.length) : text;
  }],
  ["find", (text, args) => find(text, args, false)],
  ["rfind", (text, args) => find(text, args, true)],
  ["index", (text, args) => {
    const at = find(text, args, false);
    if (at < 0) throw new TemplateError("substring not found");
    return at;
  }],
  ["count", (text, args) => {
    const wanted = textOf(args.positional[0], "count");
    return wanted === "" ? text.characters + 1 : text.value.split(wanted).length - 1;
  }],
  ["replace", (text, args, { budget }) => {
    const [from, to] = [args.get(0, "old"), args.get(1, "new")];
    if (!(from instanceof Text && to instanceof Text)) throw new TemplateError("replace() takes two texts");
    return replaced(text, from, to, integerOf(args.get(2, "count") ?? -1), budget);
  }],
  ["join", (text, args, { budget }) =>
    joined(
      iterated(args.positional[0] ?? null).map((part) => {
        if (part instanceof Text) return part;
        throw new TemplateError(`join() takes texts, not ${typeName(part)}`);
      }),
      text,
      budget,
    )],
  ["format", (text, args, { budget, read }) => formatBraces(text, args, read, budget)],
  ["center", padOf("^")],
  ["ljust", padOf("<")],
  ["rjust", padOf(">")],
  ["zfill", (text, args, { budget }) => padded(text, integerOf(args.positional[0] ?? 0), "0", "=", budget)],
  ["isspace", test(isSpace)],
  ["isdigit", test(/^[\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨]+$/u)],
  ["isdecimal", test(/^\p{Nd}+$/u)],
  ["isnumeric", test(/^\p{N}+$/u)],
  ["isalpha", test(/^\p{L}+$/u)],
  ["isalnum", test(/^[\p{L}\p{N}]+$/u)],
  ["islower", ({ value }) => cased(value, value.toLowerCase(), value.toUpperCase())],
  ["isupper", ({ value }) => cased(value, value.toUpperCase(), value.toLowerCase())],
  ["istitle", ({ value }) => /\p{L}/u.test(value) && value === titled(value)],
]);
