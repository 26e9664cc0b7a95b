// What has been sent to one replica, as far as it matters for routing: a radix tree of prompt keys, bounded.
//
// The replica's own radix cache is in another worker and changes with every step; this is a guess at its content, made
// from what was sent, as SGLang's router makes it ("approximate radix tree"). It forgets from the ends of the prompts
// that were used longest ago, like the cache does. Every element of a run was used last by the same key, because an
// insertion splits the runs that it leaves; so the tree equals a plain trie, to which a test compares it.

import { type Evictable, EvictionQueue } from "../../engine/kvcache/eviction_queue.ts";

interface Node extends Evictable {
  /** Its elements, at least one; empty only for the root. */
  run: Uint32Array;
  parent: Node | null;
  /** By the first element of their runs. */
  readonly children: Map<number, Node>;
}

/** Keys that were inserted, up to a number of elements. */
export class RoutingTree {
  readonly #bound: number;
  readonly #root = node(new Uint32Array(), null, 0);
  /** Leaves, and nodes that have been leaves. */
  readonly #leaves = new EvictionQueue<Node>();
  #size = 0;
  #time = 0;

  /** Holds at most `bound` elements, 1 or more. */
  constructor(bound: number) {
    this.#bound = bound;
  }

  /** Elements it holds. */
  get size(): number {
    return this.#size;
  }

  /** Length of the longest beginning of `key` that is known. */
  match(key: Uint32Array): number {
    return this.#walk(key).length;
  }

  /** Makes all of `key` known, and forgets what was used longest ago if there is no room. */
  insert(key: Uint32Array): void {
    const time = ++this.#time;
    const { length, last, within } = this.#walk(key);
    const above = within < last.run.length ? this.#split(last, within) : last;
    for (let each: Node | null = above; each !== null; each = each.parent) each.lastAccess = time;
    if (length < key.length) {
      const rest = node(key.slice(length), above, time); // a copy: a view would keep all of the key
      above.children.set(rest.run[0]!, rest);
      this.#leaves.push(rest);
      this.#size += rest.run.length;
    }
    while (this.#size > this.#bound) this.#forget(this.#size - this.#bound);
  }

  /** Where `key` leaves the tree: `within` elements into the run of `last`. */
  #walk(key: Uint32Array): { length: number; last: Node; within: number } {
    let last = this.#root, length = 0;
    while (true) {
      const next = length < key.length ? last.children.get(key[length]!) : undefined;
      if (next === undefined) return { length, last, within: last.run.length };
      let within = 0;
      while (within < next.run.length && next.run[within] === key[length + within]) within++;
      length += within;
      last = next;
      if (within < next.run.length) return { length, last, within };
    }
  }

  /** Cuts a run in two; the lower part stays the node it was. Returns the upper one. */
  #split(lower: Node, at: number): Node {
    const upper = node(lower.run.slice(0, at), lower.parent, lower.lastAccess);
    lower.parent!.children.set(upper.run[0]!, upper);
    lower.run = lower.run.slice(at);
    lower.parent = upper;
    upper.children.set(lower.run[0]!, lower);
    return upper;
  }

  /** Cuts up to `count` elements off the leaf that was used longest ago. */
  #forget(count: number): void {
    const leaf = this.#leaves.pop()!;
    if (leaf.children.size > 0) return; // another has grown below it
    const cut = Math.min(count, leaf.run.length), parent = leaf.parent!;
    this.#size -= cut;
    if (cut < leaf.run.length) {
      leaf.run = leaf.run.slice(0, -cut);
      return this.#leaves.push(leaf);
    }
    parent.children.delete(leaf.run[0]!);
    if (parent.children.size === 0 && parent !== this.#root) this.#leaves.push(parent);
  }
}

function node(run: Uint32Array, parent: Node | null, lastAccess: number): Node {
  return { run, parent, children: new Map(), lastAccess, queued: false };
}
