/**
 * JSON values as positions: for each expression over schemas, what each first byte leads to. The shape's types begin
 * with different bytes, so only alternatives of arrays and objects are read side by side.
 */
import { DEAD, type Row } from "../automaton/position.ts";
import type { PositionTable } from "../automaton/table.ts";
import { plainText, stringContent } from "../automaton/text.ts";
import { GrammarError } from "../errors.ts";
import type { Budget } from "../limits.ts";
import type { SchemaCompiler } from "../schema/compiler.ts";
import type { Expression } from "../schema/shape.ts";
import { ArrayRules } from "./arrays.ts";
import type { JsonContext, JsonStyle } from "./context.ts";
import { ObjectRules } from "./objects.ts";

/** What values begin with. */
const FIRST_BYTES = new TextEncoder().encode('"{[-0123456789tfn');

/** Where values of one expression begin. */
export class ValueStarts {
  // Made when first asked for: most values of a large schema are never reached.
  #rows: (readonly Row[] | undefined)[] | undefined;
  readonly #context: JsonContext;
  readonly #expression: Expression;
  readonly #literals: readonly string[];
  /** Rules of the alternatives of arrays. */
  readonly arrays: readonly ArrayRules[];
  /** Rules of the alternatives of objects. */
  readonly objects: readonly ObjectRules[];

  /** Looks at what is allowed. @throws GrammarError where that is refused */
  constructor(context: JsonContext, expression: Expression) {
    this.#context = context;
    this.#expression = expression;
    const { compiler } = context;
    const shape = compiler.shapeOf(expression);
    // Languages whose dead ends take too long to find are refused now and not in the middle of a text.
    compiler.derivatives.prepare(shape.strings);
    compiler.derivatives.prepare(shape.numbers.text);
    this.#literals = [
      ...(shape.null ? ["null"] : []),
      ...(shape.true ? ["true"] : []),
      ...(shape.false ? ["false"] : []),
    ];
    this.arrays = shape.arrays.filter((array) => !compiler.emptyArray(array))
      .map((array) => new ArrayRules(context, array)).filter((rules) => rules.possible);
    this.objects = shape.objects.filter((object) => !compiler.emptyObject(object))
      .map((object) => new ObjectRules(context, object));
    const { derivatives } = compiler;
    const some = this.#literals.length > 0 || this.arrays.length > 0 || this.objects.length > 0 ||
      derivatives.live(shape.strings) || derivatives.live(shape.numbers.text);
    if (!some && !compiler.empty(expression)) {
      throw new GrammarError("unsupported", "contains", "", "no array can have all that it has to");
    }
  }

  /** What the first byte of a value leads to. */
  on(byte: number): readonly Row[] {
    const place = FIRST_BYTES.indexOf(byte);
    if (place < 0) return DEAD;
    this.#rows ??= new Array(FIRST_BYTES.length);
    return this.#rows[place] ??= this.#compute(byte);
  }

  #compute(byte: number): readonly Row[] {
    const { table, compiler } = this.#context;
    const shape = compiler.shapeOf(this.#expression);
    if (byte === 0x22) {
      return compiler.derivatives.live(shape.strings) ? stringContent(table, shape.strings).alone : DEAD;
    }
    if (byte === 0x5b) return this.arrays.map((rules) => [rules.first]);
    if (byte === 0x7b) return this.objects.map((rules) => [rules.first]);
    if (byte === 0x2d || (byte >= 0x30 && byte <= 0x39)) {
      const number = compiler.derivatives.live(shape.numbers.text)
        ? plainText(table, shape.numbers.text)
        : undefined;
      return number === undefined ? DEAD : table.on(number, byte);
    }
    const literal = this.#literals.find((word) => word.charCodeAt(0) === byte);
    if (literal === undefined) return DEAD;
    const rest = plainText(table, table.regex.literal(literal.slice(1)));
    return rest?.alone ?? DEAD;
  }
}

/** All values of one schema document. */
export class JsonValues implements JsonContext {
  /** All positions. */
  readonly table: PositionTable;
  /** Finds what expressions allow. */
  readonly compiler: SchemaCompiler;
  /** How JSON is written. */
  readonly style: JsonStyle;
  readonly #starts = new Map<Expression, ValueStarts>();
  readonly #budget: () => Budget;

  /** Looks at what is allowed. @throws GrammarError where that is refused */
  constructor(table: PositionTable, compiler: SchemaCompiler, style: JsonStyle, budget: () => Budget) {
    this.table = table;
    this.compiler = compiler;
    this.style = style;
    this.#budget = budget;
  }

  /** Where values of an expression begin. */
  starts(expression: Expression): ValueStarts {
    let starts = this.#starts.get(expression);
    if (starts === undefined) this.#starts.set(expression, starts = new ValueStarts(this, expression));
    return starts;
  }

  /** Looks at every schema that a text can get to, so that one that is refused is refused now. */
  prepare(root: Expression): void {
    const seen = new Set([root]);
    const waiting = [root];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      this.#budget().spend(8);
      const { arrays, objects } = this.starts(next);
      for (const rules of [...arrays, ...objects]) {
        for (const child of rules.children()) {
          if (seen.has(child)) continue;
          seen.add(child);
          waiting.push(child);
        }
      }
    }
  }
}
