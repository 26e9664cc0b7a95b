/**
 * The keywords of JSON Schema, drafts 4 to 2020-12, as shapes. A keyword that is known and not enforced is refused by
 * name; a keyword that no draft knows is an annotation, as the specification says.
 */
import { GrammarError } from "../errors.ts";
import { formatTexts, INTEGER_FORMATS } from "../json/formats.ts";
import type { Numbers } from "../json/numbers.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import { ecmaRegex } from "../regex/ecma.ts";
import type { RegexNode } from "../regex/node.ts";
import {
  below,
  isObject,
  type Json,
  type JsonObject,
  type Location,
  type SchemaDocument,
} from "./document.ts";
import type { Expression, Expressions } from "./expression.ts";
import type { ArrayShape, Clause, Contains, ObjectShape, Shape, Shapes } from "./shape.ts";

/** What reading keywords needs. */
export interface KeywordContext {
  readonly document: SchemaDocument;
  readonly regex: RegexBuilder;
  readonly numbers: Numbers;
  readonly expressions: Expressions;
  readonly shapes: Shapes;
  readonly maxDepth: number;
  /** Formats that are not known: refused, or annotations as the specification has it. */
  readonly unknownFormats: "refuse" | "ignore";
  shapeOf(expression: Expression): Shape;
  /** The values that exactly one of the shapes allows. */
  exactlyOne(shapes: readonly Shape[], path: string): Shape;
}

/** Keywords that schemas may be refused for beside those that are enforced. */
const REFUSED: ReadonlySet<string> = new Set([
  "$dynamicRef",
  "$recursiveRef",
  "extends",
  "disallow",
  "divisibleBy",
]);

/** One schema's keywords. */
export class Keywords {
  readonly #context: KeywordContext;
  readonly #place: Location;
  readonly #schema: JsonObject;

  constructor(context: KeywordContext, place: Location, schema: JsonObject) {
    this.#context = context;
    this.#place = place;
    this.#schema = schema;
  }

