/**
 * Boolean operations on shapes. Arrays and objects are lists of alternatives: "and" is the product of two lists, "not"
 * of one alternative is the list of the ways to break it.
 */
import { GrammarError } from "../errors.ts";
import type { Numbers } from "../json/numbers.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import type { RegexNode } from "../regex/node.ts";
import type { Expressions } from "./expression.ts";
import type { ArrayShape, Expression, ObjectShape, Shape } from "./shape.ts";

/** Finds alternatives that nothing satisfies, as far as can be told. */
export interface SurelyEmpty {
  /** Of arrays. */
  array(array: ArrayShape): boolean;
  /** Of objects. */
  object(object: ObjectShape): boolean;
}

/** More alternatives than this are looked through for empty ones. */
const MANY = 12;

/** Boolean operations on shapes. */
export class Shapes {
  readonly #regex: RegexBuilder;
  readonly #numbers: Numbers;
  readonly #expressions: Expressions;
  readonly #maxAlternatives: number;
  readonly #surely: SurelyEmpty;
  /** Every array. */
  readonly anyArray: ArrayShape;
  /** Every object. */
  readonly anyObject: ObjectShape;
  /** Every value. */
  readonly everything: Shape;
  /** No value. */
  readonly nothing: Shape;

  /** With what builds and compares the parts. */
  constructor(
    regex: RegexBuilder,
    numbers: Numbers,
    expressions: Expressions,
    options: { maxAlternatives: number; surelyEmpty: SurelyEmpty },
  ) {
    this.#regex = regex;
    this.#numbers = numbers;
    this.#expressions = expressions;
    this.#maxAlternatives = options.maxAlternatives;
    this.#surely = options.surelyEmpty;
    this.anyArray = { prefix: [], rest: expressions.true, min: 0, max: Infinity, contains: [] };
    this.anyObject = { clauses: [], required: new Set(), min: 0, max: Infinity, names: regex.all, some: [] };
    this.everything = {
      null: true,
      false: true,
      true: true,
      numbers: numbers.every,
      strings: regex.all,
      arrays: [this.anyArray],
      objects: [this.anyObject],
    };
    this.nothing = {
      null: false,
      false: false,
      true: false,
      numbers: numbers.nothing,
      strings: regex.none,
      arrays: [],
      objects: [],
    };
  }

  /** What both allow. */
  meet(a: Shape, b: Shape): Shape {
    if (a === this.everything) return b;
    if (b === this.everything) return a;
    return {
      null: a.null && b.null,
      false: a.false && b.false,
      true: a.true && b.true,
      numbers: this.#numbers.meet(a.numbers, b.numbers),
      strings: this.#regex.and([a.strings, b.strings]),
      arrays: this.#arrayProduct(a.arrays, b.arrays),
      objects: this.#objectProduct(a.objects, b.objects),
    };
  }

