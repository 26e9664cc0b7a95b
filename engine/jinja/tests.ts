// Jinja's tests: `value is …`.

import { type Budget, TemplateError } from "./budget.ts";
import { binary, contains, isEqual } from "./operators.ts";
import { Text } from "./text.ts";
import {
  type Arguments,
  Callable,
  Float,
  Mapping,
  numberOf,
  Sequence,
  Undefined,
  type Value,
} from "./value.ts";
import { toText } from "./write.ts";

type Test = (value: Value, args: Arguments, budget: Budget) => boolean;

const compare = (operator: string): Test => (value, args, budget) =>
  binary(operator, value, args.positional[0] ?? null, budget) === true;
const equal: Test = (value, args, budget) => isEqual(value, args.positional[0] ?? null, budget);
const remainder = (value: Value, divisor: Value): number => {
  const [x, y] = [numberOf(value), numberOf(divisor)];
  if (x === undefined || y === undefined || y === 0) throw new TemplateError("cannot be divided");
  return x - y * Math.floor(x / y);
};
const cased =
  (change: (text: string) => string, other: (text: string) => string): Test => (value, _, budget) => {
    const { value: text } = toText(value, budget);
    return text === change(text) && text !== other(text);
  };
const upper = (text: string) => text.toUpperCase();
const lower = (text: string) => text.toLowerCase();

/** By name. */
export const tests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", (value) => typeof value === "boolean"],
  ["callable", (value) => value instanceof Callable],
  ["defined", (value) => !(value instanceof Undefined)],
  ["undefined", (value) => value instanceof Undefined],
  ["none", (value) => value === null],
  ["true", (value) => value === true],
  ["false", (value) => value === false],
  ["string", (value) => value instanceof Text],
  ["number", (value) => numberOf(value) !== undefined],
  ["integer", (value) => typeof value === "number"],
  ["float", (value) => value instanceof Float],
  ["mapping", (value) => value instanceof Mapping],
  ["iterable", (value) => [Text, Sequence, Mapping, Undefined].some((kind) => value instanceof kind)],
  ["sequence", (value) =>
    value instanceof Text || value instanceof Mapping || value instanceof Undefined ||
    (value instanceof Sequence && value.isIndexed)],
  ["lower", cased(lower, upper)],
  ["upper", cased(upper, lower)],
  ["even", (value) => remainder(value, 2) === 0],
  ["odd", (value) => remainder(value, 2) === 1],
  ["divisibleby", (value, args) => remainder(value, args.positional[0] ?? null) === 0],
  ["in", (value, args, budget) => contains(args.positional[0] ?? null, value, budget)],
  [
    "sameas",
    (value, args, budget) =>
      typeof value === typeof args.positional[0] && isEqual(value, args.positional[0] ?? null, budget),
  ],
  ["escaped", () => false],
  ...["eq", "equalto", "=="].map((name): [string, Test] => [name, equal]),
  ...["ne", "!="].map((name): [string, Test] => [name, (...all) => !equal(...all)]),
  ...([
    ["lt", "<"],
    ["lessthan", "<"],
    ["<", "<"],
    ["le", "<="],
    ["<=", "<="],
    ["gt", ">"],
    ["greaterthan", ">"],
    [
      ">",
      ">",
    ],
    ["ge", ">="],
    [">=", ">="],
  ] as const).map(([name, operator]): [string, Test] => [name, compare(operator)]),
]);

/** Runs a test by its name. */
export function runTest(name: string, value: Value, args: Arguments, budget: Budget): boolean {
  const test = tests.get(name);
  if (!test) throw new TemplateError(`No test named '${name.slice(0, 100)}'`);
  budget.step();
  return test(value, args, budget);
}
