/**
 * What is left of a language whatever the next characters are, as long as they are of one set: where something is, all
 * tokens of such characters are allowed without looking at one of them. Of one text the rest is the derivative; of all
 * of them at once it is bounded here, by the structure of the expression: from below for what has to go on, and from
 * above where a complement turns that around. A bound may be too narrow (then nothing is known), never too wide.
 */
import type { RegexBuilder } from "./builder.ts";
import { type CharSet, intersectSets } from "./char_set.ts";
import type { RegexNode } from "./node.ts";

/** Bounds for texts of one set of characters. */
export class Whatever {
  readonly #regex: RegexBuilder;
  readonly #set: CharSet;
  readonly #lower = new Map<number, Map<RegexNode, RegexNode>>();
  readonly #upper = new Map<number, Map<RegexNode, RegexNode>>();
  readonly #touched = new Map<RegexNode, "all" | "some" | "none">();

  /** For texts of the characters of `set`, which is not empty. */
  constructor(regex: RegexBuilder, set: CharSet) {
    this.#regex = regex;
    this.#set = set;
  }

  /** Texts that may follow on every text of exactly `length` characters. */
  lower(node: RegexNode, length: number): RegexNode {
    if (length === 0) return node;
    return known(this.#lower, length, node, () => this.#lowerOf(node, length));
  }

  #lowerOf(node: RegexNode, length: number): RegexNode {
    const regex = this.#regex;
    const { kind, children, min, max } = node;
    regex.charge(1);
    switch (kind) {
      case "none":
      case "epsilon":
      case "machine":
        return regex.none;
      case "chars":
        return length === 1 && this.#touch(node) === "all" ? regex.epsilon : regex.none;
      case "loop": {
        const item = children[0]!;
        if (item.kind !== "chars") { // all of it within the first turn
          return regex.concat(this.lower(item, length), regex.loop(item, Math.max(0, min - 1), max - 1));
        }
        if (this.#touch(item) !== "all" || max < length) return regex.none;
        return regex.loop(item, Math.max(0, min - length), max - length);
      }
      case "concat":
        return this.#lowerConcat(children[0]!, children[1]!, length);
      case "alt":
        return regex.alt(children.map((child) => this.lower(child, length)));
      case "and":
        return regex.and(children.map((child) => this.lower(child, length)));
      case "not":
        return regex.not(this.upper(children[0]!, length));
    }
  }

  // All characters in the first part; or as few or as many of them as it may have, and the others in the rest.
  #lowerConcat(first: RegexNode, rest: RegexNode, length: number): RegexNode {
    const regex = this.#regex;
    const found = [regex.concat(this.lower(first, length), rest)];
    const item = first.kind === "loop" ? first.children[0]! : first;
    if (item.kind === "chars" && this.#touch(item) === "all") {
      const [min, max] = first.kind === "loop" ? [first.min, first.max] : [1, 1];
      for (const taken of new Set([min, max])) {
        if (taken < length) found.push(this.lower(rest, length - taken));
      }
    } else if (first.nullable) found.push(this.lower(rest, length));
    return regex.alt(found);
  }

  /** All texts that may follow on any text of up to `length` characters. */
  upper(node: RegexNode, length: number): RegexNode {
    return known(this.#upper, length, node, () => this.#upperOf(node, length));
  }

  #upperOf(node: RegexNode, length: number): RegexNode {
    const regex = this.#regex;
    const { kind, children, min, max } = node;
    regex.charge(1);
    // Of what is finite, and may be a list of a thousand words, nothing but the length.
    if (kind !== "chars" && node.maxLength < Infinity) return regex.loop(regex.anyChar, 0, node.maxLength);
    switch (kind) {
      case "none":
      case "epsilon":
        return node;
      case "chars":
        return this.#touch(node) === "none" ? node : regex.alt([node, regex.epsilon]);
      case "loop": {
        const item = children[0]!;
        if (item.kind === "chars" && this.#touch(item) === "none") return node;
        const rest = regex.loop(item, Math.max(0, min - length), max);
        return item.kind === "chars" ? rest : regex.alt([rest, regex.concat(this.upper(item, length), rest)]);
      }
      case "concat": {
        const [first, rest] = [children[0]!, children[1]!];
        const within = regex.concat(this.upper(first, length), rest);
        return first.minLength <= length && this.#touch(first) !== "none"
          ? regex.alt([within, this.upper(rest, length)])
          : within;
      }
      case "alt":
        return regex.alt(children.map((child) => this.upper(child, length)));
      case "and":
        return regex.and(children.map((child) => this.upper(child, length)));
      case "not":
      case "machine":
        return regex.all;
    }
  }

  // Of characters, how many of them are of the set; of anything else, whether a text of the set may belong to it.
  #touch(node: RegexNode): "all" | "some" | "none" {
    let touched = this.#touched.get(node);
    if (touched === undefined) this.#touched.set(node, touched = this.#touchOf(node));
    return touched;
  }

  #touchOf({ kind, children, chars, nullable }: RegexNode): "all" | "some" | "none" {
    if (nullable) return "some";
    switch (kind) {
      case "chars": {
        const both = intersectSets(chars, this.#set);
        return both.length === 0 ? "none" : both.join() === this.#set.join() ? "all" : "some";
      }
      case "loop":
      case "concat":
      case "and":
        return children.every((child) => this.#touch(child) !== "none") ? "some" : "none";
      case "alt":
        return children.some((child) => this.#touch(child) !== "none") ? "some" : "none";
      case "none":
        return "none";
      case "epsilon":
      case "not":
      case "machine":
        return "some";
    }
  }
}

function known(
  memo: Map<number, Map<RegexNode, RegexNode>>,
  length: number,
  node: RegexNode,
  make: () => RegexNode,
): RegexNode {
  let of = memo.get(length);
  if (of === undefined) memo.set(length, of = new Map());
  let found = of.get(node);
  if (found === undefined) of.set(node, found = make());
  return found;
}
