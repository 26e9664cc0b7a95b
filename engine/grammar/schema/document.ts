/**
 * Where schemas lie in a document: JSON pointers, `$id`, `$anchor` and `$ref` within it. References to other documents
 * are refused; nothing is ever loaded.
 */
import { GrammarError } from "../errors.ts";

/** A JSON value as parsed. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** A JSON object as parsed. */
export type JsonObject = { readonly [key: string]: Json };

/** A schema and where it was found. */
export interface Location {
  /** The schema itself. */
  readonly value: Json;
  /** JSON pointer from the document's root, with a leading "#". */
  readonly path: string;
  /** What references are relative to. */
  readonly base: string;
  /** The year or number of the draft that it is written in. */
  readonly draft: number;
}

const ROOT = "schema:/root";
const MAPS = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
const LISTS = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const SINGLE = [
  "items",
  "additionalItems",
  "additionalProperties",
  "contains",
  "propertyNames",
  "not",
  "if",
  "then",
  "else",
  "unevaluatedItems",
  "unevaluatedProperties",
];

/** Whether a value is a JSON object. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One step further in a JSON pointer. */
export function below(path: string, ...keys: readonly (string | number)[]): string {
  return path + keys.map((key) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** A schema document with its identifiers found. */
export class SchemaDocument {
  /** The whole document. */
  readonly root: Location;
  readonly #resources = new Map<string, Location>();
  readonly #anchors = new Map<string, Location>();
  readonly #known = new Map<JsonObject, Location>();

  /** @throws GrammarError where it is nested deeper than `maxDepth` */
  /** Finds the identifiers. @throws GrammarError where it is nested deeper than `maxDepth` allows */
  constructor(value: Json, maxDepth: number) {
    checkDepth(value, maxDepth);
    const draft = isObject(value) ? draftOf(value["$schema"], 2020) : 2020;
    this.root = { value, path: "#", base: ROOT, draft };
    this.#resources.set(ROOT, this.root);
    this.#scan(this.root);
  }

  /** The place of a subschema, below the place of the schema that has it. */
  at(parent: Location, value: Json, ...keys: readonly (string | number)[]): Location {
    const known = isObject(value) ? this.#known.get(value) : undefined;
    return known ?? { value, path: below(parent.path, ...keys), base: parent.base, draft: parent.draft };
  }

  /** What a `$ref` refers to. @throws GrammarError where that is not in the document */
  resolve(reference: string, from: Location): Location {
    const fail = (what: string): GrammarError =>
      new GrammarError(
        "unsupported",
        "$ref",
        below(from.path, "$ref"),
        `${JSON.stringify(reference)} ${what}`,
      );
    const [uri = "", fragment = ""] = splitFragment(resolveUri(reference, from.base));
    const anchored = this.#anchors.get(`${uri}#${fragment}`);
    if (anchored !== undefined) return anchored;
    const resource = this.#resources.get(uri);
    if (resource === undefined) throw fail("is not in this document; other documents are not loaded");
    if (fragment === "") return resource;
    if (!fragment.startsWith("/")) throw fail("names an anchor that is not in this document");
    let place = resource;
    for (const raw of fragment.slice(1).split("/")) {
      const key = unescape(raw);
      const { value } = place;
      const inner = Array.isArray(value)
        ? (/^\d+$/.test(key) ? value[Number(key)] as Json | undefined : undefined)
        : isObject(value) && Object.hasOwn(value, key)
        ? value[key]
        : undefined;
      if (inner === undefined) throw fail("points to nothing");
      place = this.at(place, inner, key);
    }
    return place;
  }

  #scan(place: Location): void {
    const { value } = place;
    if (!isObject(value) || this.#known.has(value)) return;
    const draft = draftOf(value["$schema"], place.draft);
    let base = place.base;
    const id = draft <= 4 ? value["id"] ?? value["$id"] : value["$id"];
    const hidden = draft <= 7 && value["$ref"] !== undefined; // siblings of $ref are not looked at
    if (typeof id === "string" && !hidden) {
      const [uri = "", fragment = ""] = splitFragment(resolveUri(id, base));
      if (fragment !== "") {
        this.#anchors.set(`${uri}#${fragment}`, { value, path: place.path, base: uri, draft });
      } else base = uri;
    }
    const here: Location = { value, path: place.path, base, draft };
    this.#known.set(value, here);
    if (base !== place.base || place.path === "#") {
      if (!this.#resources.has(base) || place.path === "#") this.#resources.set(base, here);
      if (place.path === "#") this.#resources.set(ROOT, here);
    }
    for (const key of ["$anchor", "$dynamicAnchor"]) {
      const anchor = value[key];
      if (typeof anchor === "string") this.#anchors.set(`${base}#${anchor}`, here);
    }
    const child = (inner: Json | undefined, ...keys: (string | number)[]): void => {
      if (isObject(inner)) this.#scan({ value: inner, path: below(place.path, ...keys), base, draft });
    };
    for (const key of SINGLE) child(value[key], key);
    for (const key of LISTS) {
      const list = value[key];
      if (Array.isArray(list)) list.forEach((inner: Json, i) => child(inner, key, i));
    }
    for (const key of MAPS) {
      const map = value[key];
      if (isObject(map)) { for (const [name, inner] of Object.entries(map)) child(inner, key, name); }
    }
  }
}

function draftOf(schema: Json | undefined, otherwise: number): number {
  if (typeof schema !== "string") return otherwise;
  const found = /draft-0?([3467])\b/.exec(schema) ?? /(2019|2020)-\d\d/.exec(schema);
  return found === null ? otherwise : Number(found[1]);
}

function resolveUri(reference: string, base: string): string {
  if (reference.startsWith("#")) return base.split("#", 1)[0] + reference;
  try {
    return new URL(reference, base.startsWith("urn:") ? ROOT : base).href;
  } catch {
    return reference;
  }
}

function splitFragment(uri: string): [string, string] {
  const at = uri.indexOf("#");
  if (at < 0) return [uri, ""];
  const fragment = uri.slice(at + 1);
  if (fragment.startsWith("/")) return [uri.slice(0, at), fragment]; // decoded key by key
  return [uri.slice(0, at), fragment];
}

function unescape(key: string): string {
  let decoded = key;
  try {
    decoded = decodeURIComponent(key);
  } catch { /* a lone % is itself */ }
  return decoded.replaceAll("~1", "/").replaceAll("~0", "~");
}

function checkDepth(value: Json, most: number): void {
  let level: Json[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > most * 2) {
      throw new GrammarError("limit", "schema", "", `is nested deeper than ${most * 2} values`);
    }
    const next: Json[] = [];
    for (const one of level) {
      if (typeof one === "object" && one !== null) {
        for (const inner of Object.values(one)) next.push(inner);
      }
    }
    level = next;
  }
}
