/**
 * Finds what expressions over schemas allow, and whether that is anything. Shapes are found one level deep and kept on
 * the expression; a schema that refers to itself without going deeper into the value is refused.
 */
import { type Budget } from "../limits.ts";
import { GrammarError } from "../errors.ts";
import { Numbers } from "../json/numbers.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import type { Derivatives } from "../regex/derive.ts";
import type { RegexNode } from "../regex/node.ts";
import { isObject, type Json, type SchemaDocument } from "./document.ts";
import { Expressions } from "./expression.ts";
import { Keywords } from "./keywords.ts";
import type { ArrayShape, Expression, ObjectShape, Shape } from "./shape.ts";
import { Shapes } from "./shapes.ts";
import { canCover } from "./cover.ts";
import { objectProperties } from "./properties.ts";

/** Thrown where a shape is needed while it is being found out. */
class Cycle extends GrammarError {
  constructor(path: string) {
    super("invalid", "$ref", path, "the schema refers to itself for the same value");
  }
}

/** Shapes and emptiness of the expressions over one document. */
export class SchemaCompiler {
  /** Makes expressions. */
  readonly expressions: Expressions = new Expressions();
  /** Combines shapes. */
  readonly shapes: Shapes;
  /** Builds sets of numbers. */
  readonly numbers: Numbers;
  /** Builds the languages. */
  readonly regex: RegexBuilder;
  /** Walks the languages. */
  readonly derivatives: Derivatives;
  readonly #document: SchemaDocument;
  readonly #budget: () => Budget;
  readonly #maxDepth: number;
  readonly #unknownFormats: "refuse" | "ignore";
  // Expressions whose emptiness is being found out, and whether one was taken to be empty meanwhile.
  readonly #asking = new Set<Expression>();
  #assumed = false;

  /** For one document. */
  constructor(options: {
    document: SchemaDocument;
    regex: RegexBuilder;
    derivatives: Derivatives;
    budget: () => Budget;
    maxDepth: number;
    maxAlternatives: number;
    unknownFormats: "refuse" | "ignore";
  }) {
    this.#document = options.document;
    this.regex = options.regex;
    this.derivatives = options.derivatives;
    this.#budget = options.budget;
    this.#maxDepth = options.maxDepth;
    this.#unknownFormats = options.unknownFormats;
    this.numbers = new Numbers(options.regex);
    this.shapes = new Shapes(options.regex, this.numbers, this.expressions, {
      maxAlternatives: options.maxAlternatives,
      surelyEmpty: {
        array: (array) => this.#surelyEmpty(() => this.emptyArray(array)),
        object: (object) => this.#surelyEmpty(() => this.emptyObject(object)),
      },
    });
  }

  /** The whole document. */
  root(): Expression {
    return this.expressions.schema(this.#document.root);
  }

  /** What an expression allows. */
  shapeOf(expression: Expression): Shape {
    if (expression.shape !== undefined) return expression.shape;
    if (expression.busy) throw new Cycle(expression.location?.path ?? "");
    expression.busy = true;
    this.#budget().spend(8);
    try {
      return expression.shape = this.#shape(expression);
    } finally {
      expression.busy = false;
    }
  }

  #shape(expression: Expression): Shape {
    const { shapes } = this;
    switch (expression.kind) {
      case "true":
        return shapes.everything;
      case "false":
        return shapes.nothing;
      case "and":
        return expression.children.map((part) => this.shapeOf(part)).reduce((all, part) =>
          shapes.meet(all, part)
        );
      case "or":
        return shapes.join(expression.children.map((part) => this.shapeOf(part)));
      case "not":
        return shapes.complement(this.shapeOf(expression.children[0]!));
      case "constant":
        return this.#constant(expression.value!);
      case "schema": {
        const { value, path } = expression.location!;
        if (!isObject(value)) {
          throw new GrammarError("invalid", "schema", path, "must be an object or a boolean");
        }
        return new Keywords(
          {
            document: this.#document,
            regex: this.regex,
            numbers: this.numbers,
            expressions: this.expressions,
            shapes,
            maxDepth: this.#maxDepth,
            unknownFormats: this.#unknownFormats,
            shapeOf: (part) => this.shapeOf(part),
            exactlyOne: (parts, where) => this.#exactlyOne(parts, where),
          },
          expression.location!,
          value,
        ).shape();
      }
    }
  }

