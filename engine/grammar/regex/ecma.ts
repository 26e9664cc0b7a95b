/**
 * ECMAScript regular expressions as regular languages. The parser is `@eslint-community/regexpp`; here its tree is
 * turned around from the end: each element is built together with what follows it, so that `$` and lookaheads are
 * intersections with that, and `^` asks whether anything can stand before it. Backreferences, lookbehinds, word
 * boundaries and assertions inside unbounded repetitions are refused: they are no regular language of reasonable size.
 */
import { AST, RegExpParser } from "@eslint-community/regexpp";
import { GrammarError } from "../errors.ts";
import type { RegexBuilder } from "./builder.ts";
import {
  type CharSet,
  charSet,
  complementSet,
  intersectSets,
  MAX_CODE_POINT,
  oneChar,
  unionSets,
} from "./char_set.ts";
import type { RegexNode } from "./node.ts";

const DIGITS = charSet([[0x30, 0x39]]);
const WORD = charSet([[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]);
const SPACE = charSet([
  [9, 13],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]);
const LINE_ENDS = charSet([[10, 10], [13, 13], [0x2028, 0x2029]]);
/** What finding the set of a property counts as, and a reason to look at the clock. */
const PROPERTY_STEPS = 2000;
/** Assertions are written out for repetitions up to this often. */
const MAX_UNROLLED = 4;

// Sets of Unicode properties by their spelling: they never change, and finding one takes tens of milliseconds.
const properties = new Map<string, CharSet>();

/** What follows an element; whether it depends on standing at the start of the text. */
interface Rest {
  readonly asksStart: boolean;
  build(atStart: boolean): RegexNode;
}

/**
 * The language of an expression.
 * @param anchored whether it has to match the whole text (else anywhere in it, as `pattern` in JSON Schema)
 * @throws GrammarError naming the construct that cannot be expressed
 */
export function ecmaRegex(
  regex: RegexBuilder,
  source: string,
  options: { anchored: boolean; path: string; maxDepth: number },
): RegexNode {
  const fail = (kind: "unsupported" | "invalid" | "limit", what: string): GrammarError =>
    new GrammarError(kind, "pattern", options.path, what);
  checkDepth(source, options.maxDepth, fail);
  const tree = parse(source, fail);
  const translator = new Translator(regex, fail);
  const end: Rest = { asksStart: false, build: () => options.anchored ? regex.epsilon : regex.all };
  const fromStart = translator.any(tree.alternatives, true, end);
  if (options.anchored) return fromStart;
  const later = translator.any(tree.alternatives, false, end);
  return regex.alt([fromStart, regex.concat(regex.loop(regex.anyChar, 1, Infinity), later)]);
}

function checkDepth(source: string, most: number, fail: (kind: "limit", what: string) => GrammarError): void {
  let depth = 0, inClass = false;
  for (let i = 0; i < source.length; i++) {
    const char = source[i];
    if (char === "\\") i++;
    else if (inClass) inClass = char !== "]";
    else if (char === "[") inClass = true;
    else if (char === "(" && ++depth > most) throw fail("limit", `groups are nested deeper than ${most}`);
    else if (char === ")") depth--;
  }
}

function parse(source: string, fail: (kind: "invalid", what: string) => GrammarError): AST.Pattern {
  const parser = new RegExpParser({ ecmaVersion: 2025 });
  try {
    return parser.parsePattern(source, 0, source.length, { unicode: true });
  } catch {
    try { // Annex B's leniency, such as needless escapes
      return parser.parsePattern(source, 0, source.length, { unicode: false });
    } catch (error) {
      throw fail("invalid", error instanceof Error ? error.message : String(error));
    }
  }
}

class Translator {
  readonly #regex: RegexBuilder;
  readonly #fail: (kind: "unsupported", what: string) => GrammarError;
  readonly #asserts = new Map<AST.Node, boolean>();
  readonly #asksStart = new Map<AST.Node, boolean>();

  constructor(regex: RegexBuilder, fail: (kind: "unsupported", what: string) => GrammarError) {
    this.#regex = regex;
    this.#fail = fail;
  }

  any(alternatives: readonly AST.Alternative[], atStart: boolean, rest: Rest): RegexNode {
    return this.#regex.alt(
      alternatives.map(({ elements }) => this.#sequence(elements, 0, rest).build(atStart)),
    );
  }

  #sequence(elements: readonly AST.Element[], from: number, after: Rest): Rest {
    let rest = after;
    // Elements without assertions in a row are one piece.
    for (let i = elements.length - 1; i >= from; i--) rest = this.#element(elements, i, rest);
    return rest;
  }

  #element(elements: readonly AST.Element[], index: number, rest: Rest): Rest {
    const element = elements[index]!;
    const regex = this.#regex;
    const known = new Map<boolean, RegexNode>();
    const memo = (asksStart: boolean, make: (atStart: boolean) => RegexNode): Rest => ({
      asksStart,
      build: (atStart) => {
        let node = known.get(atStart);
        if (node === undefined) known.set(atStart, node = make(atStart));
        return node;
      },
    });
    if (element.type === "Assertion") return this.#assertion(element, rest, memo);
    if (!this.#hasAssertion(element)) {
      const low = element.type === "Character" && isLow(element.value) && joins(elements[index - 1]);
      if (low) return rest; // taken together with the half before it
      const node = this.#plain(element, elements[index + 1]);
      return memo(rest.asksStart, (atStart) => {
        if (!atStart || !rest.asksStart) return regex.concat(node, rest.build(false));
        if (!node.nullable) return regex.concat(node, rest.build(false));
        const some = regex.and([node, regex.loop(regex.anyChar, 1, Infinity)]);
        return regex.alt([regex.concat(some, rest.build(false)), rest.build(true)]);
      });
    }
    const asks = rest.asksStart || this.#hasStart(element);
    if (element.type === "Group" || element.type === "CapturingGroup") {
      return memo(asks, (atStart) => this.any(element.alternatives, atStart, rest));
    }
    if (element.type === "Quantifier") {
      const { min, max } = element;
      if (max > MAX_UNROLLED) {
        throw this.#fail("unsupported", `${element.raw}: an assertion inside a repetition`);
      }
      let all = rest;
      for (let i = max; i > 0; i--) {
        const [later, needed] = [all, i <= min];
        const once = this.#element([element.element], 0, later);
        all = needed ? once : {
          asksStart: asks,
          build: (atStart) => regex.alt([once.build(atStart), rest.build(atStart)]),
        };
      }
      return memo(asks, (atStart) => all.build(atStart));
    }
    throw this.#fail("unsupported", `${element.raw} cannot be expressed`);
  }

  #assertion(
    element: AST.Assertion,
    rest: Rest,
    memo: (asksStart: boolean, make: (atStart: boolean) => RegexNode) => Rest,
  ): Rest {
    const regex = this.#regex;
    switch (element.kind) {
      case "start":
        return memo(true, (atStart) => atStart ? rest.build(true) : regex.none);
      case "end":
        return memo(rest.asksStart, (atStart) => regex.and([rest.build(atStart), regex.epsilon]));
      case "lookahead": {
        const anything: Rest = { asksStart: false, build: () => regex.all };
        const asks = rest.asksStart || element.alternatives.some((one) => this.#hasStart(one));
        return memo(asks, (atStart) => {
          const ahead = this.any(element.alternatives, atStart, anything);
          return regex.and([element.negate ? regex.not(ahead) : ahead, rest.build(atStart)]);
        });
      }
      case "lookbehind":
      case "word":
        throw this.#fail("unsupported", `${element.raw}: lookbehinds and word boundaries are not supported`);
    }
  }

  // Without assertions inside.
  #plain(element: AST.QuantifiableElement | AST.Element, next?: AST.Element): RegexNode {
    const regex = this.#regex;
    switch (element.type) {
      case "Character": {
        const value = isHigh(element.value) && next?.type === "Character" && isLow(next.value)
          ? ((element.value - 0xd800) << 10) + next.value - 0xdc00 + 0x10000
          : element.value;
        return regex.chars(charSet([[value, value]]));
      }
      case "CharacterSet":
        return regex.chars(this.#set(element));
      case "CharacterClass":
        return regex.chars(this.#class(element));
      case "Group":
        if (element.modifiers !== null) {
          throw this.#fail("unsupported", `${element.raw}: flags within a group`);
        }
        return regex.alt(element.alternatives.map((one) => this.#row(one.elements)));
      case "CapturingGroup":
        return regex.alt(element.alternatives.map((one) => this.#row(one.elements)));
      case "Quantifier":
        return regex.loop(this.#plain(element.element), element.min, element.max);
      case "Backreference":
        throw this.#fail("unsupported", `${element.raw}: backreferences are not regular`);
      case "ExpressionCharacterClass":
      case "Assertion":
        throw this.#fail("unsupported", `${element.raw} cannot be expressed`);
    }
  }

  #row(elements: readonly AST.Element[]): RegexNode {
    const parts = elements.map((element, i) =>
      element.type === "Character" && isLow(element.value) && joins(elements[i - 1])
        ? this.#regex.epsilon
        : this.#plain(element, elements[i + 1])
    );
    return this.#regex.concat(...parts);
  }

  #class(element: AST.CharacterClass): CharSet {
    let set: CharSet = [];
    for (const part of element.elements) {
      switch (part.type) {
        case "Character":
          set = unionSets(set, oneChar(part.value));
          break;
        case "CharacterClassRange":
          set = unionSets(set, [part.min.value, part.max.value]);
          break;
        case "CharacterSet":
          set = unionSets(set, this.#set(part));
          break;
        default:
          throw this.#fail("unsupported", `${element.raw}: nested classes`);
      }
    }
    return element.negate ? complementSet(set) : intersectSets(set, charSet([[0, MAX_CODE_POINT]]));
  }

  #set(element: AST.CharacterSet): CharSet {
    const of = (set: CharSet): CharSet => "negate" in element && element.negate ? complementSet(set) : set;
    switch (element.kind) {
      case "any":
        return complementSet(LINE_ENDS);
      case "digit":
        return of(DIGITS);
      case "space":
        return of(SPACE);
      case "word":
        return of(WORD);
      case "property":
        this.#regex.charge(PROPERTY_STEPS);
        return propertySet(element.raw);
    }
  }

  #hasAssertion(node: AST.Node): boolean {
    return this.#contains(node, this.#asserts, (element) => element.type === "Assertion");
  }

  #hasStart(node: AST.Node): boolean {
    return this.#contains(
      node,
      this.#asksStart,
      (element) => element.type === "Assertion" && element.kind === "start",
    );
  }

  #contains(node: AST.Node, known: Map<AST.Node, boolean>, test: (node: AST.Node) => boolean): boolean {
    let found = known.get(node);
    if (found === undefined) {
      const inside: readonly AST.Node[] = "alternatives" in node
        ? node.alternatives
        : node.type === "Alternative"
        ? node.elements
        : node.type === "Quantifier"
        ? [node.element]
        : [];
      found = test(node) || inside.some((child) => this.#contains(child, known, test));
      known.set(node, found);
    }
    return found;
  }
}

function isHigh(value: number): boolean {
  return value >= 0xd800 && value <= 0xdbff;
}

function isLow(value: number): boolean {
  return value >= 0xdc00 && value <= 0xdfff;
}

function joins(before: AST.Element | undefined): boolean {
  return before?.type === "Character" && isHigh(before.value);
}

function propertySet(raw: string): CharSet {
  let set = properties.get(raw);
  if (set === undefined) {
    const test = new RegExp(`^${raw}$`, "u");
    const ranges: [number, number][] = [];
    for (let point = 0, start = -1; point <= MAX_CODE_POINT + 1; point++) {
      if (point === 0xd800) point = 0xe000;
      const has = point <= MAX_CODE_POINT && test.test(String.fromCodePoint(point));
      if (has && start < 0) start = point;
      if (!has && start >= 0) {
        ranges.push([start, point - 1]);
        start = -1;
      }
    }
    properties.set(raw, set = charSet(ranges));
  }
  return set;
}
