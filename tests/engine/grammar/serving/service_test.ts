// The grammar service by itself: where masks stand, and for how long.

import assert from "node:assert/strict";
import type { FromGrammar } from "../../../../engine/grammar/serving/messages.ts";
import { GrammarService } from "../../../../engine/grammar/serving/service.ts";
import { allowed, vocabularyOf } from "../support.ts";

/** A service that has one request, whose text is "abcd" letter by letter. */
function spelling() {
  const service = new GrammarService(vocabularyOf(["a", "b", "c", "d"]), () => "");
  const mask = (answer: FromGrammar | null): Uint32Array => {
    assert.ok(answer?.type === "mask");
    return answer.mask;
  };
  const grammar = { source: { kind: "choice", choices: ["abcd"] }, reasoning: false } as const;
  return {
    first: () => mask(service.handle({ type: "open", key: 1, grammar, tail: new Uint32Array() })),
    after: (token: number) => mask(service.handle({ type: "accept", key: 1, token })),
  };
}

Deno.test("a mask stays as it is until the one after the next is made", () => {
  const { first, after } = spelling();
  const a = first(), b = after(0);
  assert.deepEqual([a, b].map(allowed), [[0], [1]]);
  const c = after(1);
  assert.deepEqual([b, c].map(allowed), [[1], [2]]);
  assert.deepEqual([c, after(2)].map(allowed), [[2], [3]]);
});

Deno.test("masks are handed over without a copy: those of a request stand in one piece of shared memory", () => {
  const { first, after } = spelling();
  const masks = [first(), after(0), after(1)];
  assert.ok(masks.every(({ buffer }) => buffer instanceof SharedArrayBuffer && buffer === masks[0]!.buffer));
  assert.equal(structuredClone(masks[0]!).buffer instanceof SharedArrayBuffer, true);
});