  /** What the schema allows. */
  shape(): Shape {
    const { shapes, expressions } = this.#context;
    const schema = this.#schema;
    const modern = this.#place.draft > 7;
    if (!modern && typeof schema["$ref"] === "string") return this.#reference(schema["$ref"]);
    for (const key of Object.keys(schema)) {
      if (REFUSED.has(key)) throw this.#error("unsupported", key, "is not supported");
    }
    let shape = this.#types();
    const meet = (other: Shape): void => void (shape = shapes.meet(shape, other));
    if ("const" in schema) meet(this.#constant(schema["const"]!));
    if ("enum" in schema) meet(this.#enum());
    shape = { ...shape, numbers: this.#numeric(shape), strings: this.#strings(shape) };
    const [array, object] = [this.#array(), this.#object()];
    if (array !== undefined) meet({ ...shapes.everything, arrays: [array] });
    if (object !== undefined) meet({ ...shapes.everything, objects: [object] });
    if (typeof schema["$ref"] === "string") meet(this.#reference(schema["$ref"]));
    for (const part of this.#list("allOf")) meet(this.#context.shapeOf(part));
    if ("anyOf" in schema) meet(this.#context.shapeOf(expressions.or(this.#list("anyOf"))));
    if ("oneOf" in schema) {
      const met = this.#list("oneOf").map((part) => shapes.meet(shape, this.#context.shapeOf(part)));
      shape = this.#context.exactlyOne(met, below(this.#place.path, "oneOf"));
    }
    if ("not" in schema) meet(this.#context.shapeOf(expressions.not(this.#sub("not"))));
    if ("if" in schema && ("then" in schema || "else" in schema)) {
      const test = this.#sub("if");
      meet(this.#context.shapeOf(expressions.or([
        expressions.and([test, "then" in schema ? this.#sub("then") : expressions.true]),
        expressions.and([expressions.not(test), "else" in schema ? this.#sub("else") : expressions.true]),
      ])));
    }
    for (const other of this.#dependencies()) meet(other);
    return shape;
  }

  #error(kind: "unsupported" | "invalid", keyword: string, what: string): GrammarError {
    return new GrammarError(kind, keyword, below(this.#place.path, keyword), what);
  }

  #sub(...keys: (string | number)[]): Expression {
    let value: Json = this.#schema;
    for (const key of keys) value = (value as Record<string | number, Json>)[key]!;
    if (!isObject(value) && typeof value !== "boolean") {
      throw this.#error("invalid", String(keys[0]), "a schema is an object or a boolean");
    }
    return this.#context.expressions.schema(this.#context.document.at(this.#place, value, ...keys));
  }

  #list(keyword: string): readonly Expression[] {
    const list = this.#schema[keyword];
    if (list === undefined) return [];
    if (!Array.isArray(list) || list.length === 0) {
      throw this.#error("invalid", keyword, "must be a list of schemas that is not empty");
    }
    return list.map((_, i) => this.#sub(keyword, i));
  }

  #count(keyword: string, otherwise: number): number {
    const value = this.#schema[keyword];
    if (value === undefined) return otherwise;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
      throw this.#error("invalid", keyword, "must be a whole number that is not negative");
    }
    return value;
  }

  #reference(reference: string): Shape {
    const { document, expressions } = this.#context;
    return this.#context.shapeOf(expressions.schema(document.resolve(reference, this.#place)));
  }

  #types(): Shape {
    const { shapes, numbers } = this.#context;
    const type = this.#schema["type"];
    if (type === undefined) return shapes.everything;
    const every = shapes.everything;
    const parts = (Array.isArray(type) ? type as readonly Json[] : [type]).map((name): Shape => {
      switch (name) {
        case "null":
          return { ...shapes.nothing, null: true };
        case "boolean":
          return { ...shapes.nothing, false: true, true: true };
        case "number":
          return { ...shapes.nothing, numbers: every.numbers };
        case "integer":
          return { ...shapes.nothing, numbers: numbers.integers };
        case "string":
          return { ...shapes.nothing, strings: every.strings };
        case "array":
          return { ...shapes.nothing, arrays: every.arrays };
        case "object":
          return { ...shapes.nothing, objects: every.objects };
        default:
          throw this.#error("invalid", "type", `${JSON.stringify(name)} is no type`);
      }
    });
    return parts.length === 0 ? shapes.nothing : shapes.join(parts);
  }

  #constant(value: Json): Shape {
    return this.#context.shapeOf(this.#context.expressions.constant(value));
  }

  #enum(): Shape {
    const { shapes, regex } = this.#context;
    const values = this.#schema["enum"];
    if (!Array.isArray(values)) throw this.#error("invalid", "enum", "must be a list of values");
    const texts = (values as readonly Json[]).filter((value) => typeof value === "string");
    const others = (values as readonly Json[]).filter((value) => typeof value !== "string");
    return shapes.join([
      { ...shapes.nothing, strings: regex.literals(texts) },
      ...others.map((value) => this.#constant(value)),
    ]);
  }

  #numeric(shape: Shape): Shape["numbers"] {
    const { numbers } = this.#context;
    const schema = this.#schema;
    let set = shape.numbers;
    const value = (keyword: string): number | undefined => {
      const given = schema[keyword];
      if (given === undefined || typeof given === "boolean") return undefined;
      if (typeof given !== "number" || !Number.isFinite(given)) {
        throw this.#error("invalid", keyword, "must be a number");
      }
      return given;
    };
    const limit = (keyword: string, exclusive: boolean, make: "atLeast" | "atMost"): void => {
      const bound = value(keyword);
      if (bound !== undefined) set = numbers.meet(set, numbers[make](bound, exclusive));
    };
    // In draft 4, exclusiveMinimum is a boolean that is about minimum.
    limit("minimum", schema["exclusiveMinimum"] === true, "atLeast");
    limit("maximum", schema["exclusiveMaximum"] === true, "atMost");
    limit("exclusiveMinimum", true, "atLeast");
    limit("exclusiveMaximum", true, "atMost");
    const divisor = value("multipleOf");
    if (divisor !== undefined) {
      if (divisor <= 0) throw this.#error("invalid", "multipleOf", "must be greater than 0");
      const multiples = numbers.multipleOf(divisor);
      if (multiples === undefined) {
        throw this.#error("unsupported", "multipleOf", `${divisor} has too many digits`);
      }
      set = numbers.meet(set, multiples);
    }
    const range = INTEGER_FORMATS.get(String(schema["format"]));
    if (range !== undefined) {
      set = numbers.meet(set, numbers.integers);
      set = numbers.meet(
        set,
        numbers.meet(numbers.atLeast(range[0], false), numbers.atMost(range[1], false)),
      );
    }
    return set;
  }

  #strings(shape: Shape): RegexNode {
    const { regex, maxDepth } = this.#context;
    const schema = this.#schema;
    const parts = [shape.strings];
    const [min, max] = [this.#count("minLength", 0), this.#count("maxLength", Infinity)];
    if (min > 0 || max < Infinity) parts.push(regex.loop(regex.anyChar, min, max));
    const pattern = schema["pattern"];
    if (pattern !== undefined) {
      if (typeof pattern !== "string") throw this.#error("invalid", "pattern", "must be a string");
      const path = below(this.#place.path, "pattern");
      parts.push(ecmaRegex(regex, pattern, { anchored: false, path, maxDepth }));
    }
    const format = schema["format"];
    if (typeof format === "string" && shape.strings !== regex.none) {
      try {
        const texts = formatTexts(regex, format, below(this.#place.path, "format"));
        if (texts !== undefined) parts.push(texts);
      } catch (error) {
        if (!(error instanceof GrammarError) || this.#context.unknownFormats === "refuse") throw error;
      }
    }
    return parts.length === 1 ? shape.strings : regex.and(parts);
  }

  #array(): ArrayShape | undefined {
    const schema = this.#schema;
    const { expressions, shapes } = this.#context;
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
    const [min, max] = [this.#count("minItems", 0), this.#count("maxItems", Infinity)];
    const tuple = Array.isArray(schema["items"])
      ? "items"
      : this.#place.draft > 7
      ? "prefixItems"
      : undefined;
    const list = tuple === undefined ? undefined : schema[tuple];
    const prefix = Array.isArray(list) ? list.map((_, i) => this.#sub(tuple!, i)) : [];
    const last = tuple === "items" ? "additionalItems" : "items";
    let rest = last in schema ? this.#sub(last) : expressions.true;
    if ("unevaluatedItems" in schema && !(last in schema)) {
      this.#plainly("unevaluatedItems", ["contains"]);
      rest = this.#sub("unevaluatedItems");
    }
    if (
      schema["uniqueItems"] === true && Math.min(max, rest === expressions.false ? prefix.length : max) > 1
    ) {
      throw this.#error("unsupported", "uniqueItems", "is not enforced, unless there is at most one item");
    }
    const contains: Contains[] = [];
    if ("contains" in schema) {
      const counted = this.#place.draft > 7;
      contains.push({
        item: this.#sub("contains"),
        min: counted ? this.#count("minContains", 1) : 1,
        max: counted ? this.#count("maxContains", Infinity) : Infinity,
        from: 0,
      });
    }
    return { ...shapes.anyArray, prefix, rest, min, max, contains };
  }

  #object(): ObjectShape | undefined {
    const schema = this.#schema;
    const { expressions, regex, shapes, maxDepth } = this.#context;
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
      if (!isObject(map)) throw this.#error("invalid", keyword, "must be an object of schemas");
      return Object.keys(map);
    };
    const properties = new Map(
      entries("properties").map((name) => [name, this.#sub("properties", name)] as const),
    );
    const patterns = entries("patternProperties").map((pattern) => ({
      names: ecmaRegex(regex, pattern, {
        anchored: false,
        path: below(this.#place.path, "patternProperties", pattern),
        maxDepth,
      }),
      value: this.#sub("patternProperties", pattern),
    }));
    let additional = expressions.true;
    if ("additionalProperties" in schema) additional = this.#sub("additionalProperties");
    else if ("unevaluatedProperties" in schema) {
      this.#plainly("unevaluatedProperties", []);
      additional = this.#sub("unevaluatedProperties");
    }
    const clause: Clause = { properties, patterns, additional };
    const trivial = properties.size === 0 && patterns.length === 0 && additional === expressions.true;
    return {
      clauses: trivial ? [] : [clause],
      required: this.#names("required", schema["required"]),
      min: this.#count("minProperties", 0),
      max: this.#count("maxProperties", Infinity),
      names: "propertyNames" in schema
        ? this.#context.shapeOf(this.#sub("propertyNames")).strings
        : regex.all,
      some: shapes.anyObject.some,
    };
  }

  #names(keyword: string, list: Json | undefined): ReadonlySet<string> {
    if (list === undefined) return new Set();
    // Draft 3 has a boolean beside each property; where it says nothing, nothing is lost.
    if (list === false && keyword === "required") return new Set();
    if (!Array.isArray(list) || !list.every((name) => typeof name === "string")) {
      throw this.#error("invalid", keyword, "must be a list of names");
    }
    return new Set(list as readonly string[]);
  }

  // `unevaluated…` is `additional…` where nothing else in the schema evaluates properties or items.
  #plainly(keyword: string, also: readonly string[]): void {
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
    const found = others.find((other) => other in this.#schema);
    if (found !== undefined) throw this.#error("unsupported", keyword, `beside ${found} is not supported`);
  }

  #dependencies(): readonly Shape[] {
    const { shapes, expressions } = this.#context;
    const out: Shape[] = [];
    const none: Clause["patterns"] = [];
    for (const keyword of ["dependencies", "dependentRequired", "dependentSchemas"]) {
      const map = this.#schema[keyword];
      if (map === undefined || (keyword !== "dependencies" && this.#place.draft <= 7)) continue;
      if (!isObject(map)) throw this.#error("invalid", keyword, "must be an object");
      for (const [name, needs] of Object.entries(map)) {
        const properties = new Map([[name, expressions.false]]);
        const lacking: ObjectShape = {
          ...shapes.anyObject,
          clauses: [{ properties, patterns: none, additional: expressions.true }],
        };
        const without: Shape = { ...shapes.everything, objects: [lacking] };
        if (Array.isArray(needs) || typeof needs === "string") {
          const required = new Set([name, ...this.#names(keyword, Array.isArray(needs) ? needs : [needs])]);
          if (required.size === 1) continue;
          out.push({ ...without, objects: [lacking, { ...shapes.anyObject, required }] });
        } else {
          const having: Shape = {
            ...shapes.nothing,
            objects: [{ ...shapes.anyObject, required: new Set([name]) }],
          };
          const met = shapes.meet(having, this.#context.shapeOf(this.#sub(keyword, name)));
          out.push(shapes.join([without, met]));
        }
      }
    }
    return out;
  }
}
