import assert from "node:assert/strict";
import fc from "fast-check";
import { PageAllocator } from "../../../engine/kvcache/page_allocator.ts";

Deno.test("free and allocated pages are disjoint, cover the pool, and exclude the dummy page", () => {
  const operation = fc.record({ take: fc.boolean(), count: fc.nat({ max: 6 }), which: fc.nat() });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(operation, { maxLength: 100, size: "max" }),
      (numPages, operations) => {
        const allocator = new PageAllocator(numPages);
        const held: number[][] = [];
        for (const { take, count, which } of operations) {
          if (take) {
            const before = allocator.freePages;
            const pages = allocator.allocate(count);
            assert.equal(pages === null, count > before, "all or nothing");
            if (pages) held.push(pages);
          } else if (held.length > 0) {
            allocator.free(held.splice(which % held.length, 1)[0]!);
          }
          const taken = held.flat();
          assert.equal(new Set(taken).size, taken.length, "a page has one owner");
          assert.equal(taken.length + allocator.freePages, numPages);
          for (const page of taken) {
            assert.ok(page >= 0 && page < numPages, "the dummy page is never handed out");
            assert.equal(allocator.isFree(page), false);
          }
        }
      },
    ),
    { seed: 20240117 },
  );
});

Deno.test("freeing a free page, twice the same page, or the dummy page is an error", () => {
  const allocator = new PageAllocator(4);
  const pages = allocator.allocate(2)!;
  allocator.free(pages);
  assert.throws(() => allocator.free(pages.slice(0, 1)), /was free/);
  const again = allocator.allocate(1)!;
  assert.throws(() => allocator.free([again[0]!, again[0]!]), /was free/);
  assert.throws(() => allocator.free([4]), /was free/);
});
