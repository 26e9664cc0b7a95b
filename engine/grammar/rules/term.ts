/**
 * Context-free grammars as positions. A grammar is terms: texts of regular languages, calls of rules, sequences,
 * alternatives, repetitions, JSON values and free text with tags. Whatever is regular becomes one text while it is
 * built, so stacks are used only for what really nests. Left recursion is turned into repetition beforehand.
 */
import { type Position, type Row, step } from "../automaton/position.ts";
import type { PositionTable } from "../automaton/table.ts";
import { plainText } from "../automaton/text.ts";
import type { RegexNode } from "../regex/node.ts";
import type { ValueStarts } from "../json/values.ts";
import { GrammarError } from "../errors.ts";

/** A piece of a grammar. */
export type Term =
  | { readonly kind: "text"; readonly node: RegexNode }
  | { readonly kind: "rule"; readonly rule: Rule }
  | { readonly kind: "sequence"; readonly parts: readonly Term[] }
  | { readonly kind: "alternatives"; readonly parts: readonly Term[] }
  | { readonly kind: "repeat"; readonly part: Term; readonly min: number; readonly max: number }
  | { readonly kind: "json"; readonly starts: ValueStarts }
  | { readonly kind: "position"; readonly position: Position };

/** A named rule; its body comes later, so that rules can refer to each other. */
export interface Rule {
  /** Its name. */
  readonly name: string;
  /** What it is. */
  body: Term | undefined;
  /** Whether it may be empty, as far as is known. */
  nullable: boolean;
}

/** Makes terms in normal form and turns them into positions. */
export class Terms {
  readonly #table: PositionTable;
  readonly #ids = new Map<Term, number>();

  /** Makes positions in this table. */
  constructor(table: PositionTable) {
    this.#table = table;
  }

  /** A text of a regular language. */
  text(node: RegexNode): Term {
    return { kind: "text", node };
  }

  /** One after the other. */
  sequence(parts: readonly Term[]): Term {
    const { regex } = this.#table;
    const flat: Term[] = [];
    for (const part of parts.flatMap((part) => part.kind === "sequence" ? part.parts : [part])) {
      const last = flat.at(-1);
      if (part.kind === "text" && part.node === regex.epsilon) continue;
      if (part.kind === "text" && last?.kind === "text") {
        flat[flat.length - 1] = this.text(regex.concat(last.node, part.node));
      } else flat.push(part);
    }
    if (flat.length === 0) return this.text(regex.epsilon);
    return flat.length === 1 ? flat[0]! : { kind: "sequence", parts: flat };
  }

  /** Any one of them. */
  alternatives(parts: readonly Term[]): Term {
    const { regex } = this.#table;
    const flat = parts.flatMap((part) => part.kind === "alternatives" ? part.parts : [part]);
    const texts = flat.filter((part) => part.kind === "text").map((part) => part.node);
    const others = flat.filter((part) => part.kind !== "text");
    const text = regex.alt(texts);
    const all = text === regex.none ? others : [this.text(text), ...others];
    return all.length === 1 ? all[0]! : { kind: "alternatives", parts: all };
  }

  /** `min` to `max` times. */
  repeat(part: Term, min: number, max: number): Term {
    const { regex } = this.#table;
    if (part.kind === "text") return this.text(regex.loop(part.node, min, max));
    if (max === 0) return this.text(regex.epsilon);
    if (min === 1 && max === 1) return part;
    return { kind: "repeat", part, min, max };
  }

  /** Whether a term may be empty; of rules, as far as is known. */
  nullable(term: Term): boolean {
    switch (term.kind) {
      case "text":
        return term.node.nullable;
      case "rule":
        return term.rule.nullable;
      case "sequence":
        return term.parts.every((part) => this.nullable(part));
      case "alternatives":
        return term.parts.some((part) => this.nullable(part));
      case "repeat":
        return term.min === 0 || this.nullable(term.part);
      case "json":
        return false;
      case "position":
        return term.position.nullable;
    }
  }

  /** Finds which rules may be empty and removes left recursion. @throws GrammarError where that is indirect */
  settle(rules: readonly Rule[]): void {
    const find = (): void => {
      for (let changed = true; changed;) {
        changed = false;
        for (const rule of rules) {
          if (!rule.nullable && this.nullable(rule.body!)) changed = rule.nullable = true;
        }
      }
    };
    find();
    for (const rule of rules) this.#straighten(rule);
    find();
    this.#checkEnds(rules);
    const done = new Set<Rule>();
    for (const rule of rules) this.#checkLeft(rule, [], done);
  }

