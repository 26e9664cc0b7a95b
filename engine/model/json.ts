// Checked JSON: a schema says what a file may hold (zod, as for requests), and an error names the file and the field
// in one line. Values are shown shortened, so that a hostile file cannot flood the terminal.

import { z } from "zod";

/** A model's file is missing, damaged, or of a kind that this program cannot run; the message is for the user. */
export class ModelError extends Error {
  /** The error's name. */
  override readonly name = "ModelError";
}

/** A value from a file, short enough for an error message. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value);
  }
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/**
 * The value as the schema gives it. `where` names the file.
 * @throws ModelError naming the first field at fault, what it must be, and what it is
 */
export function checked<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  const found = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], value);
  const place = [where, ...path.slice(0, -1).map(String)].join(": ");
  if (path.length === 0) throw new ModelError(`${where}: expected ${message}, found ${shown(value)}`);
  const name = `"${String(path.at(-1))}"`;
  if (found === undefined) throw new ModelError(`${place}: ${name} is missing`);
  throw new ModelError(`${place}: ${name} must be ${message}, not ${shown(found)}`);
}

/** Throws an error about a field whose value is of the right type but does not fit the others. */
export function misfit(where: string, name: string, expected: string, value: unknown): never {
  throw new ModelError(`${where}: "${name}" must be ${expected}, not ${shown(value)}`);
}

/** The kinds of fields; each message says what the field must be. */
export const field = {
  /** An integer within bounds. */
  integer: (min: number, max: number) => {
    const error = `an integer from ${min} to ${max}`;
    return z.int({ error }).min(min, { error }).max(max, { error });
  },
  /** A finite number within bounds. */
  number: (min: number, max: number) => {
    const error = `a number from ${min} to ${max}`;
    return z.number({ error }).min(min, { error }).max(max, { error });
  },
  /** True or false. */
  boolean: z.boolean({ error: "true or false" }),
  /** A string. */
  string: z.string({ error: "a string" }),
  /** A list of at most `max` entries. */
  list: <T extends z.ZodType>(entry: T, max: number) => {
    const error = `a list of at most ${max} entries`;
    return z.array(entry, { error }).max(max, { error });
  },
  /** An object; fields that the shape does not name are left out. */
  object: <T extends z.ZodRawShape>(shape: T) => z.object(shape, { error: "a JSON object" }),
} as const;

/** The field may be missing, or null, which means the same. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}
