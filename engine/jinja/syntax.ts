// From a template's source to a syntax tree. Lexer and parser are `@huggingface/jinja`'s; this file types its tree and
// adds what its grammar lacks: tests with arguments (`x is divisibleby(3)`, `x is in [1, 2]`), which become filters of
// names that no template can write.

import { parse, tokenize } from "@huggingface/jinja";
import type { Tagged } from "../tagged.ts";
import { TemplateError } from "./budget.ts";

/** A name. */
export interface Identifier {
  /** Tag. */
  readonly type: "Identifier";
  /** The name. */
  readonly value: string;
}
interface Operator {
  readonly value: string;
}
/** `f(…)`. */
export interface Call {
  /** Tag. */
  readonly type: "CallExpression";
  /** What is called. */
  readonly callee: Node;
  /** Arguments and keyword arguments. */
  readonly args: readonly Node[];
}
/** `name` or `name=default`. */
export type Parameter = Identifier | {
  readonly type: "KeywordArgumentExpression";
  readonly key: Identifier;
  readonly value: Node;
};

/** A statement or expression. */
export type Node =
  | Tagged<"Program", { body: readonly Node[] }>
  | Tagged<"If", { test: Node; body: readonly Node[]; alternate: readonly Node[] }>
  | Tagged<"For", { loopvar: Node; iterable: Node; body: readonly Node[]; defaultBlock: readonly Node[] }>
  | Tagged<"Set", { assignee: Node; value: Node | null; body: readonly Node[] }>
  | Tagged<"Macro", { name: Identifier; args: readonly Parameter[]; body: readonly Node[] }>
  | Tagged<"CallStatement", { call: Call; callerArgs: readonly Parameter[] | null; body: readonly Node[] }>
  | Tagged<"FilterStatement", { filter: Identifier | Call; body: readonly Node[] }>
  | { readonly type: "Break" }
  | { readonly type: "Continue" }
  | { readonly type: "Comment" }
  | Tagged<"IntegerLiteral", { value: number }>
  | Tagged<"FloatLiteral", { value: number }>
  | Tagged<"StringLiteral", { value: string }>
  | Tagged<"ArrayLiteral", { value: readonly Node[] }>
  | Tagged<"TupleLiteral", { value: readonly Node[] }>
  | Tagged<"ObjectLiteral", { value: ReadonlyMap<Node, Node> }>
  | Identifier
  | Call
  | Tagged<"MemberExpression", { object: Node; property: Node; computed: boolean }>
  | Tagged<"SliceExpression", { start?: Node; stop?: Node; step?: Node }>
  | Tagged<"UnaryExpression", { operator: Operator; argument: Node }>
  | Tagged<"BinaryExpression", { operator: Operator; left: Node; right: Node }>
  | Tagged<"FilterExpression", { operand: Node; filter: Identifier | Call }>
  | Tagged<"TestExpression", { operand: Node; negate: boolean; test: Identifier }>
  | Tagged<"SelectExpression", { lhs: Node; test: Node }>
  | Tagged<"Ternary", { condition: Node; trueExpr: Node; falseExpr: Node }>
  | Tagged<"KeywordArgumentExpression", { key: Identifier; value: Node }>
  | Tagged<"SpreadExpression", { argument: Node }>
  | Tagged<"KeywordSpreadExpression", { argument: Node }>;

/** A whole template. */
export type Program = Extract<Node, { type: "Program" }>;

/** Marks the filters that stand for tests with arguments. */
export const testMark = "is ";
/** The same for `is not`. */
export const negatedTestMark = "is not ";

/**
 * The syntax tree of a template.
 * @throws TemplateError, or the parser's errors
 */
export function compile(source: string): Program {
  // Marks of the parts to train on (transformers' own extension) mean nothing here.
  const text = source.replace(
    /\{%(-?)\s*(end)?generation\s*(-?)%\}/g,
    (_, left, end, right) => `{%${left} ${end ? "endif" : "if true"} ${right}%}`,
  );
  const tokens = tokenize(text, { lstrip_blocks: true, trim_blocks: true });
  return parse(testsToFilters(tokens)) as unknown as Program;
}

type Token = ReturnType<typeof tokenize>[number];

/** Words that end a test without parentheses. */
const connectives = new Set(["and", "or", "not", "if", "else", "is", "in"]);

function testsToFilters(tokens: readonly Token[]): Token[] {
  const out: Token[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const isTest = token.type === "Identifier" && token.value === "is" && tokens[i - 1]?.type !== "Dot";
    const negated = tokens[i + 1]?.type === "Identifier" && tokens[i + 1]?.value === "not";
    const at = i + (negated ? 2 : 1);
    const name = tokens[at];
    const end = isTest && name?.type === "Identifier" ? argumentEnd(tokens, at + 1) : 0;
    if (end === 0) {
      out.push(token);
      continue;
    }
    const isCall = tokens[at + 1]!.type === "OpenParen";
    out.push({ value: "|", type: "Pipe" });
    out.push({ value: (negated ? negatedTestMark : testMark) + name!.value, type: "Identifier" });
    if (!isCall) out.push({ value: "(", type: "OpenParen" });
    out.push(...testsToFilters(tokens.slice(at + 1, end)));
    if (!isCall) out.push({ value: ")", type: "CloseParen" });
    i = end - 1;
  }
  return out;
}

/** Where the argument of a test that begins at `at` ends; 0 where there is none. */
function argumentEnd(tokens: readonly Token[], at: number): number {
  const first = tokens[at];
  switch (first?.type) {
    case "StringLiteral":
    case "NumericLiteral":
      return at + 1;
    case "Identifier": {
      if (connectives.has(first.value)) return 0;
      let end = at + 1;
      while (tokens[end]?.type === "Dot") end += 2;
      return end;
    }
    case "OpenParen":
    case "OpenSquareBracket": {
      let depth = 0;
      for (let end = at; end < tokens.length; end++) {
        const { type } = tokens[end]!;
        if (type === "OpenParen" || type === "OpenSquareBracket") depth++;
        if ((type === "CloseParen" || type === "CloseSquareBracket") && --depth === 0) return end + 1;
      }
      throw new TemplateError("a parenthesis is not closed");
    }
    default:
      return 0;
  }
}
