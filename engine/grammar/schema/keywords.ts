/**
 * The keywords of JSON Schema, drafts 4 to 2020-12, as shapes. A keyword that is known and not enforced is refused by
 * name; a keyword that no draft knows is an annotation, as the specification says.
 */
import { below, type Json, type JsonObject, type Location } from "./document.ts";
import { type KeywordContext, SchemaReader } from "./reader.ts";
import { numericKeywords, stringKeywords } from "./scalars.ts";
import type { Shape } from "./shape.ts";
import { arrayKeywords, dependencyKeywords, objectKeywords } from "./structures.ts";

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
  readonly #reader: SchemaReader;

  /** For one schema. */
  constructor(context: KeywordContext, place: Location, schema: JsonObject) {
    this.#reader = new SchemaReader(context, place, schema);
  }

  /** What the schema allows. */
  shape(): Shape {
    const { shapes, expressions } = this.#reader.context;
    const schema = this.#reader.schema;
    const modern = this.#reader.place.draft > 7;
    if (!modern && typeof schema["$ref"] === "string") return this.#reference(schema["$ref"]);
    for (const key of Object.keys(schema)) {
      if (REFUSED.has(key)) throw this.#reader.error("unsupported", key, "is not supported");
    }
    let shape = this.#types();
    const meet = (other: Shape): void => void (shape = shapes.meet(shape, other));
    if ("const" in schema) meet(this.#constant(schema["const"]!));
    if ("enum" in schema) meet(this.#enum());
    shape = {
      ...shape,
      numbers: numericKeywords(this.#reader, shape),
      strings: stringKeywords(this.#reader, shape),
    };
    const [array, object] = [arrayKeywords(this.#reader), objectKeywords(this.#reader)];
    if (array !== undefined) meet({ ...shapes.everything, arrays: [array] });
    if (object !== undefined) meet({ ...shapes.everything, objects: [object] });
    if (typeof schema["$ref"] === "string") meet(this.#reference(schema["$ref"]));
    for (const part of this.#reader.list("allOf")) meet(this.#reader.context.shapeOf(part));
    if ("anyOf" in schema) meet(this.#reader.context.shapeOf(expressions.or(this.#reader.list("anyOf"))));
    if ("oneOf" in schema) {
      const met = this.#reader.list("oneOf").map((part) =>
        shapes.meet(shape, this.#reader.context.shapeOf(part))
      );
      shape = this.#reader.context.exactlyOne(met, below(this.#reader.place.path, "oneOf"));
    }
    if ("not" in schema) meet(this.#reader.context.shapeOf(expressions.not(this.#reader.sub("not"))));
    if ("if" in schema && ("then" in schema || "else" in schema)) {
      const test = this.#reader.sub("if");
      meet(this.#reader.context.shapeOf(expressions.or([
        expressions.and([test, "then" in schema ? this.#reader.sub("then") : expressions.true]),
        expressions.and([
          expressions.not(test),
          "else" in schema ? this.#reader.sub("else") : expressions.true,
        ]),
      ])));
    }
    for (const other of dependencyKeywords(this.#reader)) meet(other);
    return shape;
  }

  #reference(reference: string): Shape {
    const { document, expressions } = this.#reader.context;
    return this.#reader.context.shapeOf(expressions.schema(document.resolve(reference, this.#reader.place)));
  }

  #types(): Shape {
    const { shapes, numbers } = this.#reader.context;
    const type = this.#reader.schema["type"];
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
          throw this.#reader.error("invalid", "type", `${JSON.stringify(name)} is no type`);
      }
    });
    return parts.length === 0 ? shapes.nothing : shapes.join(parts);
  }

  #constant(value: Json): Shape {
    return this.#reader.context.shapeOf(this.#reader.context.expressions.constant(value));
  }

  #enum(): Shape {
    const { shapes, regex } = this.#reader.context;
    const values = this.#reader.schema["enum"];
    if (!Array.isArray(values)) throw this.#reader.error("invalid", "enum", "must be a list of values");
    const texts = (values as readonly Json[]).filter((value) => typeof value === "string");
    const others = (values as readonly Json[]).filter((value) => typeof value !== "string");
    return shapes.join([
      { ...shapes.nothing, strings: regex.literals(texts) },
      ...others.map((value) => this.#constant(value)),
    ]);
  }
}
