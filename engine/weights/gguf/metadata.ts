// Checked access to a GGUF file's metadata: a value has its type, and an error names file and key.

import { ModelError, shown } from "../../model/json.ts";
import type { GgufHeader, GgufValue } from "./header.ts";

/** The metadata of one file. */
export class Metadata {
  readonly #values: GgufHeader["metadata"];
  readonly #path: string;

  /** `path` names the file in errors. */
  constructor(header: GgufHeader, path: string) {
    this.#values = header.metadata;
    this.#path = path;
  }

  /** A number; undefined where the key is missing. */
  number(key: string): number | undefined {
    return this.#typed(key, "a number", (value) => typeof value === "number" ? value : undefined);
  }

  /** A number, or the first of a list that says the same for every layer. */
  perLayer(key: string): number | undefined {
    return this.#typed(key, "a number, the same for every layer", (value) => {
      if (typeof value === "number") return value;
      const list = typeof value === "object" ? [...value] : [];
      return list.length > 0 && list.every((n) => n === list[0]) && typeof list[0] === "number"
        ? list[0]
        : undefined;
    });
  }

  /** A truth value. */
  boolean(key: string): boolean | undefined {
    return this.#typed(key, "true or false", (value) => typeof value === "boolean" ? value : undefined);
  }

  /** A text. */
  string(key: string): string | undefined {
    return this.#typed(key, "a string", (value) => typeof value === "string" ? value : undefined);
  }

  /** A list of texts. */
  strings(key: string): readonly string[] | undefined {
    return this.#typed(key, "a list of strings", (value) => {
      const isList = Array.isArray(value) && value.every((entry) => typeof entry === "string");
      return isList ? value as string[] : undefined;
    });
  }

  /** A list of numbers. */
  numbers(key: string): ArrayLike<number> | undefined {
    return this.#typed(key, "a list of numbers", (value) => {
      if (value instanceof Float32Array || value instanceof Int32Array) return value;
      const isList = Array.isArray(value) && value.every((entry) => typeof entry === "number");
      return isList ? value as number[] : undefined;
    });
  }

  /** An error about a key. */
  error(key: string, expected: string): ModelError {
    return new ModelError(`${this.#path}: "${key}" must be ${expected}, not ${shown(this.#values.get(key))}`);
  }

  /** What `of` gives. @throws ModelError where the key is missing */
  required<T>(key: string, of: (key: string) => T | undefined): T {
    const value = of.call(this, key);
    if (value === undefined) throw new ModelError(`${this.#path}: "${key}" is missing`);
    return value;
  }

  #typed<T>(key: string, expected: string, of: (value: GgufValue) => T | undefined): T | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    const typed = of(value);
    if (typed === undefined) throw this.error(key, expected);
    return typed;
  }
}
