// The pages of running requests and of the prefix cache: who gets them, who shares them, when they are free again.
//
// A request's pages are a cached prefix, held through a handle and read-only, followed by pages of its own. As soon
// as a forward that fills whole pages is launched, these pages are offered to the cache, so that the very next plan
// can share them: plans run in order, so whoever reads them runs later. If the cache has the same tokens already,
// the row is mapped to the cache's pages first and only then its duplicates are freed. And a page is freed only
// once every plan that may touch it has been answered; until then it is retired.

import type { CachedRun, PrefixCache, PrefixHandle } from "../kvcache/cache.ts";
import { NaiveCache } from "../kvcache/naive.ts";
import { PageAllocator } from "../kvcache/page_allocator.ts";
import { RadixCache } from "../kvcache/radix.ts";
import type { SchedulerConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import type { Allocation, Request } from "./request.ts";

/** Owns every page of the pool. */
export class CacheManager {
  /** Tokens per page. */
  readonly pageSize: number;
  /** Whether equal prefixes share pages at all. */
  readonly shares: boolean;
  readonly #allocator: PageAllocator;
  readonly #prefixes: PrefixCache;
  readonly #counters: Counters;
  /** Told of pages that became free, before they are handed out again. */
  readonly #onFree: (pages: readonly number[]) => void;
  /** Pages that wait for the answer to plan `after`; ascending. */
  #retired: { readonly after: number; readonly pages: readonly number[] }[] = [];

  /** Starts with all pages free. */
  constructor(config: SchedulerConfig, counters: Counters, onFree: (pages: readonly number[]) => void) {
    this.pageSize = config.pageSize;
    this.shares = config.cache === "radix";
    this.#allocator = new PageAllocator(config.numPages);
    this.#prefixes = config.cache === "radix"
      ? new RadixCache(config.pageSize)
      : new NaiveCache(config.pageSize);
    this.#counters = counters;
    this.#onFree = onFree;
  }

  /** Pages that belong to no one, and cached tokens that a request holds and that none does. */
  get usage(): {
    readonly freePages: number;
    readonly lockedTokens: number;
    readonly evictableTokens: number;
  } {
    const { lockedTokens, evictableTokens } = this.#prefixes;
    return { freePages: this.#allocator.freePages, lockedTokens, evictableTokens };
  }

  /** Pages that can be had now: free, or cached and held by no request. */
  get availablePages(): number {
    return this.#allocator.freePages + this.#prefixes.evictableTokens / this.pageSize;
  }

  /** Whether pages will become free without a request giving up more. */
  get hasRetired(): boolean {
    return this.#retired.length > 0;
  }

  /** Pages that a number of tokens takes. */
  pagesFor(tokens: number): number {
    return Math.ceil(tokens / this.pageSize);
  }

  /** The longest cached prefix that the request may use, held until it is released. */
  match(request: Request): PrefixHandle {
    return this.#prefixes.match(request.ids(request.matchLimit), request.salt);
  }

  /**
   * Extends a request's pages to hold `length` tokens, evicting what no request uses. False, and nothing changed, if
   * there are not enough.
   */
  extend(allocation: Allocation, length: number): boolean {
    const missing = this.pagesFor(length) - allocation.pages.length;
    if (missing <= 0) return true;
    if (missing > this.availablePages) return false;
    const short = missing - this.#allocator.freePages;
    if (short > 0) this.#evict(short);
    for (const page of this.#allocator.allocate(missing)!) {
      allocation.unwrittenPages.add(allocation.pages.length);
      allocation.pages.push(page);
    }
    return true;
  }

  /**
   * Offers the request's whole pages, as far as computed by plan `plan` and those before it, to the cache, and moves
   * the request over to the cache's pages.
   */
  share(request: Request, allocation: Allocation, plan: number): void {
    const duplicates = this.#insert(request, allocation);
    if (duplicates.length > 0) this.#retired.push({ after: plan, pages: duplicates });
  }

  /**
   * Takes back all that a request holds. What is known to be computed stays in the cache. Only for requests that no
   * plan in flight contains.
   */
  release(request: Request, allocation: Allocation): void {
    this.#free(this.#insert(request, allocation));
    this.#free(allocation.pages.slice(allocation.prefix.pages.length));
    allocation.prefix[Symbol.dispose]();
  }

  /** Cached runs, for people to look at. */
  runs(): Iterable<CachedRun> {
    return this.#prefixes.runs();
  }

  /** Frees what was retired up to the plan that has been answered. */
  reclaim(answered: number): void {
    while (this.#retired[0] !== undefined && this.#retired[0].after <= answered) {
      this.#free(this.#retired.shift()!.pages);
    }
  }

  /** Empties the cache of everything that no request holds. */
  flush(): void {
    this.#free(this.#prefixes.clear());
  }

  /** Checks that free, cached, retired and owned pages are disjoint and cover the pool. Throws otherwise. For tests. */
  verify(allocations: Iterable<Allocation>): void {
    const owner = new Map<number, string>();
    const claim = (page: number, who: string) => {
      const other = this.#allocator.isFree(page) ? "the free list" : owner.get(page);
      if (other !== undefined) throw new Error(`page ${page} belongs to ${other} and to ${who}`);
      owner.set(page, who);
    };
    for (const page of this.#prefixes.pages()) claim(page, "the cache");
    for (const { pages } of this.#retired) for (const page of pages) claim(page, "the retired");
    for (const { row, pages, prefix } of allocations) {
      prefix.pages.forEach((page, i) => {
        if (pages[i] !== page) throw new Error(`row ${row} does not use the pages of its prefix`);
      });
      for (const page of pages.slice(prefix.pages.length)) claim(page, `row ${row}`);
    }
    if (owner.size + this.#allocator.freePages !== this.#allocator.numPages) {
      throw new Error("a page is lost");
    }
    if (this.#prefixes instanceof RadixCache) this.#prefixes.verify();
  }

  /** Returns the request's pages that the cache had already, after mapping the row to the cache's. */
  #insert(request: Request, allocation: Allocation): number[] {
    const ids = request.ids(request.cachedLength);
    const before = allocation.prefix;
    if (ids.length - ids.length % this.pageSize <= before.length) return [];
    const { handle, existing } = this.#prefixes.insert(ids, allocation.pages, request.salt);
    const duplicates: number[] = [];
    for (let i = before.pages.length; i < existing / this.pageSize; i++) {
      duplicates.push(allocation.pages[i]!);
      allocation.pages[i] = handle.pages[i]!;
      allocation.unwrittenPages.add(i);
    }
    allocation.prefix = handle;
    before[Symbol.dispose]();
    return duplicates;
  }

  #evict(pages: number): void {
    const freed = this.#prefixes.evict(pages * this.pageSize);
    this.#counters.totals.evictedTokensTotal += freed.length * this.pageSize;
    this.#free(freed);
  }

  #free(pages: readonly number[]): void {
    if (pages.length === 0) return;
    this.#allocator.free(pages);
    this.#onFree(pages);
  }
}
