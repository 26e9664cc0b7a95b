// The radix cache: a tree over runs of tokens that remembers in which pages their keys and values stand.
//
// RadixAttention (Zheng et al. 2023, "SGLang", arXiv 2312.07104). An edge is labelled with a run of whole pages;
// children are told apart by their first page. Looking up a prefix walks down as far as ids agree, and splits the
// edge where they part, so that a found prefix always ends at a node. A lock is held by the node where a handle's
// prefix ends and counts on every node above it; what is not locked is evicted from the leaves up, least recently
// used first, and only as many pages of a run as are wanted. Each salt has a tree of its own.

import { type CachedRun, type Insertion, type PrefixCache, PrefixHandle } from "./cache.ts";
import { type Evictable, EvictionQueue } from "./eviction_queue.ts";

class Node implements Evictable {
  readonly children = new Map<number | string, Node>();
  /** Live handles that end here or below. */
  locks = 0;
  /** Requests that were admitted with a prefix that ends here or below. */
  hits = 0;
  queued = false;

  /**
   * `key`: what its parent knows it by, see `#key`; a root: its salt. `ids`: the run of tokens from the parent to
   * here, whole pages; empty for a root.
   */
  constructor(
    public parent: Node | null,
    public key: number | string,
    public ids: Uint32Array,
    public pages: readonly number[],
    public lastAccess: number,
  ) {}
}

/** Where a walk ended: `length` tokens are cached, down to `node`. */
interface Found {
  readonly node: Node;
  readonly length: number;
}

/** Shares every whole page that two sequences have in common. */
export class RadixCache implements PrefixCache {
  /** Tokens per page. */
  readonly pageSize: number;
  /** One tree per salt, there only while it holds something. */
  readonly #roots = new Map<number | string, Node>();
  /** Leaves without locks; entries that have become something else since are skipped when popped. */
  readonly #candidates = new EvictionQueue<Node>();
  #clock = 0;
  #evictable = 0;
  #locked = 0;

  /** `pageSize` in tokens; all runs are whole pages. */
  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  get evictableTokens(): number {
    return this.#evictable;
  }

  /** Tokens held by at least one handle. */
  get lockedTokens(): number {
    return this.#locked;
  }

  match(ids: Uint32Array, salt: string): PrefixHandle {
    return this.#lock(this.#walk(this.#root(salt), ids));
  }

