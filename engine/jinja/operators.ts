// Operators as Python has them: equality over all types, order within a type, `in`, arithmetic.

import { type Budget, TemplateError } from "./budget.ts";
import { concatenated, escapedText, Text, TextBuilder } from "./text.ts";
import { formatPercent } from "./format.ts";
import { Float, iterated, Mapping, numberOf, Sequence, typeName, Undefined, type Value } from "./value.ts";
import { byCodePoint, toText } from "./write.ts";

/** `a == b`. */
export function isEqual(a: Value, b: Value, budget: Budget): boolean {
  if (a === b) return true;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x === y;
  if (a instanceof Text && b instanceof Text) return a.value === b.value;
  if (a instanceof Undefined && b instanceof Undefined) return true;
  return budget.nested(() => {
    if (a instanceof Sequence && b instanceof Sequence) {
      return a.kind === b.kind && a.isIndexed && a.items.length === b.items.length &&
        a.items.every((item, i) => isEqual(item, b.items[i]!, budget));
    }
    if (a instanceof Mapping && b instanceof Mapping) {
      return a.size === b.size && a.entries.every(([key, item]) => {
        const other = b.get(key);
        return other !== undefined && isEqual(item, other, budget);
      });
    }
    return false;
  });
}

/** Negative, zero or positive as `a` comes before, with or after `b`. */
export function compared(a: Value, b: Value, budget: Budget): number {
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (a instanceof Text && b instanceof Text) {
    budget.step();
    return byCodePoint(a.value, b.value);
  }
  if (a instanceof Sequence && b instanceof Sequence && a.kind === b.kind && a.isIndexed) {
    return budget.nested(() => {
      for (let i = 0; i < a.items.length && i < b.items.length; i++) {
        if (!isEqual(a.items[i]!, b.items[i]!, budget)) return compared(a.items[i]!, b.items[i]!, budget);
      }
      return a.items.length - b.items.length;
    });
  }
  throw failure("'<' not supported between instances", a, b, "of ");
}

/** `item in container`. */
export function contains(container: Value, item: Value, budget: Budget): boolean {
  if (container instanceof Text) {
    if (!(item instanceof Text)) {
      throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    return container.value.includes(item.value);
  }
  if (container instanceof Mapping) return container.get(item) !== undefined;
  return iterated(container).some((other) => {
    budget.step();
    return isEqual(other, item, budget);
  });
}

/** Everything with two operands but `and` and `or`. */
export function binary(operator: string, a: Value, b: Value, budget: Budget): Value {
  switch (operator) {
    case "==":
      return isEqual(a, b, budget);
    case "!=":
      return !isEqual(a, b, budget);
    case "in":
      return contains(b, a, budget);
    case "not in":
      return !contains(b, a, budget);
    case "~":
      return concatenated(budget, [toText(a, budget), toText(b, budget)]);
  }
  for (const side of [a, b]) if (side instanceof Undefined) throw new TemplateError(side.reason);
  switch (operator) {
    case "<":
      return compared(a, b, budget) < 0;
    case ">":
      return compared(a, b, budget) > 0;
    case "<=":
      return compared(a, b, budget) <= 0;
    case ">=":
      return compared(a, b, budget) >= 0;
    case "+":
      if (a instanceof Text && b instanceof Text) {
        const isMarkup = a.isMarkup || b.isMarkup;
        const [left, right] = isMarkup ? [escapedText(a), escapedText(b)] : [a, b];
        const sum = concatenated(budget, [left, right]);
        return isMarkup ? sum.asMarkup() : sum;
      }
      if (a instanceof Sequence && b instanceof Sequence && a.kind === b.kind && a.isIndexed) {
        budget.list(a.items.length + b.items.length);
        return new Sequence([...a.items, ...b.items], a.kind);
      }
      break;
    case "*": {
      const [times, repeated] = typeof a === "number" ? [a, b] : [b, a];
      if (typeof times === "number" && (repeated instanceof Text || repeated instanceof Sequence)) {
        return repeat(repeated, times, budget);
      }
      break;
    }
    case "%":
      if (a instanceof Text) return formatPercent(a, b, budget);
  }
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x === undefined || y === undefined) {
    if (operator === "+" && a instanceof Text) {
      throw new TemplateError(`can only concatenate str (not "${typeName(b)}") to str`);
    }
    throw failure(`unsupported operand type(s) for ${operator}:`, a, b, "");
  }
  return arithmetic(operator, x, y, a instanceof Float || b instanceof Float);
}

function arithmetic(operator: string, x: number, y: number, isFloat: boolean): Value {
  const made = (value: number) => {
    if (!Number.isFinite(value)) throw new TemplateError("computes a number that is too large");
    return isFloat ? new Float(value) : value;
  };
  if (y === 0 && ["/", "//", "%"].includes(operator)) throw new TemplateError("division by zero");
  switch (operator) {
    case "+":
      return made(x + y);
    case "-":
      return made(x - y);
    case "*":
      return made(x * y);
    case "/":
      return new Float(x / y);
    case "//":
      return made(Math.floor(x / y));
    case "%":
      return made(x - y * Math.floor(x / y));
    case "**": {
      const power = x ** y;
      if (!Number.isFinite(power)) throw new TemplateError("computes a number that is too large");
      return isFloat || y < 0 ? new Float(power) : power;
    }
    default:
      throw new TemplateError(`has an unknown operator ${operator}`);
  }
}

function repeat(value: Text | Sequence, times: number, budget: Budget): Value {
  const count = Math.max(0, times);
  if (value instanceof Sequence) {
    budget.list(value.items.length * count);
    return new Sequence(Array.from({ length: count }, () => value.items).flat(), value.kind);
  }
  budget.text(value.length * count);
  const builder = new TextBuilder(null);
  for (let i = 0; i < count && value.length > 0; i++) {
    budget.step();
    builder.append(value);
  }
  return builder.build();
}

function failure(what: string, a: Value, b: Value, of: string): TemplateError {
  return new TemplateError(`${what} ${of}'${typeName(a)}' and '${typeName(b)}'`);
}
