import assert from "node:assert/strict";
import fc from "fast-check";
import type { PromptInput } from "../../../engine/messages.ts";
import { type Candidate, chooseReplica, defaultRouting } from "../../../server/replicas/policy.ts";
import { blockCharacters, blockTokens, prefixKey } from "../../../server/replicas/prefix_key.ts";

const replica = (rank: number, load: number, matched: number, size = 0): Candidate => ({
  rank,
  load,
  matched,
  size,
});
const choose = (candidates: Candidate[], blocks: number) => chooseReplica(candidates, blocks, defaultRouting);

Deno.test("a request goes to the replica that has seen its prefix, though another is idle", () => {
  assert.equal(choose([replica(0, 0, 1), replica(1, 10, 9)], 11), 1);
});

Deno.test("a prefix below the threshold counts less than load, and without load the smaller tree is taken", () => {
  assert.equal(choose([replica(0, 0, 1), replica(1, 2, 4)], 11), 0);
  assert.equal(choose([replica(0, 3, 1, 50), replica(1, 3, 1, 20)], 11), 1);
});

Deno.test("an overloaded replica is spared whatever it has seen", () => {
  const { balanceAbsolute } = defaultRouting;
  assert.equal(choose([replica(0, 0, 1), replica(1, balanceAbsolute, 11)], 11), 1);
  assert.equal(choose([replica(0, 0, 1), replica(1, balanceAbsolute + 1, 11)], 11), 0);
  // Far apart, but by less than the factor.
  assert.equal(choose([replica(0, 100, 1), replica(1, 100 + balanceAbsolute + 1, 11)], 11), 1);
});

Deno.test("the choice is among the candidates, and the least loaded one where loads are unbalanced", () => {
  const load = fc.integer({ min: 0, max: 60 });
  const some = fc.array(fc.tuple(load, fc.integer({ min: 1, max: 20 })), { minLength: 1, maxLength: 6 });
  fc.assert(fc.property(some, (drawn) => {
    const candidates = drawn.map(([load, matched], i) => replica(i + 3, load, matched));
    const chosen = candidates.find(({ rank }) => rank === choose(candidates, 20))!;
    const loads = drawn.map(([load]) => load), least = Math.min(...loads), most = Math.max(...loads);
    const unbalanced = most - least > 16 && most > least * 1.5;
    const known = Math.max(...drawn.map(([, matched]) => matched)) - 1 > 0.3 * 19;
    if (unbalanced || !known) assert.equal(chosen.load, least);
    else assert.equal(chosen.matched, Math.max(...drawn.map(([, matched]) => matched)));
  }));
});

/** Equal elements at the beginning of both. */
function common(a: ArrayLike<unknown>, b: ArrayLike<unknown>): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  return length;
}

Deno.test("keys of texts and of token ids share as many blocks as the prompts do", () => {
  fc.assert(fc.property(fc.string(), fc.string(), fc.string({ maxLength: 200 }), (start, one, other) => {
    const long = start.repeat(20), [a, b] = [long + one, long + other];
    const keys = [a, b].map((text) => prefixKey({ type: "text", text }));
    const whole = Math.floor(common(a, b) / blockCharacters);
    assert.equal(common(keys[0]!, keys[1]!), whole + 1);
  }));
  const ids = Uint32Array.from({ length: 5 * blockTokens + 3 }, (_, i) => i);
  const other = Uint32Array.from(ids, (id, i) => i === 2 * blockTokens ? 7 : id);
  const keys = [ids, other].map((ids) => prefixKey({ type: "ids", ids }));
  assert.equal(keys[0]!.length, 6);
  assert.equal(common(keys[0]!, keys[1]!), 3);
});

Deno.test("a conversation's key is continued by its next turn, and another salt's shares nothing", () => {
  const turns = ["You are a helpful assistant that answers in verse.", "Why is the sky blue?", "It scatters."]
    .map((content, i) => ({ role: ["system", "user", "assistant"][i]!, content }));
  const chat = (count: number, tools?: readonly unknown[]): PromptInput => ({
    type: "chat",
    messages: turns.slice(0, count),
    ...(tools ? { tools } : {}),
  });
  const [short, long] = [prefixKey(chat(2)), prefixKey(chat(3))];
  assert.ok(short.length > 4);
  assert.equal(common(short, long), short.length);
  assert.equal(common(long, prefixKey(chat(3), "tenant")), 0);
  assert.equal(common(long, prefixKey(chat(3, [{ name: "look_up_the_weather_of_a_city" }]))), 1);
});