  insert(ids: Uint32Array, pages: readonly number[], salt: string): Insertion {
    const whole = ids.length - ids.length % this.pageSize;
    const root = this.#root(salt);
    const found = this.#walk(root, ids);
    if (found.length === whole) return { handle: this.#lock(found), existing: whole };
    this.#roots.set(salt, root);
    // Copied: a view would keep the whole prompt alive for as long as its shortest cached piece.
    const rest = ids.slice(found.length, whole);
    const restPages = pages.slice(found.length / this.pageSize, whole / this.pageSize);
    const leaf = new Node(found.node, this.#key(rest, 0), rest, restPages, this.#clock);
    found.node.children.set(leaf.key, leaf);
    this.#evictable += rest.length;
    return { handle: this.#lock({ node: leaf, length: whole }), existing: found.length };
  }

  evict(tokens: number): number[] {
    const wanted = Math.ceil(tokens / this.pageSize);
    const freed: number[] = [];
    while (freed.length < wanted) {
      const leaf = this.#candidates.pop();
      if (leaf === undefined) break;
      if (leaf.locks > 0 || leaf.children.size > 0) continue;
      this.#shorten(leaf, wanted - freed.length, freed);
    }
    return freed;
  }

  clear(): number[] {
    return this.evict(this.#evictable);
  }

  *pages(): Iterable<number> {
    for (const node of this.#nodes()) yield* node.pages;
  }

  *runs(): Iterable<CachedRun> {
    const depths = new Map<Node | null, number>();
    for (const node of this.#nodes()) {
      const depth = (depths.get(node.parent) ?? -1) + 1;
      depths.set(node, depth);
      yield { depth, tokens: node.ids.length, locks: node.locks, hits: node.hits };
    }
  }

  /** Compares the running totals and locks with a walk of the trees. Throws on a difference. For tests. */
  verify(): void {
    let evictable = 0, locked = 0;
    for (const node of this.#nodes()) {
      const p = this.pageSize;
      if (node.ids.length === 0 || node.ids.length !== node.pages.length * p) {
        throw new Error("a run is not whole pages");
      }
      let below = 0;
      for (const [key, child] of node.children) {
        below += child.locks;
        if (child.parent !== node || key !== child.key || key !== this.#key(child.ids, 0)) {
          throw new Error("a child is misplaced");
        }
      }
      if (node.locks < below) throw new Error("a lock does not reach the root");
      if (node.locks === 0 && node.children.size === 0 && !node.queued) {
        throw new Error("a free leaf would never be evicted");
      }
      if (node.locks > 0) locked += node.ids.length;
      else evictable += node.ids.length;
    }
    if (evictable !== this.#evictable || locked !== this.#locked) throw new Error("totals are off");
    for (const root of this.#roots.values()) {
      if (root.children.size === 0) throw new Error("an empty tree is kept");
    }
  }

  /** Goes down as far as whole pages of `ids` are cached, splitting the last run if need be, and marks the way used. */
  #walk(root: Node, ids: Uint32Array): Found {
    const p = this.pageSize;
    const whole = ids.length - ids.length % p;
    const now = ++this.#clock;
    let node = root, length = 0;
    while (length < whole) {
      const child = node.children.get(this.#key(ids, length));
      if (child === undefined) break;
      let common = p;
      const most = Math.min(child.ids.length, whole - length);
      while (common < most && child.ids[common] === ids[length + common]) common++;
      common -= common % p;
      node = common < child.ids.length ? this.#split(child, common) : child;
      node.lastAccess = now;
      length += common;
    }
    return { node, length };
  }

  /**
   * Cuts a run in two and returns the new upper node. The old node stays as the lower part, so that handles that
   * end there remain valid; each of its locks holds the upper part as well.
   */
  #split(node: Node, at: number): Node {
    const p = this.pageSize;
    const { parent, key, ids, pages, lastAccess } = node;
    const upper = new Node(parent, key, ids.subarray(0, at), pages.slice(0, at / p), lastAccess);
    upper.locks = node.locks;
    upper.hits = node.hits;
    parent!.children.set(key, upper);
    node.parent = upper;
    node.key = this.#key(ids, at);
    node.ids = ids.subarray(at);
    node.pages = pages.slice(at / p);
    upper.children.set(node.key, node);
    return upper;
  }

  #lock({ node, length }: Found): PrefixHandle {
    const runs: (readonly number[])[] = [];
    for (let at: Node = node; at.parent !== null; at = at.parent) {
      runs.push(at.pages);
      if (at.locks++ === 0) {
        this.#evictable -= at.ids.length;
        this.#locked += at.ids.length;
      }
    }
    const pages = Object.freeze(runs.reverse().flat());
    return new PrefixHandle(length, pages, () => this.#unlock(node), () => this.#count(node));
  }

  #count(node: Node): void {
    for (let at: Node | null = node; at !== null; at = at.parent) at.hits++;
  }

  #unlock(node: Node): void {
    for (let at: Node = node; at.parent !== null; at = at.parent) {
      if (--at.locks > 0) continue;
      this.#locked -= at.ids.length;
      this.#evictable += at.ids.length;
      if (at.children.size === 0) this.#candidates.push(at);
    }
  }

  /** Gives up to `most` pages of a leaf to `freed`, from its end; a leaf without pages is gone. */
  #shorten(leaf: Node, most: number, freed: number[]): void {
    const keep = Math.max(0, leaf.pages.length - most);
    for (let i = keep; i < leaf.pages.length; i++) freed.push(leaf.pages[i]!);
    this.#evictable -= leaf.ids.length - keep * this.pageSize;
    if (keep > 0) {
      leaf.pages = leaf.pages.slice(0, keep);
      leaf.ids = leaf.ids.subarray(0, keep * this.pageSize);
      this.#candidates.push(leaf);
      return;
    }
    const parent = leaf.parent!;
    parent.children.delete(leaf.key);
    if (parent.children.size > 0) return;
    if (parent.parent === null) this.#roots.delete(parent.key);
    else if (parent.locks === 0) this.#candidates.push(parent);
  }

  /** The salt's tree, or an empty one that is not kept yet. */
  #root(salt: string): Node {
    return this.#roots.get(salt) ?? new Node(null, salt, new Uint32Array(0), [], 0);
  }

  /** Tells children apart: the first page of a run. */
  #key(ids: Uint32Array, at: number): number | string {
    return this.pageSize === 1 ? ids[at]! : ids.subarray(at, at + this.pageSize).join();
  }

  *#nodes(): Iterable<Node> {
    const stack = [...this.#roots.values()];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node.parent !== null) yield node;
      stack.push(...node.children.values());
    }
  }
}
