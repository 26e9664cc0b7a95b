import assert from "node:assert/strict";
import fc from "fast-check";
import { RoutingTree } from "../../../server/replicas/routing_tree.ts";

/** The same as a plain trie: every known beginning with the time of its last use. */
class NaiveTree {
  readonly #bound: number;
  readonly #uses = new Map<string, number>();
  #time = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get size(): number {
    return this.#uses.size;
  }

  match(key: readonly number[]): number {
    let length = 0;
    while (length < key.length && this.#uses.has(key.slice(0, length + 1).join())) length++;
    return length;
  }

  insert(key: readonly number[]): void {
    this.#time++;
    for (let length = 1; length <= key.length; length++) {
      this.#uses.set(key.slice(0, length).join(), this.#time);
    }
    while (this.#uses.size > this.#bound) {
      const all = [...this.#uses.keys()];
      const ends = all.filter((one) => !all.some((other) => other.startsWith(`${one},`)));
      const oldest = ends.reduce((a, b) => this.#uses.get(b)! < this.#uses.get(a)! ? b : a);
      this.#uses.delete(oldest);
    }
  }
}

Deno.test("the routing tree knows exactly what a plain trie with the same bound knows", () => {
  const key = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 12 });
  const operation = fc.record({ key, insert: fc.boolean() });
  let forgotten = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 30 }),
      fc.array(operation, { maxLength: 60 }),
      (bound, operations) => {
        const tree = new RoutingTree(bound), naive = new NaiveTree(bound);
        for (const { key, insert } of operations) {
          assert.equal(tree.match(Uint32Array.from(key)), naive.match(key));
          if (insert) {
            tree.insert(Uint32Array.from(key));
            naive.insert(key);
            if (naive.match(key) < key.length) forgotten++;
          }
          assert.equal(tree.size, naive.size);
          assert.ok(tree.size <= bound);
        }
      },
    ),
    { numRuns: 500 },
  );
  assert.ok(forgotten > 0, "no key was longer than the bound");
});

Deno.test("a known beginning stays when what was used longer ago has to go", () => {
  const tree = new RoutingTree(6);
  tree.insert(Uint32Array.of(1, 2, 3));
  tree.insert(Uint32Array.of(4, 5, 6));
  tree.insert(Uint32Array.of(1, 2, 3)); // used again
  tree.insert(Uint32Array.of(7, 8));
  const matched = [[1, 2, 3], [4, 5, 6], [7, 8]].map((key) => tree.match(Uint32Array.from(key)));
  assert.deepEqual(matched, [3, 1, 2]);
});
