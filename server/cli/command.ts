// What a subcommand is, and how its options are declared, parsed and explained.
//
// Parsing is `node:util`'s parseArgs; around it a table of options gives types, bounds, environment variables and
// the help screen, so that one line declares an option everywhere. Wrong usage is a `UsageError` (exit code 2).

import { parseArgs } from "node:util";

/** One option. Names are long; `short` is a single letter. */
export interface OptionSpec {
  /** Without the dashes. */
  readonly name: string;
  /** "list" may be given several times. */
  readonly kind: "flag" | "text" | "integer" | "number" | "list";
  /** One line, without a full stop. */
  readonly help: string;
  /** What the value is called in the help, for example "N" or "DIR". */
  readonly value?: string;
  /** Without the dash. */
  readonly short?: string;
  /** Environment variable that gives the value when the option is absent. */
  readonly env?: string;
  /** The only values allowed. */
  readonly choices?: readonly string[];
  /** Smallest value allowed. */
  readonly min?: number;
  /** Largest value allowed. */
  readonly max?: number;
  /** Shown in the help; the code that reads the option applies it. */
  readonly fallback?: string;
}

/** A subcommand. `run` returns the exit code. */
export interface Command {
  /** As it is typed. */
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** Positional arguments for the usage line, for example "[PROMPT]". */
  readonly positionals: string;
  /** More are wrong usage. */
  readonly maxPositionals: number;
  /** In the order of the help screen. */
  readonly options: readonly OptionSpec[];
  /** A command line that works. */
  readonly example: string;
  /** Does it; throws `UsageError` for wrong usage, any other error for a failure. */
  run(values: OptionValues, positionals: readonly string[]): Promise<number>;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** Parsed options by name, read with the type they were declared with; undefined when absent. */
export class OptionValues {
  readonly #values: ReadonlyMap<string, boolean | string | number | readonly string[]>;

  /** Values by option name, converted to the option's kind. */
  constructor(values: ReadonlyMap<string, boolean | string | number | readonly string[]>) {
    this.#values = values;
  }

  /** Whether the flag was given. */
  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** A text option's value. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return typeof value === "string" ? value : undefined;
  }

  /** A number's or a whole number's value. */
  number(name: string): number | undefined {
    const value = this.#values.get(name);
    return typeof value === "number" ? value : undefined;
  }

  /** All values of a repeatable option. */
  list(name: string): readonly string[] {
    const value = this.#values.get(name);
    return Array.isArray(value) ? value : [];
  }
}

/** Parses a subcommand's arguments; throws `UsageError` naming the culprit. */
export function parseOptions(
  command: Command,
  args: readonly string[],
  env: (name: string) => string | undefined = (name) => Deno.env.get(name),
): { values: OptionValues; positionals: string[] } {
  const declared = Object.fromEntries(command.options.map((option) => [option.name, {
    type: option.kind === "flag" ? "boolean" as const : "string" as const,
    multiple: option.kind === "list",
    ...(option.short ? { short: option.short } : {}),
  }]));
  const { values: raw, positionals } = parse(command, [...joinNegatives(args, command)], declared);
  if (positionals.length > command.maxPositionals) {
    const extra = positionals[command.maxPositionals];
    throw new UsageError(`unexpected argument "${extra}" (quote a prompt of several words)`);
  }
  const values = new Map<string, boolean | string | number | readonly string[]>();
  for (const option of command.options) {
    const given = raw[option.name] ?? (option.env ? fromEnvironment(option, env(option.env)) : undefined);
    if (given !== undefined) values.set(option.name, convert(option, given));
  }
  return { values: new OptionValues(values), positionals };
}

type RawValue = string | boolean | (string | boolean)[] | undefined;

function parse(
  command: Command,
  args: string[],
  options: Record<string, { type: "boolean" | "string"; multiple: boolean; short?: string }>,
): { values: Record<string, RawValue>; positionals: string[] } {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    const message = error instanceof Error ? error.message.split(". ")[0]! : String(error);
    throw new UsageError(`${message} (see radish ${command.name} --help)`);
  }
}

/** "--temperature -1" is an option with a negative value, not two options. */
function* joinNegatives(args: readonly string[], command: Command): Generator<string> {
  const numeric = new Set(
    command.options.filter((o) => o.kind === "integer" || o.kind === "number").map((o) => `--${o.name}`),
  );
  for (let i = 0; i < args.length; i++) {
    const next = args[i + 1];
    if (args[i] === "--") return yield* args.slice(i);
    if (numeric.has(args[i]!) && next !== undefined && /^-[\d.]/.test(next)) {
      yield `${args[i]}=${next}`;
      i++;
    } else {
      yield args[i]!;
    }
  }
}

function fromEnvironment(option: OptionSpec, value: string | undefined): RawValue {
  if (value === undefined || value === "") return undefined;
  if (option.kind === "flag") return !["0", "false", "no"].includes(value.toLowerCase());
  return option.kind === "list" ? [value] : value;
}

function convert(
  option: OptionSpec,
  given: NonNullable<RawValue>,
): boolean | string | number | readonly string[] {
  switch (option.kind) {
    case "flag":
      return given === true;
    case "list":
      return (given as string[]).map(String);
    case "text":
      if (option.choices && !option.choices.includes(String(given))) {
        throw new UsageError(`--${option.name} must be one of ${option.choices.join(", ")}, not "${given}"`);
      }
      return String(given);
    case "integer":
    case "number":
      return toNumber(option, String(given));
  }
}

function toNumber(option: OptionSpec, text: string): number {
  const value = text.trim() === "" ? NaN : Number(text);
  const { min = -Infinity, max = Infinity, kind, name } = option;
  const valid = Number.isFinite(value) && (kind === "number" || Number.isSafeInteger(value));
  if (valid && value >= min && value <= max) return value;
  const noun = kind === "integer" ? "a whole number" : "a number";
  const range = max < Infinity ? ` from ${min} to ${max}` : min > -Infinity ? ` of at least ${min}` : "";
  throw new UsageError(`--${name} must be ${noun}${range}, not "${text}"`);
}

/** The help screen of a subcommand. */
export function helpText(command: Command): string {
  const left = command.options.map((option) => {
    const short = option.short ? `-${option.short}, ` : "    ";
    const value = option.kind === "flag" ? "" : ` ${option.choices?.join("|") ?? option.value ?? "VALUE"}`;
    return `  ${short}--${option.name}${value}`;
  });
  const width = Math.min(38, Math.max(...left.map((l) => l.length), 0) + 2);
  const lines = command.options.map((option, i) => {
    const notes = [
      ...(option.fallback ? [`default ${option.fallback}`] : []),
      ...(option.env ? [`env ${option.env}`] : []),
    ];
    const text = option.help + (notes.length ? ` (${notes.join("; ")})` : "");
    return left[i]!.length > width - 2 ? `${left[i]}  ${text}` : left[i]!.padEnd(width) + text;
  });
  return [
    `radish ${command.name} — ${command.summary}`,
    "",
    `usage: radish ${command.name} [options]${command.positionals ? ` ${command.positionals}` : ""}`,
    "",
    ...lines,
    "",
    `example: ${command.example}`,
  ].join("\n");
}
