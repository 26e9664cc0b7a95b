// How an option is declared: its names, what its value may be, its help, its default and its variable in one
// expression. @optique/core parses by these declarations, and makes help and completions from them.

import type { Message } from "@optique/core/message";
import { envVar, message, optionName, text as words } from "@optique/core/message";
import { map, multiple, withDefault, WithDefaultError } from "@optique/core/modifiers";
import type { Parser } from "@optique/core/parser";
import { argument, flag as flagParser, option } from "@optique/core/primitives";
import type { OptionName } from "@optique/core/usage";
import type { ValueParser, ValueParserResult } from "@optique/core/valueparser";

/** Makes a value of an argument's text. */
export type Value<T> = ValueParser<"sync", T>;

/** A name for a value in the help, for example "N". */
export type Metavar = Value<unknown>["metavar"];

/** A declared option. */
export type Option<T> = Parser<"sync", T, unknown>;

/** What an option may be besides its name, value and help. */
export interface Extras<D> {
  /** The value when neither command line nor environment gives one. */
  readonly fallback?: D;
  /** What the help says in place of `fallback`. */
  readonly shows?: string | undefined;
  /** Whether RADISH_ and the name in capitals (RADISH_NUM_PAGES for --num-pages) gives it, too. */
  readonly env?: boolean;
  /** Left out of `--help`, but not of `--help-all`. */
  readonly hidden?: boolean;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** Said by an option that is not meant; fixed, because the library else looks for similar names in every option. */
const noMatch: Message = [words("not this option")];

/** For the `object` of a group of options: the command says what is wrong, so that its groups need not. */
export const asGroup = { errors: { unexpectedInput: noMatch } } as const;

/** How an option with a value is declared; `names` as in "-m --model". */
export interface DeclareValue {
  /** Undefined when it is absent and has no fallback. */
  <T>(names: string, parser: Value<T>, help: string, extras?: Extras<never>): Option<T | undefined>;
  /** The same with a fallback. */
  <T, const D>(
    names: string,
    parser: Value<T>,
    help: string,
    extras: Extras<D> & { readonly fallback: D },
  ): Option<T | D>;
}

/** Declares options of a group, which all have the extras `shared`. */
export function valueWith(shared: Extras<never>): DeclareValue {
  return <T, D>(names: string, parser: Value<T>, help: string, own: Extras<D> = {}): Option<T | D> => {
    const list = split(names), extras = { ...shared, ...own };
    const declared = option(...list, parser, {
      ...described(help, extras),
      errors: { noMatch, invalidValue: (error: Message) => message`${optionName(list.at(-1)!)} ${error}` },
    });
    const absent = () => (fromEnvironment(list, parser, extras) ?? extras.fallback) as T | D;
    return withDefault<"sync", T, unknown, T | D>(declared, absent, shown(extras));
  };
}

/** An option with a value. */
export const value: DeclareValue = valueWith({});

/** An option that may be given several times; its variable gives one value. */
export function list(
  names: string,
  metavar: Metavar,
  help: string,
  extras: Extras<never> = {},
): Option<readonly string[]> {
  const spellings = split(names);
  const parser = text(metavar);
  return map(multiple(option(...spellings, parser, described(help, extras))), (values) => {
    const variable = values.length > 0 ? undefined : fromEnvironment(spellings, parser, extras);
    return variable === undefined ? values : [variable];
  });
}

/** An option without a value. */
export function flag(names: string, help: string, extras: Extras<never> = {}): Option<boolean> {
  const list = split(names);
  const absent = () => fromEnvironment(list, yesOrNo, extras) ?? false;
  const given = flagParser(...list, described(help, extras));
  return withDefault<"sync", true, unknown, boolean>(given, absent, { message: [] });
}

/** An argument that is no option. */
export function positional(metavar: Metavar, help: string): Option<string> {
  return argument(text(metavar), { description: [words(help)] });
}

/** Any text. */
export function text(metavar: Metavar): Value<string> {
  return parsed(metavar, "", (value) => ({ success: true, value }));
}

/** A path; completed from the file system. */
export function path(metavar: Metavar, type: "file" | "directory" | "any" = "file"): Value<string> {
  return { ...text(metavar), suggest: () => [{ kind: "file", type }] };
}

/** One of a few words; `metavar` stands for them where they would take too much room. */
export function oneOf<const T extends string>(
  choices: readonly [T, ...T[]],
  metavar: Metavar = choices.join("|") as Metavar,
): Value<T> {
  const find = (input: string) => choices.find((choice) => choice === input);
  const parse = (input: string) => accept(find(input), `must be one of ${choices.join(", ")}`, input);
  return {
    ...parsed(metavar, choices[0], parse),
    choices,
    suggest: (prefix) =>
      choices.filter((choice) => choice.startsWith(prefix)).map((text) => ({ kind: "literal", text })),
  };
}

/** Which numbers are allowed. */
export interface Bounds {
  /** Least value. */
  readonly min: number;
  /** Largest value; none by default. */
  readonly max?: number;
  /** Whether `min` itself is refused. */
  readonly open?: boolean;
  /** Whether only whole numbers are allowed. */
  readonly integer?: boolean;
}

/** A number within bounds. */
export function number(metavar: Metavar, bounds: Bounds): Value<number> {
  const { min, max = Infinity, open = false, integer = false } = bounds;
  const least = open ? `above ${min}` : max < Infinity ? `from ${min}` : `of at least ${min}`;
  const most = max < Infinity ? `${open ? ", up" : ""} to ${max}` : "";
  const wanted = `must be ${integer ? "a whole number" : "a number"} ${least}${most}`;
  return parsed(metavar, max < Infinity ? max : min, (input) => {
    const value = input.trim() === "" ? NaN : Number(input);
    const valid = integer ? Number.isSafeInteger(value) : Number.isFinite(value);
    return accept(
      valid && value >= min && value <= max && !(open && value === min) ? value : undefined,
      wanted,
      input,
    );
  });
}

/** A whole number within bounds. */
export function whole(metavar: Metavar, min: number, max: number = Infinity): Value<number> {
  return number(metavar, { min, max, integer: true });
}

/** A duration within bounds. */
export function seconds(min: number, max: number): Value<number> {
  return number("SECONDS", { min, max });
}

/** Whole numbers separated by commas. */
export function wholes(metavar: Metavar, max: number): Value<readonly number[]> {
  const one = whole(metavar, 1, max);
  return parsed(metavar, [], (input) => {
    const results = input.split(",").map((part) => one.parse(part));
    const numbers = results.flatMap((result) => result.success ? [result.value] : []);
    return accept(
      numbers.length === results.length ? numbers : undefined,
      "must be numbers such as 128,512",
      input,
    );
  });
}

const yesOrNo = parsed(
  "VALUE",
  false,
  (input) => ({ success: true, value: !["0", "false", "no"].includes(input.toLowerCase()) }),
);

function parsed<T>(
  metavar: Metavar,
  placeholder: T,
  parse: (input: string) => ValueParserResult<T>,
): Value<T> {
  return { mode: "sync", metavar, placeholder, parse, format: String };
}

function accept<T>(value: T | undefined, wanted: string, input: string): ValueParserResult<T> {
  return value !== undefined
    ? { success: true, value }
    : { success: false, error: [words(`${wanted}, not "${input}"`)] };
}

function split(names: string): readonly [OptionName, ...OptionName[]] {
  return names.split(" ") as [OptionName];
}

function variableName(names: readonly OptionName[]): string {
  return `RADISH_${names.at(-1)!.slice(2).toUpperCase().replaceAll("-", "_")}`;
}

function fromEnvironment<T>(
  names: readonly OptionName[],
  parser: Value<T>,
  { env = false }: Extras<unknown>,
): T | undefined {
  const variable = variableName(names);
  const given = env ? Deno.env.get(variable) : undefined;
  if (given === undefined || given === "") return undefined;
  const result = parser.parse(given);
  if (result.success) return result.value;
  throw new WithDefaultError(message`${envVar(variable)} ${result.error}`);
}

function described(help: string, { hidden = false }: Extras<unknown>) {
  return { description: [words(help)], errors: { noMatch }, ...(hidden ? { hidden: "help" as const } : {}) };
}

function shown({ fallback, shows }: Extras<unknown>) {
  const given = shows ?? fallback ?? null;
  return { message: given === null ? [] : [words(String(given))] };
}
