// A Jinja interpreter for templates that nobody has vetted: it has no access to anything, takes a bounded number of
// steps, and makes strings and lists of bounded size, so that a template can neither hang nor fill the memory.
//
// `@huggingface/jinja` evaluates a syntax tree recursively through `evaluate`; this subclass counts every visit and
// looks at every result. A few operations can blow up within one step (replace, indent, range, …): their operands
// are evaluated first and their result's size computed before it is made. It also mends two things that the
// library gets wrong: `strip`, `lstrip` and `rstrip` ignore which characters to strip.

import { type Environment, Interpreter, type parse } from "@huggingface/jinja";

/** A node of a template's syntax tree. */
export type Node = NonNullable<Parameters<Interpreter["evaluate"]>[0]>;
/** What a node evaluates to. */
export type Value = ReturnType<Interpreter["evaluate"]>;

/** A template asked for too much, or raised an exception of its own; the message is for the user. */
export class TemplateError extends Error {
  /** The error's name. */
  override readonly name = "TemplateError";
}

/** What a rendering may cost. */
export interface TemplateLimits {
  /** Evaluated nodes of the syntax tree. */
  readonly steps: number;
  /** UTF-16 units of any string, the output among them. */
  readonly stringLength: number;
  /** Elements of all lists and mappings ever made. */
  readonly elements: number;
  /** Time it may take. */
  readonly milliseconds: number;
}

/** A node whose value is known already. */
interface Evaluated extends Node {
  readonly type: "Evaluated";
  readonly value: Value;
}

interface Call extends Node {
  readonly callee: Node;
  readonly args: readonly Node[];
}
interface Member extends Node {
  readonly object: Node;
  readonly property: Node & { readonly value?: unknown };
  readonly computed: boolean;
}
interface Filter extends Node {
  readonly operand: Node;
  readonly filter: Node;
}

const strippers = new Set(["strip", "lstrip", "rstrip"]);
/** Nested evaluations, of expressions in blocks in macros. */
const mostDepth = 400;
/** Bounds on indentation widths; no real template comes near. */
const mostIndent = 64;

/** An interpreter that gives up, with a `TemplateError`, before a template costs too much. */
export class LimitedInterpreter extends Interpreter {
  readonly #limits: TemplateLimits;
  readonly #deadline: number;
  #steps = 0;
  #depth = 0;
  #elements = 0;
  /** Elements below a list or mapping, counted as often as they would print. */
  readonly #weights = new WeakMap<object, number>();

  /** One rendering; use once. */
  constructor(environment: Environment, limits: TemplateLimits) {
    super(environment);
    this.#limits = limits;
    this.#deadline = performance.now() + limits.milliseconds;
  }

  /** The text that a parsed template makes. */
  render(program: ReturnType<typeof parse>): string {
    return String(this.run(program).value);
  }

