// From a template's source to a syntax tree. Lexer and parser are `@huggingface/jinja`'s; this file types its tree and
// adds what its grammar lacks: tests with arguments (`x is divisibleby(3)`, `x is in [1, 2]`), which become filters of
// names that no template can write.

import { parse, tokenize } from "@huggingface/jinja";
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
  | { readonly type: "Program"; readonly body: readonly Node[] }
  | {
    readonly type: "If";
    readonly test: Node;
    readonly body: readonly Node[];
    readonly alternate: readonly Node[];
  }
  | {
    readonly type: "For";
    readonly loopvar: Node;
    readonly iterable: Node;
    readonly body: readonly Node[];
    readonly defaultBlock: readonly Node[];
  }
  | {
    readonly type: "Set";
    readonly assignee: Node;
    readonly value: Node | null;
    readonly body: readonly Node[];
  }
  | {
    readonly type: "Macro";
    readonly name: Identifier;
    readonly args: readonly Parameter[];
    readonly body: readonly Node[];
  }
  | {
    readonly type: "CallStatement";
    readonly call: Call;
    readonly callerArgs: readonly Parameter[] | null;
    readonly body: readonly Node[];
  }
  | { readonly type: "FilterStatement"; readonly filter: Identifier | Call; readonly body: readonly Node[] }
  | { readonly type: "Break" }
  | { readonly type: "Continue" }
  | { readonly type: "Comment" }
  | { readonly type: "IntegerLiteral"; readonly value: number }
  | { readonly type: "FloatLiteral"; readonly value: number }
  | { readonly type: "StringLiteral"; readonly value: string }
  | { readonly type: "ArrayLiteral"; readonly value: readonly Node[] }
  | { readonly type: "TupleLiteral"; readonly value: readonly Node[] }
  | { readonly type: "ObjectLiteral"; readonly value: ReadonlyMap<Node, Node> }
  | Identifier
  | Call
  | {
    readonly type: "MemberExpression";
    readonly object: Node;
    readonly property: Node;
    readonly computed: boolean;
  }
  | { readonly type: "SliceExpression"; readonly start?: Node; readonly stop?: Node; readonly step?: Node }
  | { readonly type: "UnaryExpression"; readonly operator: Operator; readonly argument: Node }
  | {
    readonly type: "BinaryExpression";
    readonly operator: Operator;
    readonly left: Node;
    readonly right: Node;
  }
  | { readonly type: "FilterExpression"; readonly operand: Node; readonly filter: Identifier | Call }
  | {
    readonly type: "TestExpression";
    readonly operand: Node;
    readonly negate: boolean;
    readonly test: Identifier;
  }
  | { readonly type: "SelectExpression"; readonly lhs: Node; readonly test: Node }
  | { readonly type: "Ternary"; readonly condition: Node; readonly trueExpr: Node; readonly falseExpr: Node }
  | { readonly type: "KeywordArgumentExpression"; readonly key: Identifier; readonly value: Node }
  | { readonly type: "SpreadExpression"; readonly argument: Node }
  | { readonly type: "KeywordSpreadExpression"; readonly argument: Node };

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
