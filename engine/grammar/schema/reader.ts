/** Reading one schema's keywords: what they need, and the checks that they share. */
import { GrammarError } from "../errors.ts";
import type { Numbers } from "../json/numbers.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import {
  below,
  isObject,
  type Json,
  type JsonObject,
  type Location,
  type SchemaDocument,
} from "./document.ts";
import type { Expressions } from "./expression.ts";
import type { Expression, Shape } from "./shape.ts";
import type { Shapes } from "./shapes.ts";

/** What reading keywords needs. */
export interface KeywordContext {
  /** Where references lead. */
  readonly document: SchemaDocument;
  /** Builds the languages. */
  readonly regex: RegexBuilder;
  /** Builds sets of numbers. */
  readonly numbers: Numbers;
  /** Makes expressions. */
  readonly expressions: Expressions;
  /** Combines shapes. */
  readonly shapes: Shapes;
  /** Nesting of expressions. */
  readonly maxDepth: number;
  /** Formats that are not known: refused, or annotations as the specification has it. */
  readonly unknownFormats: "refuse" | "ignore";
  /** What an expression allows. */
  shapeOf(expression: Expression): Shape;
  /** The values that exactly one of the shapes allows. */
  exactlyOne(shapes: readonly Shape[], path: string): Shape;
}

/** One schema. */
export class SchemaReader {
  /** What reading needs. */
  readonly context: KeywordContext;
  /** Where the schema lies. */
  readonly place: Location;
  /** The schema. */
  readonly schema: JsonObject;

  /** Reads one schema. */
  constructor(context: KeywordContext, place: Location, schema: JsonObject) {
    this.context = context;
    this.place = place;
    this.schema = schema;
  }

  /** A refusal of one of the schema's keywords. */
  error(kind: "unsupported" | "invalid", keyword: string, what: string): GrammarError {
    return new GrammarError(kind, keyword, below(this.place.path, keyword), what);
  }

  /** The subschema below some keys. */
  sub(...keys: (string | number)[]): Expression {
    let value: Json = this.schema;
    for (const key of keys) value = (value as Record<string | number, Json>)[key]!;
    if (!isObject(value) && typeof value !== "boolean") {
      throw this.error("invalid", String(keys[0]), "a schema is an object or a boolean");
    }
    return this.context.expressions.schema(this.context.document.at(this.place, value, ...keys));
  }

  /** A keyword's list of subschemas; none where it is not there. */
  list(keyword: string): readonly Expression[] {
    const list = this.schema[keyword];
    if (list === undefined) return [];
    if (!Array.isArray(list) || list.length === 0) {
      throw this.error("invalid", keyword, "must be a list of schemas that is not empty");
    }
    return list.map((_, i) => this.sub(keyword, i));
  }

  /** A keyword that is a count. */
  count(keyword: string, otherwise: number): number {
    const value = this.schema[keyword];
    if (value === undefined) return otherwise;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
      throw this.error("invalid", keyword, "must be a whole number that is not negative");
    }
    return value;
  }
}