  /** Evaluates a node, counting it. */
  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (isEvaluated(node)) return node.value;
    if (++this.#steps > this.#limits.steps) throw new TemplateError("takes too many steps");
    if (this.#steps % 256 === 0 && performance.now() > this.#deadline) {
      throw new TemplateError("takes too long");
    }
    // Counted, because the library takes an exhausted stack for an undefined variable in places.
    if (++this.#depth > mostDepth) throw new TemplateError("nests too deeply");
    try {
      return this.#checked(this.#dispatch(node, environment));
    } finally {
      this.#depth--; // also when a loop's break or continue comes through
    }
  }

  #dispatch(node: Node | undefined, environment: Environment): Value {
    switch (node?.type) {
      case "FilterExpression": {
        const { operand, filter } = node as Filter;
        const value = this.evaluate(operand, environment);
        if (filter.type !== "CallExpression") {
          return super.evaluate(variant(node, { operand: evaluated(value) }), environment);
        }
        const { callee, args } = filter as Call;
        const known = args.map((argument) => this.#known(argument, environment));
        this.#checkGrowth(String((callee as { value?: unknown }).value), value, known);
        const next = { operand: evaluated(value), filter: variant(filter, { args: known }) };
        return super.evaluate(variant(node, next), environment);
      }
      case "CallExpression": {
        const { callee, args } = node as Call;
        if (callee.type !== "MemberExpression" || (callee as Member).computed) {
          return super.evaluate(node, environment);
        }
        const member = callee as Member;
        const method = String(member.property.value);
        const object = this.evaluate(member.object, environment);
        const known = args.map((argument) => this.#known(argument, environment));
        const characters = argumentValue(known[0]);
        if (isText(object) && strippers.has(method) && isText(characters)) {
          return sameKind(object, strip(object.value, method, characters.value));
        }
        this.#checkGrowth(method, object, known);
        const next = { callee: variant(callee, { object: evaluated(object) }), args: known };
        return super.evaluate(variant(node, next), environment);
      }
      default:
        return super.evaluate(node, environment);
    }
  }

  /** An argument, evaluated; the value of a keyword argument; spread arguments are left to the library. */
  #known(argument: Node, environment: Environment): Node {
    if (argument.type === "SpreadExpression") return argument;
    if (argument.type === "KeywordArgumentExpression") {
      const { value } = argument as Node & { value: Node };
      return variant(argument, { value: evaluated(this.evaluate(value, environment)) });
    }
    return evaluated(this.evaluate(argument, environment));
  }

  /** Refuses an operation whose result would be too long, before it is made. */
  #checkGrowth(method: string, operand: Value, args: readonly Node[]): void {
    const values = args.map(argumentValue).filter((value) => value !== undefined);
    if (method === "replace" && isText(operand)) {
      const [from, to] = values.filter(isText).map(({ value }) => value);
      if (from !== undefined && to !== undefined) {
        const growth = Math.max(0, to.length - from.length);
        if (growth > 0) this.#checkLength(operand.value.length + growth * occurrences(operand.value, from));
      }
    }
    if (method === "indent" || method === "tojson") {
      for (const { value } of values) {
        if (typeof value === "number" && value > mostIndent) throw new TemplateError("indents too far");
        if (typeof value === "string" && value.length > mostIndent) {
          throw new TemplateError("indents too far");
        }
      }
    }
    if (method === "join" && Array.isArray(operand.value)) {
      const separator = values.find(isText)?.value.length ?? 0;
      const texts = (operand.value as Value[]).map((item) => isText(item) ? item.value.length : 0);
      this.#checkLength(texts.reduce((sum, length) => sum + length + separator, 0));
    }
  }

  #checked(value: Value): Value {
    if (isText(value)) this.#checkLength(value.value.length);
    else if (typeof value.value === "object" && value.value !== null) this.#weigh(value);
    return value;
  }

  #checkLength(length: number): void {
    if (length > this.#limits.stringLength) throw new TemplateError("makes too long a text");
  }

  /** Counts a new list's or mapping's elements; shared parts count each time, as they would print. */
  #weigh(value: Value): number {
    const content: unknown = value.value;
    if (typeof content !== "object" || content === null) return 1;
    const known = this.#weights.get(content);
    if (known !== undefined) return known;
    // Set first: a namespace may contain itself.
    this.#weights.set(content, 1);
    const children: Iterable<Value> = Array.isArray(content)
      ? content as Value[]
      : content instanceof Map
      ? (content as Map<string, Value>).values()
      : [];
    let count = 1;
    let weight = 1;
    for (const child of children) {
      count++;
      weight += isText(child) ? 1 + child.value.length / 16 : this.#weigh(child);
    }
    this.#weights.set(content, weight);
    this.#elements += count;
    if (this.#elements > this.#limits.elements || weight > this.#limits.elements) {
      throw new TemplateError("makes too large a list");
    }
    return weight;
  }
}

function evaluated(value: Value): Evaluated {
  return { type: "Evaluated", value };
}

function isEvaluated(node: Node | undefined): node is Evaluated {
  return node?.type === "Evaluated";
}

function argumentValue(argument: Node | undefined): Value | undefined {
  const value = argument?.type === "KeywordArgumentExpression"
    ? (argument as Node & { value: Node }).value
    : argument;
  return isEvaluated(value) ? value.value : undefined;
}

function isText(value: Value | undefined): value is Value & { value: string } {
  return value?.type === "StringValue";
}

/** A copy of a node with some parts replaced. */
function variant(node: Node, parts: Readonly<Record<string, unknown>>): Node {
  return Object.assign(Object.create(Object.getPrototypeOf(node)), node, parts);
}

/** A value of the same class; the library does not export its classes. */
function sameKind(value: Value, content: string): Value {
  const Kind = value.constructor as new (content: string) => Value;
  return new Kind(content);
}

function occurrences(text: string, part: string): number {
  if (part === "") return text.length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

/** Python's str.strip(characters) and its one-sided forms. */
function strip(text: string, method: string, characters: string): string {
  const set = new Set(characters);
  const letters = [...text];
  let start = 0;
  let end = letters.length;
  if (method !== "rstrip") { while (start < end && set.has(letters[start]!)) start++; }
  if (method !== "lstrip") { while (end > start && set.has(letters[end - 1]!)) end--; }
  return letters.slice(start, end).join("");
}
