/**
 * Derivatives: where a language goes on each character, for ranges of characters at once, and which of these places
 * can still reach an accepted text. Both are computed when first asked for and kept on the node, which makes the
 * automaton lazy: a bounded repetition of a million costs only the states that a text visits.
 */
import type { Budget } from "../limits.ts";
import { GrammarError } from "../errors.ts";
import { ANY_CHAR, type CharSet, charSet, complementSet, intersectSets } from "./char_set.ts";
import type { RegexBuilder } from "./builder.ts";
import type { RegexNode, Transitions } from "./node.ts";
import { Whatever } from "./whatever.ts";

const NOWHERE: Transitions = { lo: [], hi: [], to: [] };
/** States looked through for one accepted text before a language is refused as too hard. */
const MAX_SEARCH = 20_000;
/** States looked through for what saves work, and needs not be known. */
const MAX_TRIED = 32;
/** Parts of an expression for which that is tried. */
const MAX_PARTS = 64;
/** Longer texts are all the same to a search. */
const MAX_PROMISED = 4096;

/** What ordinary characters are not: special in JSON strings, or an end of a line, which `.` does not match. */
const SPECIAL = charSet([[0, 0x1f], [0x22, 0x22], [0x5c, 0x5c], [0x2028, 0x2029]]);
const ORDINARY = complementSet(SPECIAL);

function hasOrdinary(chars: CharSet): boolean {
  return intersectSets(complementSet(chars), ORDINARY).length === 0;
}

/** A place of a search, and the one before. */
interface Step {
  readonly node: RegexNode;
  readonly from: Step | undefined;
  readonly depth: number;
}

/** Computes derivatives with one builder. */
export class Derivatives {
  readonly #regex: RegexBuilder;
  readonly #budget: () => Budget;

  /** For the nodes of one builder; `budget` gives what the present work is charged to. */
  constructor(regex: RegexBuilder, budget: () => Budget) {
    this.#regex = regex;
    this.#budget = budget;
  }

  /** Where a node goes, dead ends included. */
  transitions(node: RegexNode): Transitions {
    return node.transitions ??= this.#derive(node);
  }

