/**
 * An object's property names as a partition: each declared name by itself, and classes of other names by which of the
 * patterns they match. All names of a class have the same values, so a name's class says all about it.
 */
import { GrammarError } from "../errors.ts";
import type { RegexNode } from "../regex/node.ts";
import type { Derivatives } from "../regex/derive.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import type { Expressions } from "./expression.ts";
import type { Expression, ObjectShape } from "./shape.ts";

/** Patterns of one object that can overlap: each doubles the classes. */
const MAX_PATTERNS = 8;
/** Names that one object can be asked for by their languages: a bit each. */
const MAX_SOME = 30;

/** What a partition needs of the compiler of schemas. */
export interface NameCompiler {
  /** Makes regular expressions. */
  readonly regex: RegexBuilder;
  /** Looks at them. */
  readonly derivatives: Derivatives;
  /** Makes expressions. */
  readonly expressions: Expressions;
  /** Whether an expression allows nothing. */
  empty(expression: Expression): boolean;
}

/** Names that are not declared, with what their values are. */
export interface NameClass {
  /** The names. */
  readonly names: RegexNode;
  /** What their values are. */
  readonly value: Expression;
  /** Which of the object's `some` a name of this class satisfies, as bits. */
  readonly satisfies: number;
}

/** An object's properties. */
export interface ObjectProperties {
  /** Names in the order in which they were declared. */
  readonly declared: readonly string[];
  /** The classes of other names. */
  readonly classes: readonly NameClass[];
  /** Whether there can be other names than the declared ones. */
  others(): boolean;
  /** What a declared name's value is. */
  value(name: string): Expression;
  /** Whether a property of this name can be there at all. */
  allows(name: string): boolean;
  /** Which of the object's `some` a declared name satisfies, as bits. */
  satisfies(name: string): number;
}

const known = new WeakMap<ObjectShape, ObjectProperties>();

/** The partition of an object's names. */
export function objectProperties(compiler: NameCompiler, object: ObjectShape): ObjectProperties {
  let found = known.get(object);
  if (found === undefined) known.set(object, found = new Partition(compiler, object));
  return found;
}

class Partition implements ObjectProperties {
  readonly declared: readonly string[];
  readonly classes: readonly NameClass[];
  readonly #compiler: NameCompiler;
  readonly #object: ObjectShape;
  readonly #values = new Map<string, Expression>();

  constructor(compiler: NameCompiler, object: ObjectShape) {
    this.#compiler = compiler;
    this.#object = object;
    if (object.some.length > MAX_SOME) {
      throw new GrammarError("limit", "not", "", "too many names are asked for");
    }
    const names = new Set<string>();
    for (const { properties } of object.clauses) for (const name of properties.keys()) names.add(name);
    for (const name of object.required) names.add(name);
    this.declared = [...names];
    this.classes = this.#classes();
  }

  // Not remembered, as `allows` is not: while emptiness is being found out, answers are provisional.
  others(): boolean {
    return this.classes.some((one) => !this.#compiler.empty(one.value));
  }

  value(name: string): Expression {
    let value = this.#values.get(name);
    if (value !== undefined) return value;
    const { derivatives, expressions } = this.#compiler;
    const parts: Expression[] = [];
    if (!derivatives.matches(this.#object.names, name)) parts.push(expressions.false);
    for (const { properties, patterns, additional } of this.#object.clauses) {
      const own = properties.get(name);
      const matched = patterns.filter((pattern) => derivatives.matches(pattern.names, name));
      if (own !== undefined) parts.push(own);
      for (const pattern of matched) parts.push(pattern.value);
      if (own === undefined && matched.length === 0) parts.push(additional);
    }
    value = expressions.and(parts);
    this.#values.set(name, value);
    return value;
  }

  allows(name: string): boolean {
    return !this.#compiler.empty(this.value(name));
  }

  satisfies(name: string): number {
    const { derivatives } = this.#compiler;
    return this.#object.some.reduce(
      (bits, one, i) => derivatives.matches(one, name) ? bits | 1 << i : bits,
      0,
    );
  }

  #classes(): readonly NameClass[] {
    const { regex, derivatives, expressions } = this.#compiler;
    const { clauses, names, some } = this.#object;
    const patterns = [
      ...new Set([...clauses.flatMap((clause) => clause.patterns.map((one) => one.names)), ...some]),
    ];
    const rest = expressions.and(clauses.map((clause) => clause.additional));
    const undeclared = regex.and([names, regex.not(regex.literals(this.declared))]);
    if (patterns.length === 0) {
      if (rest === expressions.false || !derivatives.live(undeclared)) return [];
      return [{ names: undeclared, value: rest, satisfies: 0 }];
    }
    // Every set of matched patterns that some name has.
    let sets: { texts: RegexNode; matched: readonly RegexNode[] }[] = [{ texts: undeclared, matched: [] }];
    for (const pattern of patterns) {
      sets = sets.flatMap(({ texts, matched }) =>
        [
          { texts: regex.and([texts, pattern]), matched: [...matched, pattern] },
          { texts: regex.and([texts, regex.not(pattern)]), matched },
        ].filter((set) => derivatives.live(set.texts))
      );
      if (sets.length > 2 ** MAX_PATTERNS) {
        throw new GrammarError("limit", "patternProperties", "", "too many patterns overlap");
      }
    }
    return sets.flatMap(({ texts, matched }): NameClass[] => {
      const value = expressions.and(clauses.flatMap((clause) => {
        const own = clause.patterns.filter((pattern) => matched.includes(pattern.names));
        return own.length === 0 ? [clause.additional] : own.map((pattern) => pattern.value);
      }));
      if (value === expressions.false) return [];
      const satisfies = some.reduce((bits, one, i) => matched.includes(one) ? bits | (1 << i) : bits, 0);
      return [{ names: texts, value, satisfies }];
    });
  }
}
