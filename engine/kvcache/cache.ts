// What a cache of prefixes is, whichever kind: sequences of tokens whose keys and values stand in pages, found
// again by their ids.
//
// A prefix that a request reads must not be evicted. There is no pair of lock and unlock calls to get out of step:
// `match` and `insert` hand out a frozen handle that holds the prefix until it is released, exactly once (with
// `using`, or by the request that owns it). Everything is in whole pages; the salt keeps tenants apart.

/** A cached prefix that stays where it is until the handle is released. */
export class PrefixHandle implements Disposable {
  /** Tokens, a multiple of the page size. */
  readonly length: number;
  /** The pages they stand in, in order. Shared: read, never written. */
  readonly pages: readonly number[];
  /** Counts a hit on every run of the prefix: once for a request, when it is admitted, however often it has looked. */
  readonly count: () => void;
  #release: (() => void) | null;

  /** Made by a cache; `release` is called once. */
  constructor(length: number, pages: readonly number[], release: () => void, count = () => {}) {
    this.length = length;
    this.pages = pages;
    this.count = count;
    this.#release = release;
    Object.freeze(this);
  }

  /** Lets the prefix go. Throws when called a second time: a lock released twice would free another's pages. */
  [Symbol.dispose](): void {
    if (this.#release === null) throw new Error("a cached prefix was released twice");
    const release = this.#release;
    this.#release = null;
    release();
  }
}

/** What {@link PrefixCache.insert} did. */
export interface Insertion {
  /** Holds the inserted sequence, with the pages that stand for it from now on. */
  readonly handle: PrefixHandle;
  /**
   * So many tokens were there already, in pages of their own: `handle.pages` differs from the caller's pages in
   * them. The caller remaps its row to the handle's pages and only then frees its duplicates.
   */
  readonly existing: number;
}

/** A run of tokens in the cache, for people to look at. */
export interface CachedRun {
  /** Runs above it. */
  readonly depth: number;
  /** Its length. */
  readonly tokens: number;
  /** Requests that hold it. */
  readonly locks: number;
  /** Requests that have found it so far, each counted once. */
  readonly hits: number;
}

/** Maps token sequences to pages. Pages beyond `handle.length` remain the caller's. */
export interface PrefixCache {
  /** Tokens per page. */
  readonly pageSize: number;
  /** Tokens held by no handle, and by at least one. */
  readonly evictableTokens: number;
  /** Tokens held by at least one handle. */
  readonly lockedTokens: number;
  /** The longest cached prefix of `ids`, in whole pages. */
  match(ids: Uint32Array, salt: string): PrefixHandle;
  /** Takes over the pages (one per `pageSize` ids; a last, partial page is left out) as far as it lacks them. */
  insert(ids: Uint32Array, pages: readonly number[], salt: string): Insertion;
  /** Gives up at least `tokens` tokens (fewer if no more are evictable) and returns their pages. */
  evict(tokens: number): number[];
  /** Gives up everything that no handle holds. */
  clear(): number[];
  /** Every page in the cache. */
  pages(): Iterable<number>;
  /** Every run in the cache, each behind the one it continues. */
  runs(): Iterable<CachedRun>;
}
