// Runs a template: blocks write into an output, expressions give values. It has no access to anything but its
// variables, takes a bounded number of steps and makes texts and lists of bounded size (budget.ts), so that a template
// can neither hang nor fill the memory.
//
// Why not `@huggingface/jinja`'s interpreter: its texts do not know whose words they are (text.ts), and its values are
// JavaScript's (null prints as nothing, keys are texts). Scopes and rules are those of Jinja 3 as transformers sets it
// up: https://jinja.palletsprojects.com/en/stable/templates/

import { Budget, TemplateError, type TemplateLimits } from "./budget.ts";
import { runFilter } from "./filters.ts";
import { attributeOf, itemOf, sliceOf } from "./members.ts";
import { type LoopState, loopVariable } from "./loop.ts";
import { type MacroRunner, makeMacro } from "./macro.ts";
import { binary } from "./operators.ts";
import { Scope } from "./scope.ts";
import { type Call, type Identifier, negatedTestMark, type Node, type Program, testMark } from "./syntax.ts";
import { runTest } from "./tests.ts";
import { Text, TextBuilder } from "./text.ts";
import {
  Arguments,
  Callable,
  Float,
  found,
  isTrue,
  iterated,
  Mapping,
  Namespace,
  numberOf,
  Sequence,
  typeName,
  Undefined,
  type Value,
} from "./value.ts";
import { toText } from "./write.ts";

/** How a block ended. */
type Outcome = "next" | "break" | "continue";

