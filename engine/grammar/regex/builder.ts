/**
 * Builds regular languages in normal form: associativity, commutativity, idempotence and a few absorptions are applied
 * while building, which keeps the number of derivatives finite and, for the expressions people write, small.
 */
import type { Budget } from "../limits.ts";
import { ANY_CHAR, type CharSet, intersectSets, oneChar, unionSets } from "./char_set.ts";
import { type CharMachine, pairKey, RegexNode } from "./node.ts";

type Fields = ConstructorParameters<typeof RegexNode>[2];

/** Makes nodes; equal ones are the same object as long as the table is not cleared. */
export class RegexBuilder {
  /** By what they are made of: those of two parts, which most are, by both numbers in one. */
  #table = new Map<string | number, RegexNode>();
  #nextId = 0;
  readonly #budget: () => Budget;
  /** No text. */
  readonly none: RegexNode;
  /** The empty text. */
  readonly epsilon: RegexNode;
  /** One character. */
  readonly anyChar: RegexNode;
  /** Every text. */
  readonly all: RegexNode;

  /** `budget` gives what the present work is charged to. */
  constructor(budget: () => Budget) {
    this.#budget = budget;
    this.none = this.#make("0", "none", {
      nullable: false,
      simple: true,
      minLength: Infinity,
      maxLength: -1,
      wayOut: 0,
    });
    this.epsilon = this.#make("1", "epsilon", {
      nullable: true,
      simple: true,
      minLength: 0,
      maxLength: 0,
      wayOut: 0,
    });
    this.anyChar = this.chars(ANY_CHAR);
    this.all = this.loop(this.anyChar, 0, Infinity);
  }

  /** How many nodes the table holds. */
  get size(): number {
    return this.#table.size;
  }

  /** Charges work that makes no nodes. */
  charge(steps: number): void {
    this.#budget().spend(steps);
  }

  /** Forgets positions of nodes, or `all` but the constants; nodes still held elsewhere stay valid. */
  clear(all = true): void {
    for (const [key, node] of this.#table) {
      node.positions = undefined;
      if (all) node.transitions = undefined;
      if (all && node.id > this.all.id) this.#table.delete(key); // the constants were made first
    }
  }

  #make(key: string | number, kind: RegexNode["kind"], fields: Fields): RegexNode {
    const known = this.#table.get(key);
    if (known !== undefined) return known;
    this.#budget().spend();
    const node = new RegexNode(this.#nextId++, kind, fields);
    this.#table.set(key, node);
    return node;
  }

  /** One character of a set. */
  chars(set: CharSet): RegexNode {
    if (set.length === 0) return this.none;
    return this.#make(`c${set.join()}`, "chars", {
      nullable: false,
      simple: true,
      minLength: 1,
      maxLength: 1,
      wayOut: 1,
      chars: set,
    });
  }

  /** Exactly this text. */
  literal(text: string): RegexNode {
    let node = this.epsilon;
    const points = [...text];
    for (let i = points.length - 1; i >= 0; i--) {
      node = this.#pair(this.chars(oneChar(points[i]!.codePointAt(0)!)), node);
    }
    return node;
  }

  /** Any of these texts: a tree by first characters, so that its derivatives stay small. */
  literals(texts: readonly string[]): RegexNode {
    const build = (sorted: readonly (readonly number[])[], depth: number): RegexNode => {
      const parts: RegexNode[] = [];
      for (let i = 0; i < sorted.length;) {
        const first = sorted[i]![depth];
        let end = i + 1;
        while (end < sorted.length && sorted[end]![depth] === first) end++;
        if (first === undefined) parts.push(this.epsilon);
        else if (end === i + 1) parts.push(this.#tail(sorted[i]!, depth));
        else parts.push(this.#pair(this.chars(oneChar(first)), build(sorted.slice(i, end), depth + 1)));
        i = end;
      }
      return this.alt(parts);
    };
    const points = [...new Set(texts)].map((text) => [...text].map((c) => c.codePointAt(0)!));
    points.sort((a, b) => {
      for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
      return a.length - b.length;
    });
    return build(points, 0);
  }

  #tail(points: readonly number[], from: number): RegexNode {
    let node = this.epsilon;
    for (let i = points.length - 1; i >= from; i--) node = this.#pair(this.chars(oneChar(points[i]!)), node);
    return node;
  }

  /** One after the other. */
  concat(...parts: readonly RegexNode[]): RegexNode {
    const flat: RegexNode[] = [];
    for (let part of parts) {
      if (part.kind === "none") return this.none;
      while (part.kind === "concat") {
        this.#budget().spend();
        flat.push(part.children[0]!);
        part = part.children[1]!;
      }
      if (part.kind !== "epsilon") flat.push(part);
    }
    let node = this.epsilon;
    for (let i = flat.length - 1; i >= 0; i--) node = this.#pair(flat[i]!, node);
    return node;
  }

  // `a` is no concatenation. Neighbours that repeat the same thing become one repetition.
  #pair(a: RegexNode, b: RegexNode): RegexNode {
    if (a.kind === "none" || b.kind === "none") return this.none;
    if (a.kind === "epsilon") return b;
    if (b.kind === "epsilon") return a;
    const next = b.kind === "concat" ? b.children[0]! : b;
    const [left, min, max] = repetition(a), [right, nextMin, nextMax] = repetition(next);
    if (left === right && (a.kind === "loop" || next.kind === "loop")) {
      const merged = this.loop(left, min + nextMin, max + nextMax);
      return b.kind === "concat" ? this.#pair(merged, b.children[1]!) : merged;
    }
    return this.#make(pairKey(a, b), "concat", {
      nullable: a.nullable && b.nullable,
      simple: a.simple && b.simple,
      minLength: a.minLength + b.minLength,
      maxLength: a.maxLength + b.maxLength,
      wayOut: Math.max(a.wayOut + b.minLength, b.wayOut),
      children: [a, b],
    });
  }

  /** `min` to `max` times; `max` may be infinite. */
  loop(node: RegexNode, min: number, max: number): RegexNode {
    if (max < min) return this.none;
    if (max === 0 || node.kind === "epsilon") return this.epsilon;
    if (node.kind === "none") return min === 0 ? this.epsilon : this.none;
    if (min === 1 && max === 1) return node;
    if (node.nullable) {
      min = 0;
      if (node.kind === "alt" && node.children.includes(this.epsilon)) {
        return this.loop(this.alt(node.children.filter((child) => child !== this.epsilon)), 0, max);
      }
    }
    if (node.kind === "loop" && max === Infinity && node.max === Infinity && node.min <= 1) {
      return this.loop(node.children[0]!, node.min * min, Infinity);
    }
    return this.#make(`*${node.id},${min},${max}`, "loop", {
      nullable: min === 0,
      simple: node.simple,
      minLength: min === 0 ? 0 : node.minLength * min,
      maxLength: node.maxLength === 0 ? 0 : node.maxLength * max,
      count: Math.max(node.count, max === Infinity ? min : max),
      wayOut: node.wayOut + Math.max(0, min - 1) * node.minLength,
      children: [node],
      min,
      max,
    });
  }

  /** May be left out. */
  optional(node: RegexNode): RegexNode {
    return this.loop(node, 0, 1);
  }

  /** Any of them. */
  alt(parts: readonly RegexNode[]): RegexNode {
    const found = new Set<RegexNode>();
    let set: CharSet = [];
    const add = (part: RegexNode): void => {
      if (part.kind === "alt") part.children.forEach(add);
      else if (part.kind === "chars") set = set.length === 0 ? part.chars : unionSets(set, part.chars);
      else if (part.kind !== "none") found.add(part);
    };
    parts.forEach(add);
    if (set.length > 0) found.add(this.chars(set));
    if (found.size > 1) this.#joinLoops(found);
    if (found.has(this.all)) return this.all;
    const others = [...found].filter((part) => part !== this.epsilon);
    if (found.has(this.epsilon) && others.some((part) => part.nullable)) found.delete(this.epsilon);
    if (found.size <= 1) return [...found][0] ?? this.none;
    if (found.size === 2 && found.has(this.epsilon) && others[0]!.kind === "loop" && others[0]!.min === 1) {
      return this.loop(others[0]!.children[0]!, 0, others[0]!.max);
    }
    const children = [...found].sort((a, b) => a.id - b.id);
    this.#budget().spend(children.length);
    return this.#make(`|${children.map((child) => child.id).join()}`, "alt", {
      nullable: children.some((child) => child.nullable),
      simple: children.every((child) => child.simple),
      minLength: Math.min(...children.map((child) => child.minLength)),
      maxLength: Math.max(...children.map((child) => child.maxLength)),
      wayOut: Math.max(...children.map((child) => child.wayOut)),
      children,
    });
  }

  // What begins with so many of a thing or with so many more of it, and goes on in the same way, is one: x{0,3}y and
  // x{2,5}y are x{0,5}y. The places inside a repetition of repetitions would else be as many as the ways to come there.
  #joinLoops(found: Set<RegexNode>): void {
    const seen = new Map<string | number, { part: RegexNode; min: number; max: number }>();
    for (let part of [...found]) {
      const [head, rest] = part.kind === "concat"
        ? [part.children[0]!, part.children[1]!]
        : [part, this.epsilon];
      const [item, ...bounds] = repetition(head);
      let [min, max] = bounds;
      const key = pairKey(item, rest);
      const other = seen.get(key);
      if (other !== undefined && min <= other.max + 1 && other.min <= max + 1) {
        found.delete(part);
        found.delete(other.part);
        [min, max] = [Math.min(min, other.min), Math.max(max, other.max)];
        found.add(part = this.concat(this.loop(item, min, max), rest));
      }
      seen.set(key, { part, min, max });
    }
  }

  /** All of them at once. */
  and(parts: readonly RegexNode[]): RegexNode {
    const found = new Set<RegexNode>();
    const denied: RegexNode[] = [];
    const add = (part: RegexNode): void => {
      if (part.kind === "and") part.children.forEach(add);
      else if (part.kind === "not") denied.push(part.children[0]!);
      else if (part !== this.all) found.add(part);
    };
    parts.forEach(add);
    if (found.has(this.none)) return this.none;
    if (denied.length > 0) {
      const not = this.not(this.alt(denied));
      if (not.kind === "and") return this.and([...found, not]);
      if (not !== this.all) found.add(not);
      if (not === this.none || (denied.length > 0 && denied.some((part) => found.has(part)))) {
        return this.none;
      }
    }
    if (found.has(this.epsilon)) return [...found].every((part) => part.nullable) ? this.epsilon : this.none;
    this.#mergeLoops(found);
    if (found.has(this.none)) return this.none;
    if (found.size <= 1) return [...found][0] ?? this.all;
    const children = [...found].sort((a, b) => a.id - b.id);
    const minLength = Math.max(...children.map((child) => child.minLength));
    const maxLength = Math.min(...children.map((child) => child.maxLength));
    if (minLength > maxLength) return this.none;
    this.#budget().spend(children.length);
    return this.#make(`&${children.map((child) => child.id).join()}`, "and", {
      nullable: children.every((child) => child.nullable),
      simple: false,
      minLength,
      maxLength,
      children,
    });
  }

  // Repetitions of single characters intersect into one; a length bound that another part keeps anyway is dropped.
  #mergeLoops(found: Set<RegexNode>): void {
    let loop: RegexNode | undefined;
    for (const part of [...found]) {
      const [item, min, max] = repetition(part);
      if (item.kind !== "chars") continue;
      found.delete(part);
      if (loop === undefined) loop = part;
      else {
        const [inner, low, high] = repetition(loop);
        loop = this.loop(
          this.chars(intersectSets(inner.chars, item.chars)),
          Math.max(min, low),
          Math.min(max, high),
        );
      }
    }
    if (loop === undefined) return;
    const [item, min, max] = repetition(loop);
    const kept = item === this.anyChar &&
      [...found].some((part) => part.minLength >= min && part.maxLength <= max);
    if (!kept) found.add(loop);
  }

  /** Every text that is not in it. */
  not(node: RegexNode): RegexNode {
    if (node.kind === "not") return node.children[0]!;
    if (node === this.none) return this.all;
    if (node === this.all) return this.none;
    if (node.kind === "loop" && node.children[0] === this.anyChar) {
      return this.alt([
        node.min > 0 ? this.loop(this.anyChar, 0, node.min - 1) : this.none,
        node.max < Infinity ? this.loop(this.anyChar, node.max + 1, Infinity) : this.none,
      ]);
    }
    return this.#make(`!${node.id}`, "not", {
      nullable: !node.nullable,
      simple: false,
      minLength: node.nullable ? 1 : 0,
      maxLength: Infinity,
      children: [node],
    });
  }

  /** A hand-made machine in one of its states. */
  machine(machine: CharMachine, state = 0): RegexNode {
    if (state < 0) return this.none;
    return this.#make(`m${machine.name}:${state}`, "machine", {
      nullable: machine.accepts(state),
      simple: false,
      minLength: machine.accepts(state) ? 0 : 1,
      maxLength: Infinity,
      machine,
      state,
    });
  }
}

/** Of what, and how often at least and at most: any node is itself once. */
function repetition(node: RegexNode): [item: RegexNode, min: number, max: number] {
  return node.kind === "loop" ? [node.children[0]!, node.min, node.max] : [node, 1, 1];
}
