/**
 * Boolean expressions over schemas, hash-consed: an array's items or an object's properties after merging are one of
 * these, and equal ones are one object, which keeps merged recursive schemas finite.
 */
import type { Json, Location } from "./document.ts";
import type { Expression } from "./shape.ts";

/** Makes expressions. */
export class Expressions {
  readonly #table = new Map<string, Expression>();
  readonly #schemas = new Map<Json, Expression>();
  /** Everything. */
  readonly true: Expression = this.#make("true", "true");
  /** Nothing. */
  readonly false: Expression = this.#make("false", "false");

  #make(
    key: string,
    kind: Expression["kind"],
    parts: { children?: readonly Expression[]; location?: Location; value?: Json } = {},
  ): Expression {
    const known = this.#table.get(key);
    if (known !== undefined) return known;
    const made: Expression = {
      id: this.#table.size,
      kind,
      children: parts.children ?? [],
      location: parts.location,
      value: parts.value,
      shape: undefined,
      busy: false,
      empty: undefined,
    };
    this.#table.set(key, made);
    return made;
  }

  /** A schema, or true or false where it says so plainly. */
  schema(location: Location): Expression {
    const { value } = location;
    if (value === true || (typeof value === "object" && value !== null && Object.keys(value).length === 0)) {
      return this.true;
    }
    if (value === false) return this.false;
    let known = this.#schemas.get(value);
    if (known === undefined) {
      this.#schemas.set(value, known = this.#make(`s${this.#schemas.size}`, "schema", { location }));
    }
    return known;
  }

  /** Exactly one value. */
  constant(value: Json): Expression {
    return this.#make(`c${JSON.stringify(value)}`, "constant", { value });
  }

  /** All of them. */
  and(parts: readonly Expression[]): Expression {
    return this.#combine("and", parts, this.true, this.false);
  }

  /** Any of them. */
  or(parts: readonly Expression[]): Expression {
    return this.#combine("or", parts, this.false, this.true);
  }

  #combine(
    kind: "and" | "or",
    parts: readonly Expression[],
    neutral: Expression,
    absorbing: Expression,
  ): Expression {
    const found = new Set<Expression>();
    for (const part of parts) {
      if (part.kind === kind) part.children.forEach((child) => found.add(child));
      else if (part !== neutral) found.add(part);
    }
    if (found.has(absorbing)) return absorbing;
    for (const part of found) if (part.kind === "not" && found.has(part.children[0]!)) return absorbing;
    if (found.size <= 1) return [...found][0] ?? neutral;
    const children = [...found].sort((a, b) => a.id - b.id);
    return this.#make(`${kind}${children.map((child) => child.id).join()}`, kind, { children });
  }

  /** Everything else. */
  not(part: Expression): Expression {
    if (part === this.true) return this.false;
    if (part === this.false) return this.true;
    if (part.kind === "not") return part.children[0]!;
    return this.#make(`not${part.id}`, "not", { children: [part] });
  }
}
