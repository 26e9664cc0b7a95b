// Which masks the scheduler waits for.

import assert from "node:assert/strict";
import { type Constrained, GrammarManager } from "../../../../engine/grammar/serving/manager.ts";
import type { ToGrammar } from "../../../../engine/grammar/serving/messages.ts";
import { isOnly } from "../../../../engine/grammar/serving/only.ts";

const mask = Uint32Array.of(1);

function setUp() {
  const sent: ToGrammar[] = [];
  const manager = new GrammarManager<Constrained>((message) => sent.push(message));
  const request = (arrival: number): Constrained => ({
    arrival,
    prompt: Uint32Array.from({ length: 20 }, (_, i) => i),
    params: { grammar: { source: { kind: "json_object" }, reasoning: false } },
    mask: undefined,
  });
  return { sent, manager, request };
}

Deno.test("an unconstrained request waits for nothing", () => {
  const { sent, manager, request } = setUp();
  assert.equal(manager.open({ ...request(0), params: { grammar: null } }), false);
  assert.equal(manager.active, false);
  assert.deepEqual(sent, []);
});

Deno.test("compiling is not waited for, the masks after it are, and none of a request that has ended", () => {
  const { sent, manager, request } = setUp();
  const one = request(1);
  assert.ok(manager.open(one));
  assert.equal(one.mask, null);
  assert.equal(manager.due, false);
  assert.equal(manager.receive({ type: "mask", key: 1, mask })?.first, true);
  assert.equal(one.mask, mask);
  one.mask = null; // a plan takes it
  manager.accept(one, 5);
  assert.equal(manager.due, true);
  assert.equal(manager.receive({ type: "mask", key: 1, mask })?.first, false);
  assert.equal(manager.due, false);
  manager.accept(one, 6);
  manager.close(one);
  assert.equal(manager.due, false);
  assert.equal(manager.receive({ type: "mask", key: 1, mask }), null);
  assert.deepEqual(sent.map(({ type }) => type), ["open", "accept", "accept", "close"]);
  const [opened] = sent;
  assert.ok(opened?.type === "open" && opened.tail.length === 8);
});

Deno.test("after a late mask some are not waited for, after another late one twice as many", () => {
  const { manager, request } = setUp();
  const one = request(1), now = performance.now;
  let clock = 1000;
  performance.now = () => clock;
  try {
    manager.open(one);
    manager.receive({ type: "mask", key: 1, mask });
    const waitedFor = (milliseconds: number): boolean => {
      manager.accept(one, 5);
      const { due } = manager;
      clock += milliseconds;
      manager.receive({ type: "mask", key: 1, mask });
      return due;
    };
    const unwaited = (): number => {
      let count = 0;
      while (!waitedFor(1)) count++;
      return count;
    };
    assert.ok(waitedFor(1) && waitedFor(1));
    for (const expected of [8, 16, 32]) {
      assert.ok(waitedFor(50));
      assert.equal(unwaited(), expected);
    }
  } finally {
    performance.now = now;
  }
});

Deno.test("a mask leaves no choice if it allows none but the given tokens", () => {
  assert.ok(isOnly(Uint32Array.of(0, 2 ** 31 | 0), [63]));
  assert.ok(isOnly(Uint32Array.of(5, 0), [0, 2, 40]));
  assert.ok(!isOnly(Uint32Array.of(5, 1), [0, 2]));
  assert.ok(isOnly(Uint32Array.of(0, 0), []));
});
