// Macros: functions that a template defines, and the blocks that it calls them with.

import { TemplateError } from "./budget.ts";
import { Scope } from "./scope.ts";
import type { Node, Parameter } from "./syntax.ts";
import { Text } from "./text.ts";
import { Callable, Mapping, Sequence, Undefined, type Value } from "./value.ts";

/** What a macro needs of the interpreter. */
export interface MacroRunner {
  /** Evaluates an expression. */
  value(node: Node, scope: Scope): Value;
  /** What a block writes. */
  capture(nodes: readonly Node[], scope: Scope): Text;
}

/** Which of the special arguments a body mentions; found once for each. */
const mentioned = new WeakMap<readonly Node[], { readonly varargs: boolean; readonly kwargs: boolean }>();

/**
 * A macro under a name. Its body sees the variables of the block that it was defined in, and its arguments;
 * `varargs`, `kwargs` and `caller` where it mentions them.
 */
export function makeMacro(
  name: string,
  parameters: readonly Parameter[],
  body: readonly Node[],
  defined: Scope,
  run: MacroRunner,
): Callable {
  const takes = wordsOf(body);
  const names = parameters.map((parameter) =>
    parameter.type === "Identifier" ? parameter.value : parameter.key.value
  );
  return new Callable(name, (args) => {
    const scope = new Scope(defined);
    const named = new Map(args.named);
    parameters.forEach((parameter, i) => {
      const label = names[i]!;
      let value = args.get(i, label);
      if (i >= args.positional.length) named.delete(label);
      if (value === undefined) {
        value = parameter.type === "KeywordArgumentExpression"
          ? run.value(parameter.value, scope)
          : new Undefined(`parameter '${label}' was not provided`);
      }
      scope.set(label, value);
    });
    const caller = named.get("caller");
    if (caller !== undefined && !names.includes("caller")) {
      scope.set("caller", caller);
      named.delete("caller");
    }
    const extra = args.positional.slice(names.length);
    if (takes.varargs) scope.set("varargs", new Sequence(extra, "tuple"));
    else if (extra.length > 0) {
      throw new TemplateError(`macro '${name}' takes not more than ${names.length} argument(s)`);
    }
    if (takes.kwargs) {
      const mapping = new Mapping();
      for (const [key, value] of named) mapping.set(Text.own(key), value);
      scope.set("kwargs", mapping);
    } else if (named.size > 0) {
      throw new TemplateError(`macro '${name}' takes no keyword argument '${[...named.keys()][0]}'`);
    }
    return run.capture(body, scope);
  }, new Map<string, Value>([["name", Text.own(name)]]));
}

function wordsOf(body: readonly Node[]): { readonly varargs: boolean; readonly kwargs: boolean } {
  const known = mentioned.get(body) ??
    { varargs: mentions(body, "varargs"), kwargs: mentions(body, "kwargs") };
  mentioned.set(body, known);
  return known;
}

/** Whether a name occurs anywhere in a tree. */
function mentions(tree: unknown, name: string): boolean {
  if (Array.isArray(tree)) return tree.some((item) => mentions(item, name));
  if (tree instanceof Map) return [...tree].some((pair) => mentions(pair, name));
  if (typeof tree !== "object" || tree === null) return false;
  const node = tree as { type?: unknown; value?: unknown };
  if (node.type === "Identifier" && node.value === name) return true;
  return Object.values(tree).some((part) => mentions(part, name));
}
