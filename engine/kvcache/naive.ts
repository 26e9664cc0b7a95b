// The cache that never shares, for comparison (`--cache naive`): nothing is found, nothing is kept.

import { type CachedRun, type Insertion, type PrefixCache, PrefixHandle } from "./cache.ts";

const nothing = (): PrefixHandle => new PrefixHandle(0, [], () => {});

/** Same interface as the radix cache; every page stays its request's own. */
export class NaiveCache implements PrefixCache {
  /** Tokens per page. */
  readonly pageSize: number;
  readonly evictableTokens = 0;
  /** Always 0: nothing is cached. */
  readonly lockedTokens = 0;

  /** `pageSize` in tokens. */
  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  match(_ids: Uint32Array, _salt: string): PrefixHandle {
    return nothing();
  }

  insert(_ids: Uint32Array, _pages: readonly number[], _salt: string): Insertion {
    return { handle: nothing(), existing: 0 };
  }

  evict(_tokens: number): number[] {
    return [];
  }

  clear(): number[] {
    return [];
  }

  pages(): Iterable<number> {
    return [];
  }

  runs(): Iterable<CachedRun> {
    return [];
  }
}
