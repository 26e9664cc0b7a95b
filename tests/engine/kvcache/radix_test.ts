// The radix tree against a model in which every page is an entry of its own: a dictionary from the ids up to and
// including the page to (page, time of last use, locks). What the tree does with runs, splits and heaps must give
// exactly what the dictionary gives.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { PrefixCache, PrefixHandle } from "../../../engine/kvcache/cache.ts";
import { NaiveCache } from "../../../engine/kvcache/naive.ts";
import { PageAllocator } from "../../../engine/kvcache/page_allocator.ts";
import { RadixCache } from "../../../engine/kvcache/radix.ts";

interface Entry {
  readonly page: number;
  lastAccess: number;
  locks: number;
}

/** One dictionary entry per cached page. */
class Model {
  readonly entries = new Map<string, Entry>();
  #clock = 0;

  constructor(readonly pageSize: number) {}

  keys(ids: readonly number[], salt: string): string[] {
    const keys: string[] = [];
    for (let end = this.pageSize; end <= ids.length; end += this.pageSize) {
      keys.push(`${salt}|${ids.slice(0, end).join()},`);
    }
    return keys;
  }

  match(ids: readonly number[], salt: string): { keys: string[]; pages: number[] } {
    const now = ++this.#clock;
    const keys: string[] = [], pages: number[] = [];
    for (const key of this.keys(ids, salt)) {
      const entry = this.entries.get(key);
      if (!entry) break;
      entry.lastAccess = now;
      keys.push(key);
      pages.push(entry.page);
    }
    return { keys, pages };
  }

  insert(
    ids: readonly number[],
    pages: readonly number[],
    salt: string,
  ): { keys: string[]; existing: number } {
    const existing = this.match(ids, salt).keys.length;
    const keys = this.keys(ids, salt);
    for (let i = existing; i < keys.length; i++) {
      this.entries.set(keys[i]!, { page: pages[i]!, lastAccess: this.#clock, locks: 0 });
    }
    return { keys, existing: existing * this.pageSize };
  }

  /** Page after page: the least recently used one that has no lock and no page after it. */
  evict(tokens: number): number[] {
    const freed: number[] = [];
    while (freed.length * this.pageSize < tokens) {
      const keys = [...this.entries.keys()];
      let best: string | undefined;
      for (const [key, entry] of this.entries) {
        if (entry.locks > 0 || keys.some((other) => other !== key && other.startsWith(key))) continue;
        if (best === undefined || entry.lastAccess < this.entries.get(best)!.lastAccess) best = key;
      }
      if (best === undefined) break;
      freed.push(this.entries.get(best)!.page);
      this.entries.delete(best);
    }
    return freed;
  }

  tokens(locked: boolean): number {
    return [...this.entries.values()].filter((e) => e.locks > 0 === locked).length * this.pageSize;
  }
}

const sorted = (numbers: Iterable<number>) => [...numbers].sort((a, b) => a - b);

const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("use" as const),
      /** match, then insert the rest; or only match; or insert without having matched (a duplicate). */
      how: fc.constantFrom("both", "match", "insert"),
      ids: fc.array(fc.nat({ max: 2 }), { maxLength: 24, size: "max" }),
      salt: fc.constantFrom("", "", "tenant"),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("release" as const), which: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("evict" as const), tokens: fc.integer({ min: 1, max: 20 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: "clear" as const }) },
);