/** Runs one template once. */
export class Interpreter {
  /** What the rendering may cost. */
  readonly budget: Budget;
  /** The outermost variables. */
  readonly globals = new Scope(null);
  readonly #runner: MacroRunner = {
    value: (node, scope) => this.#value(node, scope),
    capture: (nodes, scope) => this.#captured(nodes, scope),
  };

  /** With all that it may cost. */
  constructor(limits: TemplateLimits) {
    this.budget = new Budget(limits);
  }

  /**
   * The text that a template makes.
   * @throws TemplateError
   */
  render(program: Program): Text {
    const out = new TextBuilder(this.budget);
    this.#block(program.body, new Scope(this.globals), out);
    return out.build();
  }

  #block(nodes: readonly Node[], scope: Scope, out: TextBuilder): Outcome {
    for (const node of nodes) {
      const outcome = this.budget.nested(() => this.#statement(node, scope, out));
      if (outcome !== "next") return outcome;
    }
    return "next";
  }

  #statement(node: Node, scope: Scope, out: TextBuilder): Outcome {
    switch (node.type) {
      case "Comment":
        return "next";
      case "Break":
        return "break";
      case "Continue":
        return "continue";
      case "If":
        return this.#block(isTrue(this.#value(node.test, scope)) ? node.body : node.alternate, scope, out);
      case "For":
        this.#loop(node, scope, out);
        return "next";
      case "Set":
        this.#assign(
          node.assignee,
          node.value ? this.#value(node.value, scope) : this.#captured(node.body, new Scope(scope)),
          scope,
        );
        return "next";
      case "Macro":
        scope.set(node.name.value, makeMacro(node.name.value, node.args, node.body, scope, this.#runner));
        return "next";
      case "CallStatement": {
        const caller = makeMacro("caller", node.callerArgs ?? [], node.body, scope, this.#runner);
        const args = this.#arguments(node.call.args, scope);
        const named = new Map(args.named).set("caller", caller);
        out.append(toText(
          this.#call(this.#value(node.call.callee, scope), new Arguments(args.positional, named)),
          this.budget,
        ));
        return "next";
      }
      case "FilterStatement": {
        const text = this.#captured(node.body, new Scope(scope));
        out.append(toText(this.#filter(text, node.filter, scope), this.budget));
        return "next";
      }
      case "StringLiteral":
        out.appendOwn(node.value);
        return "next";
      default:
        out.append(toText(this.#value(node, scope), this.budget));
        return "next";
    }
  }

  /** What a block writes. */
  #captured(nodes: readonly Node[], scope: Scope): Text {
    const out = new TextBuilder(this.budget);
    this.#block(nodes, scope, out);
    return out.build();
  }

  #loop(node: Extract<Node, { type: "For" }>, scope: Scope, out: TextBuilder): void {
    const filter = node.iterable.type === "SelectExpression" ? node.iterable : null;
    const all = iterated(this.#value(filter ? filter.lhs : node.iterable, scope));
    const items = filter
      ? all.filter((item) => {
        const inner = new Scope(scope);
        this.#assign(node.loopvar, item, inner);
        return isTrue(this.#value(filter.test, inner));
      })
      : all;
    const state: LoopState = { previous: undefined };
    for (let i = 0; i < items.length; i++) {
      const inner = new Scope(scope);
      inner.set("loop", loopVariable(items, i, state, this.budget));
      this.#assign(node.loopvar, items[i]!, inner);
      if (this.#block(node.body, inner, out) === "break") break;
    }
    if (items.length === 0) this.#block(node.defaultBlock, new Scope(scope), out);
  }

  /** Sets a variable, several at once, or an attribute of a namespace. */
  #assign(target: Node, value: Value, scope: Scope): void {
    switch (target.type) {
      case "Identifier":
        return scope.set(target.value, value);
      case "TupleLiteral": {
        const items = iterated(value);
        if (items.length !== target.value.length) {
          const [wanted, got] = [target.value.length, items.length];
          throw new TemplateError(
            got > wanted
              ? `too many values to unpack (expected ${wanted})`
              : `not enough values to unpack (expected ${wanted}, got ${got})`,
          );
        }
        return target.value.forEach((part, i) => this.#assign(part, items[i]!, scope));
      }
      case "MemberExpression": {
        const object = this.#value(target.object, scope);
        if (!(object instanceof Namespace) || target.property.type !== "Identifier") {
          throw new TemplateError("cannot assign attribute on non-namespace object");
        }
        object.attributes.set(target.property.value, value);
        return;
      }
      default:
        throw new TemplateError(`cannot assign to a ${target.type}`);
    }
  }

  #arguments(nodes: readonly Node[], scope: Scope): Arguments {
    const positional: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      switch (node.type) {
        case "KeywordArgumentExpression":
          named.set(node.key.value, this.#value(node.value, scope));
          break;
        case "SpreadExpression":
          positional.push(...iterated(this.#value(node.argument, scope)));
          break;
        case "KeywordSpreadExpression": {
          const mapping = this.#value(node.argument, scope);
          if (!(mapping instanceof Mapping)) throw new TemplateError("argument after ** must be a mapping");
          for (const [key, value] of mapping.entries) named.set(toText(key, this.budget).value, value);
          break;
        }
        default:
          positional.push(this.#value(node, scope));
      }
    }
    this.budget.list(positional.length + named.size);
    return new Arguments(positional, named);
  }

  #call(callee: Value, args: Arguments): Value {
    if (callee instanceof Undefined) throw new TemplateError(callee.reason);
    if (!(callee instanceof Callable)) {
      throw new TemplateError(`'${typeName(callee)}' object is not callable`);
    }
    return this.budget.nested(() => callee.call(args));
  }

  #filter(value: Value, filter: Identifier | Call, scope: Scope): Value {
    const isCall = filter.type === "CallExpression";
    const callee = isCall ? filter.callee : filter;
    if (callee.type !== "Identifier") throw new TemplateError("a filter must be a name");
    const args = isCall ? this.#arguments(filter.args, scope) : new Arguments([]);
    const name = callee.value;
    if (name.startsWith(negatedTestMark)) {
      return !runTest(name.slice(negatedTestMark.length), value, args, this.budget);
    }
    if (name.startsWith(testMark)) return runTest(name.slice(testMark.length), value, args, this.budget);
    return runFilter(name, value, args, this.budget);
  }

  #value(node: Node, scope: Scope): Value {
    return this.budget.nested(() => this.#expression(node, scope));
  }

  #expression(node: Node, scope: Scope): Value {
    switch (node.type) {
      case "IntegerLiteral":
        return node.value;
      case "FloatLiteral":
        return new Float(node.value);
      case "StringLiteral":
        return Text.own(node.value);
      case "ArrayLiteral":
      case "TupleLiteral":
        this.budget.list(node.value.length);
        return new Sequence(
          node.value.map((item) => this.#value(item, scope)),
          node.type === "TupleLiteral" ? "tuple" : "list",
        );
      case "ObjectLiteral": {
        const mapping = new Mapping();
        this.budget.list(node.value.size);
        for (const [key, value] of node.value) {
          mapping.set(this.#value(key, scope), this.#value(value, scope));
        }
        return mapping;
      }
      case "Identifier":
        return found(scope.get(node.value), new Undefined(`'${node.value.slice(0, 100)}' is undefined`));
      case "CallExpression":
        return this.#call(this.#value(node.callee, scope), this.#arguments(node.args, scope));
      case "MemberExpression":
        return this.#member(node, scope);
      case "UnaryExpression": {
        const value = this.#value(node.argument, scope);
        if (node.operator.value === "not") return !isTrue(value);
        if (value instanceof Undefined) throw new TemplateError(value.reason);
        const number = numberOf(value);
        if (number === undefined) {
          throw new TemplateError(`bad operand type for unary ${node.operator.value}: '${typeName(value)}'`);
        }
        const signed = node.operator.value === "-" ? -number : number;
        return value instanceof Float ? new Float(signed) : signed;
      }
      case "BinaryExpression": {
        const operator = node.operator.value;
        const left = this.#value(node.left, scope);
        if (operator === "and") return isTrue(left) ? this.#value(node.right, scope) : left;
        if (operator === "or") return isTrue(left) ? left : this.#value(node.right, scope);
        return binary(operator, left, this.#value(node.right, scope), this.budget);
      }
      case "FilterExpression":
        return this.#filter(this.#value(node.operand, scope), node.filter, scope);
      case "TestExpression":
        return runTest(node.test.value, this.#value(node.operand, scope), new Arguments([]), this.budget) !==
          node.negate;
      case "SelectExpression":
        return isTrue(this.#value(node.test, scope))
          ? this.#value(node.lhs, scope)
          : new Undefined("the inline if-expression evaluated to false and no else section was defined");
      case "Ternary":
        return this.#value(
          isTrue(this.#value(node.condition, scope)) ? node.trueExpr : node.falseExpr,
          scope,
        );
      default:
        throw new TemplateError(`a ${node.type} is no expression`);
    }
  }

  #member(node: Extract<Node, { type: "MemberExpression" }>, scope: Scope): Value {
    const object = this.#value(node.object, scope);
    const { property } = node;
    if (property.type === "SliceExpression") {
      const bounds = [property.start, property.stop, property.step].map((bound) =>
        bound ? this.#value(bound, scope) : null
      );
      return sliceOf(object, bounds, this.budget);
    }
    if (!node.computed && property.type === "Identifier") {
      return attributeOf(object, property.value, this.budget);
    }
    return itemOf(object, this.#value(property, scope), this.budget);
  }
}
