/** Keywords for arrays and objects. */
import { ecmaRegex } from "../regex/ecma.ts";
import { below, isObject, type Json } from "./document.ts";
import type { SchemaReader } from "./reader.ts";
import type { ArrayShape, Clause, Contains, ObjectShape, Shape } from "./shape.ts";

/** The arrays that the keywords for arrays allow; undefined where there are none. */
export function arrayKeywords(reader: SchemaReader): ArrayShape | undefined {
  const schema = reader.schema;
  const { expressions, shapes } = reader.context;
  const keywords = [
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "contains",
    "uniqueItems",
    "unevaluatedItems",
  ];
  if (!keywords.some((keyword) => keyword in schema)) return undefined;
  const [min, max] = [reader.count("minItems", 0), reader.count("maxItems", Infinity)];
  const tuple = Array.isArray(schema["items"]) ? "items" : reader.place.draft > 7 ? "prefixItems" : undefined;
  const list = tuple === undefined ? undefined : schema[tuple];
  const prefix = Array.isArray(list) ? list.map((_, i) => reader.sub(tuple!, i)) : [];
  const last = tuple === "items" ? "additionalItems" : "items";
  let rest = last in schema ? reader.sub(last) : expressions.true;
  if ("unevaluatedItems" in schema && !(last in schema)) {
    plainly(reader, "unevaluatedItems", ["contains"]);
    rest = reader.sub("unevaluatedItems");
  }
  if (
    schema["uniqueItems"] === true && Math.min(max, rest === expressions.false ? prefix.length : max) > 1
  ) {
    throw reader.error("unsupported", "uniqueItems", "is not enforced, unless there is at most one item");
  }
  const contains: Contains[] = [];
  if ("contains" in schema) {
    const counted = reader.place.draft > 7;
    contains.push({
      item: reader.sub("contains"),
      min: counted ? reader.count("minContains", 1) : 1,
      max: counted ? reader.count("maxContains", Infinity) : Infinity,
      from: 0,
    });
  }
  return { ...shapes.anyArray, prefix, rest, min, max, contains };
}

/** The objects that the keywords for objects allow; undefined where there are none. */
export function objectKeywords(reader: SchemaReader): ObjectShape | undefined {
  const schema = reader.schema;
  const { expressions, regex, shapes, maxDepth } = reader.context;
  const keywords = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
    "minProperties",
    "maxProperties",
    "propertyNames",
    "unevaluatedProperties",
  ];
  if (!keywords.some((keyword) => keyword in schema)) return undefined;
  const entries = (keyword: string): readonly string[] => {
    const map = schema[keyword];
    if (map === undefined) return [];
    if (!isObject(map)) throw reader.error("invalid", keyword, "must be an object of schemas");
    return Object.keys(map);
  };
  const properties = new Map(
    entries("properties").map((name) => [name, reader.sub("properties", name)] as const),
  );
  const patterns = entries("patternProperties").map((pattern) => ({
    names: ecmaRegex(regex, pattern, {
      anchored: false,
      path: below(reader.place.path, "patternProperties", pattern),
      maxDepth,
    }),
    value: reader.sub("patternProperties", pattern),
  }));
  let additional = expressions.true;
  if ("additionalProperties" in schema) additional = reader.sub("additionalProperties");
  else if ("unevaluatedProperties" in schema) {
    plainly(reader, "unevaluatedProperties", []);
    additional = reader.sub("unevaluatedProperties");
  }
  const clause: Clause = { properties, patterns, additional };
  const trivial = properties.size === 0 && patterns.length === 0 && additional === expressions.true;
  return {
    clauses: trivial ? [] : [clause],
    required: names(reader, "required", schema["required"]),
    min: reader.count("minProperties", 0),
    max: reader.count("maxProperties", Infinity),
    names: "propertyNames" in schema
      ? reader.context.shapeOf(reader.sub("propertyNames")).strings
      : regex.all,
    some: shapes.anyObject.some,
  };
}

function names(reader: SchemaReader, keyword: string, list: Json | undefined): ReadonlySet<string> {
  if (list === undefined) return new Set();
  // Draft 3 has a boolean beside each property; where it says nothing, nothing is lost.
  if (list === false && keyword === "required") return new Set();
  if (!Array.isArray(list) || !list.every((name) => typeof name === "string")) {
    throw reader.error("invalid", keyword, "must be a list of names");
  }
  return new Set(list as readonly string[]);
}

// `unevaluated…` is `additional…` where nothing else in the schema evaluates properties or items.
function plainly(reader: SchemaReader, keyword: string, also: readonly string[]): void {
  const others = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "not",
    "dependentSchemas",
    "dependencies",
    ...also,
  ];
  const found = others.find((other) => other in reader.schema);
  if (found !== undefined) throw reader.error("unsupported", keyword, `beside ${found} is not supported`);
}

/** What the keywords about properties that depend on others allow, each by itself. */
export function dependencyKeywords(reader: SchemaReader): readonly Shape[] {
  const { shapes, expressions } = reader.context;
  const out: Shape[] = [];
  const none: Clause["patterns"] = [];
  for (const keyword of ["dependencies", "dependentRequired", "dependentSchemas"]) {
    const map = reader.schema[keyword];
    if (map === undefined || (keyword !== "dependencies" && reader.place.draft <= 7)) continue;
    if (!isObject(map)) throw reader.error("invalid", keyword, "must be an object");
    for (const [name, needs] of Object.entries(map)) {
      const properties = new Map([[name, expressions.false]]);
      const lacking: ObjectShape = {
        ...shapes.anyObject,
        clauses: [{ properties, patterns: none, additional: expressions.true }],
      };
      const without: Shape = { ...shapes.everything, objects: [lacking] };
      if (Array.isArray(needs) || typeof needs === "string") {
        const required = new Set([name, ...names(reader, keyword, Array.isArray(needs) ? needs : [needs])]);
        if (required.size === 1) continue;
        out.push({ ...without, objects: [lacking, { ...shapes.anyObject, required }] });
      } else {
        const having: Shape = {
          ...shapes.nothing,
          objects: [{ ...shapes.anyObject, required: new Set([name]) }],
        };
        const met = shapes.meet(having, reader.context.shapeOf(reader.sub(keyword, name)));
        out.push(shapes.join([without, met]));
      }
    }
  }
  return out;
}