Deno.test("the radix tree does what one dictionary entry per page would do", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4),
      fc.array(operation, { maxLength: 60, size: "max" }),
      (pageSize, operations) => {
        const cache = new RadixCache(pageSize);
        const model = new Model(pageSize);
        const allocator = new PageAllocator(2000);
        const held: { handle: PrefixHandle; keys: string[]; pages: number[] }[] = [];
        const hold = (handle: PrefixHandle, keys: string[]) => {
          for (const key of keys) model.entries.get(key)!.locks++;
          const pages = keys.map((key) => model.entries.get(key)!.page);
          assert.deepEqual(handle.pages, pages, "with the pages first inserted");
          assert.equal(handle.length, keys.length * pageSize);
          held.push({ handle, keys, pages });
        };
        for (const op of operations) {
          switch (op.type) {
            case "use": {
              const ids = Uint32Array.from(op.ids);
              if (op.how !== "insert") hold(cache.match(ids, op.salt), model.match(op.ids, op.salt).keys);
              if (op.how === "match") break;
              const whole = Math.floor(op.ids.length / pageSize);
              const known = op.how === "both" ? held.at(-1)!.pages : [];
              const pages = [...known, ...allocator.allocate(whole - known.length)!];
              const { handle, existing } = cache.insert(ids, pages, op.salt);
              const expected = model.insert(op.ids, pages, op.salt);
              assert.equal(existing, expected.existing);
              hold(handle, expected.keys);
              // Duplicates go back only now that the handle names the pages to use instead.
              allocator.free(pages.slice(known.length, existing / pageSize));
              break;
            }
            case "release": {
              if (held.length === 0) break;
              const [{ handle, keys }] = held.splice(op.which % held.length, 1) as [typeof held[0]];
              assert.deepEqual(handle.pages, keys.map((key) => model.entries.get(key)!.page));
              handle[Symbol.dispose]();
              for (const key of keys) model.entries.get(key)!.locks--;
              break;
            }
            case "evict":
            case "clear": {
              const tokens = op.type === "evict" ? op.tokens : model.tokens(false);
              const freed = op.type === "evict" ? cache.evict(tokens) : cache.clear();
              assert.deepEqual(
                sorted(freed),
                sorted(model.evict(tokens)),
                "least recently used first, never a locked page",
              );
              allocator.free(freed);
            }
          }
          cache.verify();
          assert.equal(cache.lockedTokens, model.tokens(true));
          assert.equal(cache.evictableTokens, model.tokens(false));
          const cached = sorted(cache.pages());
          assert.deepEqual(cached, sorted([...model.entries.values()].map((entry) => entry.page)));
          assert.equal(cached.length + allocator.freePages, allocator.numPages, "no page is lost");
          assert.ok(cached.every((page) => !allocator.isFree(page)));
        }
        for (const { handle } of held) handle[Symbol.dispose]();
        assert.equal(cache.lockedTokens, 0);
        allocator.free(cache.clear());
        assert.equal(allocator.freePages, allocator.numPages);
        cache.verify();
      },
    ),
    { numRuns: 400, seed: 20240117 },
  );
});

for (const make of [(p: number) => new RadixCache(p), (p: number) => new NaiveCache(p)]) {
  const name = make(1).constructor.name;

  Deno.test(`${name}: a handle is frozen and can be released once`, () => {
    const cache: PrefixCache = make(2);
    const { handle } = cache.insert(Uint32Array.of(1, 2, 3), [7], "");
    assert.ok(Object.isFrozen(handle));
    handle[Symbol.dispose]();
    assert.throws(() => handle[Symbol.dispose](), /released twice/);
    assert.equal(cache.lockedTokens, 0);
  });

  Deno.test(`${name}: pages are in the cache or remain the caller's, as the handle's length says`, () => {
    const cache: PrefixCache = make(2);
    {
      using handle = cache.insert(Uint32Array.of(1, 2, 3, 4, 5), [7, 8], "").handle;
      assert.deepEqual([...cache.pages()], handle.pages);
      assert.equal(cache.lockedTokens, handle.length);
      assert.deepEqual(cache.clear(), [], "what a handle holds stays");
    }
    assert.equal(cache.evictableTokens, cache.clear().length * 2);
    assert.deepEqual([...cache.pages()], []);
  });
}

Deno.test("the naive cache finds nothing that was inserted", () => {
  const cache = new NaiveCache(1);
  using inserted = cache.insert(Uint32Array.of(1, 2), [0, 1], "").handle;
  using found = cache.match(Uint32Array.of(1, 2), "");
  assert.equal(inserted.length, 0);
  assert.equal(found.length, 0);
});

Deno.test("a handle keeps its pages while the run it ends in is split under it", () => {
  const cache = new RadixCache(2);
  const long = cache.insert(Uint32Array.of(1, 2, 3, 4, 5, 6), [10, 11, 12], "").handle;
  const short = cache.match(Uint32Array.of(1, 2, 9, 9), "");
  assert.deepEqual(short.pages, [10]);
  short[Symbol.dispose]();
  assert.deepEqual(long.pages, [10, 11, 12]);
  assert.equal(cache.lockedTokens, 6);
  assert.deepEqual(cache.evict(100), []);
  long[Symbol.dispose]();
  assert.deepEqual(cache.evict(1), [12], "only as much of a run as is wanted, from its end");
  cache.verify();
});

Deno.test("a long run is given up without overflowing the stack", () => {
  const cache = new RadixCache(1);
  const count = 300_000;
  const ids = Uint32Array.from({ length: count }, (_, i) => i);
  cache.insert(ids, Array.from(ids), "").handle[Symbol.dispose]();
  assert.equal(cache.clear().length, count);
});
