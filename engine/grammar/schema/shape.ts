/**
 * What a schema allows, type by type. The types are disjoint, so "and", "or" and "not" of schemas are done for each by
 * itself: on regular languages for strings and numbers, and on lists of alternatives for arrays and objects, whose
 * parts are expressions over schemas that are looked at only when a text gets there. That is what lets recursive
 * schemas be merged.
 */
import type { NumberSet } from "../json/numbers.ts";
import type { RegexNode } from "../regex/node.ts";
import type { Json, Location } from "./document.ts";

/** Some of the values, by type. */
export interface Shape {
  /** Whether null is allowed. */
  readonly null: boolean;
  /** Whether false is allowed. */
  readonly false: boolean;
  /** Whether true is allowed. */
  readonly true: boolean;
  /** The numbers. */
  readonly numbers: NumberSet;
  /** Of the strings' contents, not of their JSON text. */
  readonly strings: RegexNode;
  /** Alternatives; none: no array. */
  readonly arrays: readonly ArrayShape[];
  /** Alternatives; none: no object. */
  readonly objects: readonly ObjectShape[];
}

/** Some arrays: items by position, then by `rest`. */
export interface ArrayShape {
  /** The first items. */
  readonly prefix: readonly Expression[];
  /** The items after them. */
  readonly rest: Expression;
  /** At least so many. */
  readonly min: number;
  /** At most so many. */
  readonly max: number;
  /** Items that there have to be. */
  readonly contains: readonly Contains[];
}

/** How many items, from a position on, match an expression. */
export interface Contains {
  /** What is counted. */
  readonly item: Expression;
  /** At least so many. */
  readonly min: number;
  /** At most so many. */
  readonly max: number;
  /** The first position that counts. */
  readonly from: number;
}

/** Some objects: all clauses hold at once. */
export interface ObjectShape {
  /** What holds for the values by their names. */
  readonly clauses: readonly Clause[];
  /** Names that have to be there. */
  readonly required: ReadonlySet<string>;
  /** At least so many. */
  readonly min: number;
  /** At most so many. */
  readonly max: number;
  /** Names that properties may have. */
  readonly names: RegexNode;
  /** For each, there is a property with such a name. */
  readonly some: readonly RegexNode[];
}

/** `properties`, `patternProperties` and `additionalProperties` of one schema: the last is about the others' rest. */
export interface Clause {
  /** Values by name. */
  readonly properties: ReadonlyMap<string, Expression>;
  /** Values by the languages of names. */
  readonly patterns: readonly { readonly names: RegexNode; readonly value: Expression }[];
  /** Values of all other names. */
  readonly additional: Expression;
}

/** One expression. Made by `Expressions` only. */
export interface Expression {
  /** For the keys of others. */
  readonly id: number;
  /** What it is. */
  readonly kind: "true" | "false" | "schema" | "constant" | "and" | "or" | "not";
  /** What it is made of. */
  readonly children: readonly Expression[];
  /** Of a schema. */
  readonly location: Location | undefined;
  /** Of a constant. */
  readonly value: Json | undefined;
  /** Memo: what it allows, whether that is being found out, and whether it is nothing. */
  shape: Shape | undefined;
  /** Whether the shape is being found out. */
  busy: boolean;
  /** Whether it is nothing, once that is known. */
  empty: boolean | undefined;
}
