/**
 * Grammars in EBNF: `name ::= …` with strings, character classes, groups, `|`, `*`, `+`, `?`, `{m,n}`, `.` and `#`
 * comments. One reader for GBNF (llama.cpp) and the dialect of xgrammar and SGLang, which differ in where a rule ends:
 * here a rule ends where the next `name ::=` begins, which is right for both. The grammar begins at `root`.
 */
import { GrammarError } from "../errors.ts";
import type { RegexBuilder } from "../regex/builder.ts";
import { charSet, complementSet } from "../regex/char_set.ts";
import type { Budget } from "../limits.ts";
import { type Rule, type Term, Terms } from "./term.ts";

type Token =
  | {
    readonly kind: "name" | "define" | "string" | "class" | "repeat" | "symbol";
    readonly text: string;
    at: number;
  }
  | { readonly kind: "end"; readonly text: ""; at: number };

const TOKEN =
  /(?<space>(?:\s+|#[^\n]*)+)|(?<define>::=)|(?<name>[A-Za-z_][A-Za-z0-9_-]*)|(?<string>"(?:[^"\\\n]|\\.)*")|(?<class>\[(?:[^\]\\]|\\[\s\S])*\])|(?<repeat>\{\s*\d*\s*,?\s*\d*\s*\})|(?<symbol>[|()*+?.])/uy;

/** Reads a grammar. */
export function ebnfTerm(
  terms: Terms,
  regex: RegexBuilder,
  source: string,
  options: { root: string; maxDepth: number; budget: () => Budget },
): Term {
  return new Reader(terms, regex, source, options).term();
}

class Reader {
  readonly #terms: Terms;
  readonly #regex: RegexBuilder;
  readonly #source: string;
  readonly #options: { root: string; maxDepth: number; budget: () => Budget };
  readonly #tokens: readonly Token[];
  readonly #bodies = new Map<string, [from: number, to: number]>();
  readonly #finished = new Map<string, Term>();
  readonly #open = new Map<string, Rule>();
  readonly #rules: Rule[] = [];
  #at = 0;
  #end = 0;
  #depth = 0;

  constructor(
    terms: Terms,
    regex: RegexBuilder,
    source: string,
    options: { root: string; maxDepth: number; budget: () => Budget },
  ) {
    this.#terms = terms;
    this.#regex = regex;
    this.#source = source;
    this.#options = options;
    this.#tokens = this.#split();
    this.#findRules();
  }

  term(): Term {
    if (!this.#bodies.has(this.#options.root)) {
      throw new GrammarError(
        "invalid",
        "grammar",
        "",
        `there is no rule ${JSON.stringify(this.#options.root)}`,
      );
    }
    // Rules that are not used are read too: a grammar with a mistake in them is refused.
    for (const name of this.#bodies.keys()) this.#rule(name, 0);
    this.#terms.settle(this.#rules);
    return this.#rule(this.#options.root, 0);
  }

  #fail(what: string, at: number, kind: "invalid" | "limit" = "invalid"): GrammarError {
    const lines = this.#source.slice(0, at).split("\n");
    return new GrammarError(
      kind,
      "grammar",
      `line ${lines.length}, column ${lines.at(-1)!.length + 1}`,
      what,
    );
  }

  #split(): Token[] {
    const tokens: Token[] = [];
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < this.#source.length) {
      const at = TOKEN.lastIndex;
      const found = TOKEN.exec(this.#source);
      if (found === null) {
        throw this.#fail(`cannot read ${JSON.stringify(this.#source.slice(at, at + 10))}`, at);
      }
      const [kind, text] = Object.entries(found.groups!).find(([, text]) => text !== undefined)!;
      if (kind !== "space") tokens.push({ kind: kind as "name", text, at });
    }
    tokens.push({ kind: "end", text: "", at: this.#source.length });
    return tokens;
  }

  #findRules(): void {
    const starts: number[] = [];
    this.#tokens.forEach((token, i) => {
      if (token.kind === "name" && this.#tokens[i + 1]?.kind === "define") starts.push(i);
    });
    if (starts[0] !== 0) throw this.#fail("a grammar begins with a rule: name ::= …", 0);
    starts.forEach((start, i) => {
      const { text, at } = this.#tokens[start]!;
      if (this.#bodies.has(text)) throw this.#fail(`the rule ${text} is there twice`, at);
      this.#bodies.set(text, [start + 2, starts[i + 1] ?? this.#tokens.length - 1]);
    });
  }

  // A rule that does not come back to itself is put where it is used, so that regular parts become one text.
  #rule(name: string, at: number): Term {
    const finished = this.#finished.get(name);
    if (finished !== undefined) return finished;
    const open = this.#open.get(name);
    if (open !== undefined) {
      if (!this.#rules.includes(open)) this.#rules.push(open);
      return { kind: "rule", rule: open };
    }
    const body = this.#bodies.get(name);
    if (body === undefined) throw this.#fail(`there is no rule ${name}`, at);
    if (this.#open.size > this.#options.maxDepth) {
      throw this.#fail("rules are nested too deeply", at, "limit");
    }
    this.#options.budget().spend(8);
    const rule: Rule = { name, body: undefined, nullable: false };
    this.#open.set(name, rule);
    const [savedAt, savedEnd, savedDepth] = [this.#at, this.#end, this.#depth];
    [this.#at, this.#end] = body;
    rule.body = this.#alternatives();
    if (this.#at < this.#end) throw this.#fail(`unexpected ${this.#next.text}`, this.#next.at);
    [this.#at, this.#end, this.#depth] = [savedAt, savedEnd, savedDepth];
    this.#open.delete(name);
    const term: Term = this.#rules.includes(rule) ? { kind: "rule", rule } : rule.body;
    this.#finished.set(name, term);
    return term;
  }

  get #next(): Token {
    return this.#at < this.#end ? this.#tokens[this.#at]! : this.#tokens.at(-1)!;
  }

  #alternatives(): Term {
    if (++this.#depth > this.#options.maxDepth) {
      throw this.#fail("groups are nested too deeply", this.#next.at, "limit");
    }
    const parts = [this.#sequence()];
    while (this.#next.text === "|" && this.#next.kind === "symbol") {
      this.#at++;
      parts.push(this.#sequence());
    }
    this.#depth--;
    return this.#terms.alternatives(parts);
  }

  #sequence(): Term {
    const parts: Term[] = [];
    while (
      this.#at < this.#end &&
      !(this.#next.kind === "symbol" && (this.#next.text === "|" || this.#next.text === ")"))
    ) {
      parts.push(this.#repeated(this.#item()));
    }
    return this.#terms.sequence(parts);
  }

  #repeated(item: Term): Term {
    for (;;) {
      const { kind, text, at } = this.#next;
      const bounds: readonly [number, number] | undefined = kind === "repeat"
        ? repeatBounds(text)
        : kind !== "symbol"
        ? undefined
        : text === "*"
        ? [0, Infinity]
        : text === "+"
        ? [1, Infinity]
        : text === "?"
        ? [0, 1]
        : undefined;
      if (bounds === undefined) return item;
      if (bounds[0] > bounds[1]) throw this.#fail(`${text} allows nothing`, at);
      this.#at++;
      item = this.#terms.repeat(item, ...bounds);
    }
  }

  #item(): Term {
    const token = this.#next;
    this.#at++;
    switch (token.kind) {
      case "name":
        return this.#rule(token.text, token.at);
      case "string":
        return this.#terms.text(this.#regex.literal(unquote(token.text.slice(1, -1))));
      case "class":
        return this.#terms.text(this.#regex.chars(this.#class(token.text.slice(1, -1), token.at)));
      case "symbol":
        if (token.text === ".") return this.#terms.text(this.#regex.anyChar);
        if (token.text === "(") {
          const inner = this.#alternatives();
          if (this.#next.text !== ")") throw this.#fail("a group is not closed", token.at);
          this.#at++;
          return inner;
        }
        throw this.#fail(`unexpected ${token.text}`, token.at);
      case "define":
      case "repeat":
      case "end":
        throw this.#fail(token.kind === "end" ? "unexpected end" : `unexpected ${token.text}`, token.at);
    }
  }

  #class(text: string, at: number) {
    const negated = text.startsWith("^");
    const chars = [
      ...(negated ? text.slice(1) : text).matchAll(
        /\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\[\s\S]|[\s\S]/gu,
      ),
    ]
      .map(([raw]) => raw);
    const ranges: [number, number][] = [];
    for (let i = 0; i < chars.length; i++) {
      const set = shorthand(chars[i]!);
      if (set !== undefined) {
        ranges.push(...set);
        continue;
      }
      const from = unquote(chars[i]!).codePointAt(0)!;
      if (chars[i + 1] === "-" && i + 2 < chars.length) {
        const to = unquote(chars[i + 2]!).codePointAt(0)!;
        if (to < from) throw this.#fail(`the range ${chars[i]}-${chars[i + 2]} is empty`, at);
        ranges.push([from, to]);
        i += 2;
      } else ranges.push([from, from]);
    }
    const set = charSet(ranges);
    return negated ? complementSet(set) : set;
  }
}

function shorthand(text: string): readonly [number, number][] | undefined {
  if (text === "\\d") return [[0x30, 0x39]];
  if (text === "\\w") return [[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
  return text === "\\s" ? [[9, 13], [0x20, 0x20]] : undefined;
}

function repeatBounds(text: string): [number, number] {
  const [, min = "", comma = "", max = ""] = /^\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}$/.exec(text)!;
  const least = min === "" ? 0 : Number(min);
  return [least, comma === "" ? least : max === "" ? Infinity : Number(max)];
}

function unquote(text: string): string {
  const plain: Record<string, string> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v", "0": "\0" };
  return text.replace(
    /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([\s\S]))/gu,
    (_, x?: string, u?: string, long?: string, char?: string) => {
      const hex = x ?? u ?? long;
      if (hex === undefined) return plain[char!] ?? char!;
      const point = parseInt(hex, 16);
      return point > 0x10ffff ? "\ufffd" : String.fromCodePoint(point);
    },
  );
}