  #constant(value: Json): Shape {
    const { shapes, expressions } = this;
    if (value === null) return { ...shapes.nothing, null: true };
    if (value === true) return { ...shapes.nothing, true: true };
    if (value === false) return { ...shapes.nothing, false: true };
    if (typeof value === "number") return { ...shapes.nothing, numbers: this.numbers.constant(value) };
    if (typeof value === "string") return { ...shapes.nothing, strings: this.regex.literal(value) };
    if (!isObject(value)) {
      const prefix = value.map((item) => expressions.constant(item));
      const array = {
        ...shapes.anyArray,
        prefix,
        rest: expressions.false,
        min: prefix.length,
        max: prefix.length,
      };
      return { ...shapes.nothing, arrays: [array] };
    }
    const properties = new Map(
      Object.entries(value).map(([name, inner]) => [name, expressions.constant(inner)]),
    );
    const object: ObjectShape = {
      ...shapes.anyObject,
      clauses: [{ properties, patterns: [], additional: expressions.false }],
      required: new Set(properties.keys()),
    };
    return { ...shapes.nothing, objects: [object] };
  }

  // Each part without the others. Alternatives that exclude each other anyway, which is the usual case, stay as they
  // are; only overlapping ones are cut.
  #exactlyOne(parts: readonly Shape[], path: string): Shape {
    const { shapes, regex, numbers } = this;
    const one = (has: (shape: Shape) => boolean): boolean => parts.filter(has).length === 1;
    const cut = <T>(
      lists: readonly (readonly T[])[],
      meet: (a: T, b: T) => T | undefined,
      empty: (both: T) => boolean,
      without: (from: readonly T[], other: readonly T[]) => readonly T[],
    ): readonly T[] =>
      lists.flatMap((list, i) =>
        list.flatMap((own) => {
          let left: readonly T[] = [own];
          lists.forEach((others, j) => {
            if (i === j) return;
            for (const other of others) {
              this.#budget().spend(4);
              left = left.flatMap((piece) => {
                const both = piece === other ? piece : meet(piece, other);
                return both === undefined || empty(both) ? [piece] : without([piece], [other]);
              });
            }
          });
          return left;
        })
      );
    const texts = (lists: readonly RegexNode[]): RegexNode =>
      regex.alt(lists.map((own, i) => {
        const others = lists.filter((other, j) => i !== j && this.derivatives.live(regex.and([own, other])));
        return others.length === 0 ? own : regex.and([own, regex.not(regex.alt(others))]);
      }));
    const sets = parts.map((part) => part.numbers).filter((set) => set.all || set.closed !== regex.none);
    const oneNumber = sets.map((own, i) =>
      sets.reduce((left, other, j) => i === j ? left : numbers.meet(left, numbers.complement(other)), own)
    );
    try {
      return {
        null: one((shape) => shape.null),
        false: one((shape) => shape.false),
        true: one((shape) => shape.true),
        numbers: oneNumber.reduce((all, set) => numbers.join(all, set), numbers.nothing),
        strings: texts(parts.map((part) => part.strings)),
        arrays: cut(
          parts.map((part) => part.arrays),
          (a, b) => shapes.meetArrays(a, b),
          (both) => this.#surelyEmpty(() => this.emptyArray(both)),
          (from, others) => shapes.withoutArrays(from, others),
        ),
        objects: cut(
          parts.map((part) => part.objects),
          (a, b) => shapes.meetObjects(a, b),
          (both) => this.#surelyEmpty(() => this.emptyObject(both)),
          (from, others) => shapes.withoutObjects(from, others),
        ),
      };
    } catch (error) {
      if (!(error instanceof GrammarError) || error.path !== "") throw error;
      throw new GrammarError(
        error.kind,
        "oneOf",
        path,
        `its branches cannot be kept apart (${error.message})`,
      );
    }
  }

  // While shapes are being found out, an unknown one counts as not empty.
  #surelyEmpty(test: () => boolean): boolean {
    try {
      return test();
    } catch (error) {
      if (error instanceof Cycle) return false;
      throw error;
    }
  }

  /** Whether nothing matches. A schema that needs itself for ever matches nothing. */
  empty(expression: Expression): boolean {
    if (expression.empty !== undefined) return expression.empty;
    if (expression.kind === "true") return expression.empty = false;
    if (this.#asking.has(expression)) {
      this.#assumed = true;
      return true;
    }
    const outermost = this.#asking.size === 0;
    const assumedBefore = this.#assumed;
    this.#assumed = false;
    this.#asking.add(expression);
    try {
      const empty = this.#emptyShape(this.shapeOf(expression));
      if (!empty || !this.#assumed || outermost) expression.empty = empty;
      return empty;
    } finally {
      this.#asking.delete(expression);
      this.#assumed = this.#asking.size > 0 && (this.#assumed || assumedBefore);
    }
  }

  #emptyShape(shape: Shape): boolean {
    if (shape.null || shape.true || shape.false || shape.numbers.all) return false;
    if (this.derivatives.live(shape.strings) || this.derivatives.live(shape.numbers.text)) return false;
    return shape.arrays.every((array) => this.emptyArray(array)) &&
      shape.objects.every((object) => this.emptyObject(object));
  }

  /** Whether no array matches. */
  emptyArray(array: ArrayShape): boolean {
    const most = this.mostItems(array);
    if (array.min > most) return true;
    return array.contains.some(({ item, min, from }) => {
      if (min === 0) return false;
      // Each needed item stands where both it and the item there can be.
      let places = 0;
      for (let i = from; i < Math.min(most, array.prefix.length) && places < min; i++) {
        if (!this.empty(this.expressions.and([item, array.prefix[i]!]))) places++;
      }
      const later = Math.max(0, most - Math.max(from, array.prefix.length));
      if (places < min && later > 0 && !this.empty(this.expressions.and([item, array.rest]))) places += later;
      return places < min;
    });
  }

  /** How many items an array can have before one is needed that nothing matches. */
  mostItems(array: ArrayShape): number {
    for (let i = 0; i < Math.min(array.max, array.prefix.length); i++) {
      if (this.empty(array.prefix[i]!)) return i;
    }
    if (array.max > array.prefix.length && this.empty(array.rest)) return array.prefix.length;
    return array.max;
  }

  /** Whether no object matches. */
  emptyObject(object: ObjectShape): boolean {
    const properties = objectProperties(this, object);
    for (const name of object.required) if (!properties.allows(name)) return true;
    if (Math.max(object.min, object.required.size) > object.max) return true;
    if (object.min > object.required.size && !properties.others()) {
      if (properties.declared.filter((name) => properties.allows(name)).length < object.min) return true;
    }
    if (object.some.length === 0) return false;
    const kinds = properties.classes.filter((one) => !this.empty(one.value)).map((one) => one.satisfies);
    let missing = 2 ** object.some.length - 1;
    for (const name of properties.declared) {
      if (!properties.allows(name)) continue;
      const satisfies = properties.satisfies(name);
      if (object.required.has(name)) missing &= ~satisfies;
      else kinds.push(satisfies);
    }
    const places = object.max - object.required.size;
    return !canCover(missing, kinds, places, (steps) => this.#budget().spend(steps));
  }
}