  /** What any of them allows. */
  join(shapes: readonly Shape[]): Shape {
    if (shapes.length === 1) return shapes[0]!;
    const list = <T>(lists: readonly (readonly T[])[], any: T): readonly T[] => {
      const all = [...new Set(lists.flat())];
      return all.includes(any) ? [any] : this.#bounded(all);
    };
    return {
      null: shapes.some((shape) => shape.null),
      false: shapes.some((shape) => shape.false),
      true: shapes.some((shape) => shape.true),
      numbers: shapes.reduce((all, shape) => this.#numbers.join(all, shape.numbers), this.#numbers.nothing),
      strings: this.#regex.alt(shapes.map((shape) => shape.strings)),
      arrays: list(shapes.map((shape) => shape.arrays), this.anyArray),
      objects: list(shapes.map((shape) => shape.objects), this.anyObject),
    };
  }

  /** What it does not allow. */
  complement(shape: Shape): Shape {
    return {
      null: !shape.null,
      false: !shape.false,
      true: !shape.true,
      numbers: this.#numbers.complement(shape.numbers),
      strings: this.#regex.not(shape.strings),
      arrays: this.withoutArrays([this.anyArray], shape.arrays),
      objects: this.withoutObjects([this.anyObject], shape.objects),
    };
  }

  /** The arrays of `from` that none of `others` allows. */
  withoutArrays(from: readonly ArrayShape[], others: readonly ArrayShape[]): readonly ArrayShape[] {
    return others.reduce(
      (left, other) => this.#arrayProduct(left, this.#complementArray(other)),
      from,
    );
  }

  /** The objects of `from` that none of `others` allows. */
  withoutObjects(from: readonly ObjectShape[], others: readonly ObjectShape[]): readonly ObjectShape[] {
    return others.reduce(
      (left, other) => this.#objectProduct(left, this.#complementObject(other)),
      from,
    );
  }

  /** Arrays that both allow, or undefined where plainly none. */
  meetArrays(a: ArrayShape, b: ArrayShape): ArrayShape | undefined {
    const and = this.#expressions;
    const length = Math.max(a.prefix.length, b.prefix.length);
    const prefix: Expression[] = [];
    for (let i = 0; i < length; i++) prefix.push(and.and([a.prefix[i] ?? a.rest, b.prefix[i] ?? b.rest]));
    const [min, max] = [Math.max(a.min, b.min), Math.min(a.max, b.max)];
    if (min > max || prefix.some((item, i) => i < min && item === and.false)) return undefined;
    return { prefix, rest: and.and([a.rest, b.rest]), min, max, contains: [...a.contains, ...b.contains] };
  }

  /** Objects that both allow, or undefined where plainly none. */
  meetObjects(a: ObjectShape, b: ObjectShape): ObjectShape | undefined {
    const met: ObjectShape = {
      clauses: [...new Set([...a.clauses, ...b.clauses])],
      required: a.required.size === 0 ? b.required : new Set([...a.required, ...b.required]),
      min: Math.max(a.min, b.min),
      max: Math.min(a.max, b.max),
      names: this.#regex.and([a.names, b.names]),
      some: [...new Set([...a.some, ...b.some])],
    };
    if (met.min > met.max || met.required.size > met.max) return undefined;
    const never = this.#expressions.false;
    for (const { properties } of met.clauses) {
      if (properties.size > met.required.size) {
        for (const name of met.required) if (properties.get(name) === never) return undefined;
      } else {for (const [name, value] of properties) {
          if (value === never && met.required.has(name)) return undefined;
        }}
    }
    return met;
  }

  #arrayProduct(a: readonly ArrayShape[], b: readonly ArrayShape[]): readonly ArrayShape[] {
    return this.#product(
      a,
      b,
      this.anyArray,
      (x, y) => this.meetArrays(x, y),
      (both) => this.#surely.array(both),
    );
  }

  #objectProduct(a: readonly ObjectShape[], b: readonly ObjectShape[]): readonly ObjectShape[] {
    return this.#product(
      a,
      b,
      this.anyObject,
      (x, y) => this.meetObjects(x, y),
      (both) => this.#surely.object(both),
    );
  }

  #product<T>(
    a: readonly T[],
    b: readonly T[],
    any: T,
    meet: (a: T, b: T) => T | undefined,
    empty: (both: T) => boolean,
  ): readonly T[] {
    if (a.length === 1 && a[0] === any) return b;
    if (b.length === 1 && b[0] === any) return a;
    const out: T[] = [];
    for (const x of a) {
      for (const y of b) {
        const both = x === y ? x : meet(x, y);
        if (both !== undefined && (out.length < MANY || !empty(both))) out.push(both);
      }
      this.#bounded(out);
    }
    return out;
  }

  #bounded<T>(list: readonly T[]): readonly T[] {
    if (list.length <= this.#maxAlternatives) return list;
    throw new GrammarError(
      "limit",
      "anyOf",
      "",
      `more than ${this.#maxAlternatives} alternatives have to be told apart for one value`,
    );
  }

  #complementArray(array: ArrayShape): readonly ArrayShape[] {
    const { true: always } = this.#expressions;
    const not = (item: Expression): Expression => this.#expressions.not(item);
    const out: ArrayShape[] = [];
    const any = this.anyArray;
    array.prefix.forEach((item, i) => {
      if (item === always) return;
      const prefix = array.prefix.slice(0, i).map(() => always);
      out.push({ ...any, prefix: [...prefix, not(item)], min: i + 1 });
    });
    if (array.rest !== always) {
      const from = array.prefix.length;
      if (not(array.rest) === always) out.push({ ...any, min: from + 1 });
      else out.push({ ...any, contains: [{ item: not(array.rest), min: 1, max: Infinity, from }] });
    }
    if (array.min > 0) out.push({ ...any, max: array.min - 1 });
    if (array.max < Infinity) out.push({ ...any, min: array.max + 1 });
    for (const { item, min, max, from } of array.contains) {
      if (min > 0) out.push({ ...any, contains: [{ item, min: 0, max: min - 1, from }] });
      if (max < Infinity) out.push({ ...any, contains: [{ item, min: max + 1, max: Infinity, from }] });
    }
    return out;
  }

  #complementObject(object: ObjectShape): readonly ObjectShape[] {
    const { true: always, false: never } = this.#expressions;
    const regex = this.#regex;
    const any = this.anyObject;
    const has = (name: string, value: Expression): ObjectShape => ({
      ...any,
      clauses: value === always
        ? []
        : [{ properties: new Map([[name, value]]), patterns: [], additional: always }],
      required: value === never ? any.required : new Set([name]),
    });
    const out: ObjectShape[] = [...object.required].map((name) => has(name, never));
    for (const { properties, patterns, additional } of object.clauses) {
      for (const [name, value] of properties) {
        if (value !== always) out.push(has(name, this.#expressions.not(value)));
      }
      for (const { names, value } of patterns) {
        if (value !== always) out.push({ ...any, some: [this.#someName(names, value, "patternProperties")] });
      }
      if (additional !== always) {
        const others = regex.not(regex.alt([
          regex.literals([...properties.keys()]),
          ...patterns.map(({ names }) => names),
        ]));
        out.push({ ...any, some: [this.#someName(others, additional, "additionalProperties")] });
      }
    }
    if (object.min > 0) out.push({ ...any, max: object.min - 1 });
    if (object.max < Infinity) out.push({ ...any, min: object.max + 1 });
    if (object.names !== regex.all) out.push({ ...any, some: [regex.not(object.names)] });
    for (const names of object.some) out.push({ ...any, names: regex.not(names) });
    return out;
  }

  #someName(names: RegexNode, value: Expression, keyword: string): RegexNode {
    if (value === this.#expressions.false) return names;
    throw new GrammarError("unsupported", "not", "", `${keyword} with a schema of its own cannot be negated`);
  }
}