  /** The live node after a character, if any. */
  next(node: RegexNode, codePoint: number): RegexNode | undefined {
    const { lo, hi, to } = this.transitions(node);
    let low = 0, high = lo.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (codePoint < lo[middle]!) high = middle - 1;
      else if (codePoint > hi[middle]!) low = middle + 1;
      else return this.live(to[middle]!) ? to[middle]! : undefined;
    }
    return undefined;
  }

  /** Finds out now which of the next characters lead on. @throws GrammarError where that takes too long */
  prepare(node: RegexNode): void {
    for (const to of this.transitions(node).to) this.live(to);
  }

  /** Whether any character leads on. */
  leadsOn(node: RegexNode): boolean {
    return this.transitions(node).to.some((to) => this.live(to));
  }

  /** Whether any code point from `from` to `to` leads on. */
  anyWithin(node: RegexNode, from: number, to: number): boolean {
    const { lo, hi, to: targets } = this.transitions(node);
    for (let i = 0; i < lo.length && lo[i]! <= to; i++) {
      if (hi[i]! >= from && this.live(targets[i]!)) return true;
    }
    return false;
  }

  /** Where every code point from `from` to `to` leads, if that is one place. */
  onlyWithin(node: RegexNode, from: number, to: number): RegexNode | undefined {
    const { lo, hi, to: targets } = this.transitions(node);
    const at = lo.findLastIndex((low) => low <= from);
    return at >= 0 && hi[at]! >= to && this.live(targets[at]!) ? targets[at] : undefined;
  }

  /** Whether every code point of a set leads on. */
  takes(node: RegexNode, set: CharSet): boolean {
    const { lo, hi, to } = this.transitions(node);
    let at = 0;
    for (let i = 0; i < set.length; i += 2) {
      for (let from = set[i]!; from <= set[i + 1]!; from = hi[at]! + 1) {
        while (at < lo.length && hi[at]! < from) at++;
        if (at === lo.length || lo[at]! > from || !this.live(to[at]!)) return false;
      }
    }
    return true;
  }

  /** Whether it is known that every text of `length` characters of a set, not an empty one, may follow here. */
  takesAll(node: RegexNode, set: CharSet, length: number): boolean {
    if (!smaller(node, MAX_PARTS)) return false;
    const rest = new Whatever(this.#regex, set).lower(node, length);
    return this.liveWithin(rest, MAX_TRIED) ?? false;
  }

  /** Whether the node accepts a text. */
  matches(node: RegexNode, text: string): boolean {
    for (const char of text) {
      const next = this.next(node, char.codePointAt(0)!);
      if (next === undefined) return false;
      node = next;
    }
    return node.nullable;
  }

  /** Whether anything at all is accepted from here: a search through the derivatives, remembered on every node. */
  live(node: RegexNode): boolean {
    const found = this.liveWithin(node, MAX_SEARCH);
    if (found !== undefined) return found;
    throw new GrammarError(
      "limit",
      "pattern",
      "",
      "whether anything can match takes too long to find out",
    );
  }

  /** As `live`; undefined where `most` of its derivatives did not tell. */
  liveWithin(node: RegexNode, most: number): boolean | undefined {
    if (node.live !== undefined) return node.live;
    if (node.simple) return node.live = node.kind !== "none";
    // A text through a node has at least the characters that led there and the fewest that the node accepts. What
    // promises the shortest comes first and, of those, what was found last: that is mostly straight ahead.
    const open: Step[][] = [];
    const seen = new Set<RegexNode>();
    let best = 0;
    // True where that settles it.
    const look = (node: RegexNode, from: Step | undefined): boolean => {
      if (node.live === false || node.kind === "none" || seen.has(node)) return false;
      seen.add(node);
      const step: Step = { node, from, depth: from === undefined ? 0 : from.depth + 1 };
      if (node.nullable || node.simple || node.live === true) {
        for (let on: Step | undefined = step; on !== undefined; on = on.from) on.node.live = true;
        return true;
      }
      const promised = Math.min(step.depth + node.minLength, MAX_PROMISED);
      (open[promised] ??= []).push(step);
      best = Math.min(best, promised);
      return false;
    };
    if (look(node, undefined)) return true;
    while (best < open.length) {
      const step = open[best]?.pop();
      if (step === undefined) {
        best++;
        continue;
      }
      if (seen.size > most) return undefined;
      this.#budget().spend(4);
      for (const to of this.transitions(step.node).to) if (look(to, step)) return true;
    }
    for (const dead of seen) dead.live = false;
    return false;
  }

  /** How many characters, whichever they are, may follow here: nothing of that inside a string has to be looked at. */
  free(node: RegexNode): number {
    return node.free ??= this.#free(node);
  }

  #free(node: RegexNode): number {
    switch (node.kind) {
      case "loop":
        return node.children[0]!.kind === "chars" && hasOrdinary(node.children[0]!.chars) ? node.max : 0;
      case "concat":
        return this.live(node.children[1]!) ? this.free(node.children[0]!) : 0;
      case "alt":
        return Math.max(...node.children.map((child) => this.free(child)));
      case "not": // whatever has been written, something longer than all that is denied can follow
        return node.children[0]!.maxLength < Infinity ? Infinity : 0;
      case "and": { // all but finitely many texts of ordinary characters
        const most = node.children.map((child) => this.free(child));
        const kept = node.children.every(({ kind }) => kind === "loop" || kind === "not");
        return kept && most.every((free) => free === Infinity) ? Infinity : 0;
      }
      case "none":
      case "epsilon":
      case "chars":
      case "machine":
        return 0;
    }
  }

  #derive(node: RegexNode): Transitions {
    const regex = this.#regex;
    this.#budget().spend(2);
    switch (node.kind) {
      case "none":
      case "epsilon":
        return NOWHERE;
      case "chars":
        return this.#onSet(node.chars, regex.epsilon);
      case "concat": {
        const [first, rest] = [node.children[0]!, node.children[1]!];
        const head = this.#map(this.transitions(first), (to) => regex.concat(to, rest));
        return first.nullable ? this.#sweep([head, this.transitions(rest)], (to) => regex.alt(to)) : head;
      }
      case "alt":
        return this.#sweep(node.children.map((child) => this.transitions(child)), (to) => regex.alt(to));
      case "and": {
        const count = node.children.length;
        const [a, b] = [node.children[0]!, node.children[1]!];
        const bound = [a, b].find(({ kind, children }) => kind === "loop" && children[0] === regex.anyChar);
        if (count === 2 && bound !== undefined) { // every character takes one off the bound
          const rest = this.#less(bound);
          return this.#map(this.transitions(bound === a ? b : a), (to) => regex.and([to, rest]));
        }
        return this.#sweep(
          node.children.map((child) => this.transitions(child)),
          (to) => to.length < count ? regex.none : regex.and(to),
        );
      }
      case "not":
        return this.#sweep(
          [this.transitions(node.children[0]!), this.#onSet(ANY_CHAR, regex.none)],
          (to) => regex.not(to[0]!),
        );
      case "loop": {
        const rest = this.#less(node);
        return this.#map(this.transitions(node.children[0]!), (to) => regex.concat(to, rest));
      }
      case "machine": {
        const machine = node.machine!;
        const points = [...machine.alphabet].map((char) => char.charCodeAt(0)).sort((a, b) => a - b);
        const found = points.map((point) => [point, machine.next(node.state, point)] as const)
          .filter(([, state]) => state >= 0);
        return {
          lo: found.map(([point]) => point),
          hi: found.map(([point]) => point),
          to: found.map(([, state]) => regex.machine(machine, state)),
        };
      }
    }
  }

  #less({ children, min, max }: RegexNode): RegexNode {
    return this.#regex.loop(children[0]!, Math.max(0, min - 1), max - 1);
  }

  #onSet(set: CharSet, to: RegexNode): Transitions {
    const lo = set.filter((_, i) => i % 2 === 0);
    return { lo, hi: set.filter((_, i) => i % 2 === 1), to: lo.map(() => to) };
  }

  #map(from: Transitions, change: (to: RegexNode) => RegexNode): Transitions {
    const done = new Map<RegexNode, RegexNode>();
    const to = from.to.map((node) => {
      let changed = done.get(node);
      if (changed === undefined) done.set(node, changed = change(node));
      return changed;
    });
    return { lo: from.lo, hi: from.hi, to };
  }

  // Cuts the code points wherever any of the lists has a boundary and joins what they say in between. In `join`, the
  // targets come in the order of the lists.
  #sweep(lists: readonly Transitions[], join: (to: RegexNode[]) => RegexNode): Transitions {
    const at = lists.map(() => 0);
    const lo: number[] = [], hi: number[] = [], to: RegexNode[] = [];
    const joined = new Map<number | string, RegexNode>();
    let cuts = 0;
    for (let start = 0, end = 0; end < Infinity; start = end) {
      const targets: RegexNode[] = [];
      end = Infinity;
      for (let l = 0; l < lists.length; l++) {
        const list = lists[l]!;
        let i = at[l]!;
        while (i < list.lo.length && list.hi[i]! < start) i++;
        at[l] = i;
        if (i === list.lo.length) continue;
        if (list.lo[i]! > start) end = Math.min(end, list.lo[i]!);
        else {
          targets.push(list.to[i]!);
          end = Math.min(end, list.hi[i]! + 1);
        }
      }
      cuts++;
      if (targets.length === 0) continue;
      const key = keyOf(targets);
      let target = joined.get(key);
      if (target === undefined) joined.set(key, target = join(targets));
      if (target.kind === "none") continue;
      const last = to.length - 1;
      if (last >= 0 && to[last] === target && hi[last] === start - 1) hi[last] = end - 1;
      else {
        lo.push(start);
        hi.push(end - 1);
        to.push(target);
      }
    }
    this.#budget().spend(cuts * lists.length >> 3);
    // Copies have no room to grow, which would be most of them.
    return { lo: lo.slice(), hi: hi.slice(), to: to.slice() };
  }
}

function smaller(node: RegexNode, most: number): boolean {
  const parts = new Set([node]);
  for (const part of parts) {
    if (parts.size > most) return false;
    for (const child of part.children) parts.add(child);
  }
  return true;
}

/** Tells lists of nodes apart; of up to two without making a text. */
function keyOf(nodes: readonly RegexNode[]): number | string {
  if (nodes.length === 1) return nodes[0]!.id;
  return nodes.length === 2 && nodes[0]!.id < 2 ** 26 && nodes[1]!.id < 2 ** 26
    ? (nodes[0]!.id + 1) * 2 ** 26 + nodes[1]!.id
    : nodes.map(({ id }) => id).join();
}