  // A rule that can only go on for ever matches nothing.
  #checkEnds(rules: readonly Rule[]): void {
    const ending = new Set<Rule>();
    const ends = (term: Term): boolean => {
      switch (term.kind) {
        case "text":
          return term.node !== this.#table.regex.none;
        case "rule":
          return ending.has(term.rule);
        case "sequence":
          return term.parts.every(ends);
        case "alternatives":
          return term.parts.some(ends);
        case "repeat":
          return term.min === 0 || ends(term.part);
        case "json":
        case "position":
          return true;
      }
    };
    for (let before = -1; before < ending.size;) {
      before = ending.size;
      for (const rule of rules) if (ends(rule.body!)) ending.add(rule);
    }
    const lost = rules.find((rule) => !ending.has(rule));
    if (lost !== undefined) throw new GrammarError("empty", lost.name, "", "the rule never ends");
  }

  // A ::= A x | y is A ::= y x*.
  #straighten(rule: Rule): void {
    const parts = rule.body!.kind === "alternatives" ? rule.body!.parts : [rule.body!];
    const isSelf = (term: Term | undefined): boolean => term?.kind === "rule" && term.rule === rule;
    const starts = (part: Term): boolean =>
      isSelf(part) || (part.kind === "sequence" && isSelf(part.parts[0]));
    if (!parts.some(starts)) return;
    const tails = parts.filter(starts).flatMap((part) =>
      part.kind === "sequence" ? [this.sequence(part.parts.slice(1))] : []
    );
    const bases = parts.filter((part) => !starts(part));
    if (bases.length === 0) throw new GrammarError("empty", rule.name, "", "the rule never ends");
    const base = this.alternatives(bases);
    rule.body = tails.length === 0
      ? base
      : this.sequence([base, this.repeat(this.alternatives(tails), 0, Infinity)]);
  }

  #checkLeft(rule: Rule, path: readonly Rule[], done: Set<Rule>): void {
    if (path.includes(rule)) {
      throw new GrammarError("unsupported", rule.name, "", "the rule begins with itself by way of others");
    }
    if (done.has(rule)) return;
    if (path.length > 1000) throw new GrammarError("limit", rule.name, "", "rules are nested too deeply");
    const visit = (term: Term): void => {
      switch (term.kind) {
        case "rule":
          return this.#checkLeft(term.rule, [...path, rule], done);
        case "sequence":
          for (const part of term.parts) {
            visit(part);
            if (!this.nullable(part)) return;
          }
          return;
        case "alternatives":
          return term.parts.forEach(visit);
        case "repeat":
          return visit(term.part);
        case "text":
        case "json":
        case "position":
          return;
      }
    };
    visit(rule.body!);
    done.add(rule);
  }

  /** Where a term begins; undefined where it is only the empty text. */
  position(term: Term): Position | undefined {
    switch (term.kind) {
      case "text":
        return plainText(this.#table, term.node);
      case "position":
        return term.position;
      case "rule":
        return this.position(term.rule.body!);
      case "sequence":
      case "alternatives":
      case "repeat":
      case "json": {
        let id = this.#ids.get(term);
        if (id === undefined) this.#ids.set(term, id = this.#table.newOwner());
        return this.#table.get(`g${id}`, () => this.#step(term, id));
      }
    }
  }

  /** The rest of a sequence. */
  rest(owner: number, parts: readonly Term[], from: number): Position | undefined {
    if (from === parts.length) return undefined;
    if (from === parts.length - 1) return this.position(parts[from]!);
    const rest: Term = { kind: "sequence", parts: parts.slice(from) };
    return this.#table.get(`gs${owner},${from}`, () => this.#step(rest, this.#table.newOwner()));
  }

  /** The remaining repetitions. */
  again(owner: number, part: Term, min: number, max: number): Position | undefined {
    if (max === 0) return undefined;
    const rest: Term = { kind: "repeat", part, min, max };
    return this.#table.get(`gr${owner},${min},${max}`, () => this.#step(rest, owner));
  }

  #step(term: Term, owner: number): Position {
    return step((byte) => this.#rows(term, byte, owner), this.nullable(term));
  }

  #on(term: Term, byte: number): readonly Row[] {
    const position = this.position(term);
    return position === undefined ? [] : this.#table.on(position, byte);
  }

  /** What a term becomes on its first byte. */
  #rows(term: Term, byte: number, owner: number): readonly Row[] {
    switch (term.kind) {
      case "sequence": {
        const rows: Row[] = [];
        for (let i = 0; i < term.parts.length; i++) {
          const part = term.parts[i]!;
          const rest = this.rest(owner, term.parts, i + 1);
          const own = this.#on(part, byte);
          rows.push(...(rest === undefined ? own : own.map((row) => [rest, ...row])));
          if (!this.nullable(part)) break;
        }
        return rows;
      }
      case "alternatives":
        return term.parts.flatMap((part) => this.#on(part, byte));
      case "repeat": {
        const rest = this.again(owner, term.part, Math.max(0, term.min - 1), term.max - 1);
        const own = this.#on(term.part, byte);
        return rest === undefined ? own : own.map((row) => [rest, ...row]);
      }
      case "json":
        return term.starts.on(byte);
      case "text":
      case "rule":
      case "position":
        return this.#on(term, byte);
    }
  }
}
