/**
 * Regular languages over code points, as hash-consed expressions: equal expressions are one object, so a state of the
 * automaton is an expression and a set of states is never needed. Beside the usual operators there are intersection,
 * complement and counted repetition, which JSON Schema needs (`pattern` with `maxLength`, `not`, `allOf`), and small
 * hand-made machines for arithmetic on digits.
 * Source: Brzozowski, Derivatives of regular expressions (1964); Owens, Reppy, Turon, Regular-expression derivatives
 * re-examined (2009).
 */
import type { CharSet } from "./char_set.ts";

/** What a node is. */
export type RegexKind = "none" | "epsilon" | "chars" | "concat" | "alt" | "and" | "not" | "loop" | "machine";

/** A deterministic machine over ASCII characters, its states numbered by itself; −1 is dead. */
export interface CharMachine {
  /** Names the language: two machines of one name are the same. */
  readonly name: string;
  /** The characters it can take. */
  readonly alphabet: string;
  /** The state after a character. */
  next(state: number, codePoint: number): number;
  /** Whether a text may end in a state. */
  accepts(state: number): boolean;
}

/** Where a node goes: sorted disjoint ranges of code points and the node after each. */
export interface Transitions {
  /** First code points. */
  readonly lo: readonly number[];
  /** Last code points. */
  readonly hi: readonly number[];
  /** Where each range leads. */
  readonly to: readonly RegexNode[];
}

const NONE: readonly never[] = [];

/** One language. Made by `RegexBuilder` only. */
export class RegexNode {
  /** For the keys of others. */
  readonly id: number;
  /** What it is. */
  readonly kind: RegexKind;
  /** Whether the empty text belongs to it. */
  readonly nullable: boolean;
  /** Whether it is made without intersection, complement and machines: then it is not empty unless it is `none`. */
  readonly simple: boolean;
  /** Fewest and most characters (bounds, exact where `simple`). */
  readonly minLength: number;
  /** Most characters: an upper bound. */
  readonly maxLength: number;
  /** The largest finite count of a repetition in it. */
  readonly count: number;
  /** Where it is simple, the most characters that an end is away from any place in it; else infinite. */
  readonly wayOut: number;
  /** What it is made of. */
  readonly children: readonly RegexNode[];
  /** Of one character: which. */
  readonly chars: CharSet;
  /** Of a repetition: at least. */
  readonly min: number;
  /** Of a repetition: at most. */
  readonly max: number;
  /** Of a machine: which. */
  readonly machine: CharMachine | undefined;
  /** Of a machine: its state. */
  readonly state: number;
  /** Memo of the builder: where it goes, whether anything can still be accepted. */
  transitions: Transitions | undefined = undefined;
  /** Memo: whether anything is accepted. */
  live: boolean | undefined = undefined;
  /** Memo: see `Derivatives.free`. */
  free: number | undefined = undefined;
  /** Memo of the automaton: its positions inside a text of this language. */
  positions: unknown = undefined;

  /** Takes its parts. */
  constructor(id: number, kind: RegexKind, fields: {
    nullable: boolean;
    simple: boolean;
    minLength: number;
    maxLength: number;
    count?: number;
    wayOut?: number;
    children?: readonly RegexNode[];
    chars?: CharSet;
    min?: number;
    max?: number;
    machine?: CharMachine;
    state?: number;
  }) {
    this.id = id;
    this.kind = kind;
    this.nullable = fields.nullable;
    this.simple = fields.simple;
    this.minLength = fields.minLength;
    this.maxLength = fields.maxLength;
    this.children = fields.children ?? NONE;
    this.count = fields.count ?? this.children.reduce((most, { count }) => Math.max(most, count), 0);
    this.wayOut = fields.wayOut ?? Infinity;
    this.chars = fields.chars ?? NONE;
    this.min = fields.min ?? 0;
    this.max = fields.max ?? 0;
    this.machine = fields.machine;
    this.state = fields.state ?? 0;
  }
}

/** Two numbers below it fit into one. */
const HALF = 2 ** 26;

/** Tells pairs of nodes apart, nearly always without making a text. */
export function pairKey(a: RegexNode, b: RegexNode): number | string {
  return a.id < HALF && b.id < HALF ? a.id * HALF + b.id : `.${a.id},${b.id}`;
}
