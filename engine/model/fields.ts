// Reading fields of an untrusted JSON object: every value has its type and range checked, and an error names the
// file and the field. Values are shown shortened, so that a hostile file cannot flood the terminal.

import { ModelError, shown } from "./json.ts";

/** One JSON object of a file, with checked access to its fields. A field that is null counts as absent. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #where: string;

  /** `where` names the file (and the place in it), for errors. Throws unless `value` is an object. */
  constructor(value: unknown, where: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ModelError(`${where}: expected a JSON object, found ${shown(value)}`);
    }
    this.#values = value as Record<string, unknown>;
    this.#where = where;
  }

  /** The file, and the way to this object in it. */
  get where(): string {
    return this.#where;
  }

  /** Whether the field is there and not null. */
  has(name: string): boolean {
    return Object.hasOwn(this.#values, name) && this.#values[name] !== null;
  }

  /** Whether the field is there and says null. */
  isNull(name: string): boolean {
    return Object.hasOwn(this.#values, name) && this.#values[name] === null;
  }

  /** The value as it stands in the file. */
  raw(name: string): unknown {
    return this.has(name) ? this.#values[name] : undefined;
  }

  /** Throws an error about this field. */
  fail(name: string, expected: string): never {
    throw new ModelError(`${this.#where}: "${name}" must be ${expected}, not ${shown(this.raw(name))}`);
  }

  /** An integer within bounds; `fallback` where the field is absent, an error where there is none. */
  integer(name: string, min: number, max: number, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) throw new ModelError(`${this.#where}: "${name}" is missing`);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min || value > max) {
      this.fail(name, `an integer from ${min} to ${max}`);
    }
    return value;
  }

  /** A finite number within bounds. */
  number(name: string, min: number, max: number, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) throw new ModelError(`${this.#where}: "${name}" is missing`);
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      this.fail(name, `a number from ${min} to ${max}`);
    }
    return value;
  }

  /** A boolean; `fallback` when absent. */
  boolean(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "boolean") this.fail(name, "true or false");
    return value;
  }

  /** A string; undefined when absent. */
  string(name: string): string | undefined {
    const value = this.raw(name);
    if (value !== undefined && typeof value !== "string") this.fail(name, "a string");
    return value;
  }

  /** A list of at most `max` entries; absent is undefined. */
  list(name: string, max: number): readonly unknown[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length > max) this.fail(name, `a list of at most ${max} entries`);
    return value;
  }

  /** An object's fields; undefined when absent. */
  object(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : new Fields(value, `${this.#where}: ${name}`);
  }
}
