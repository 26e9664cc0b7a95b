// Going back, copying, and what is forced.
import assert from "node:assert/strict";
import { compileGrammar } from "../../../engine/grammar/grammar.ts";
import { Matcher } from "../../../engine/grammar/matcher.ts";
import { MaskMaker } from "../../../engine/grammar/vocabulary/masks.ts";
import { Random } from "../../random.ts";
import { allowed, pocketVocabulary, vocabularyOf } from "./support.ts";

Deno.test("tokens taken back leave the masks that were there before", async () => {
  const masks = new MaskMaker(await pocketVocabulary());
  const grammar = compileGrammar({ kind: "json_object" });
  const bits = new Uint32Array(masks.vocabulary.words);
  for (let seed = 0; seed < 20; seed++) {
    const random = new Random(seed);
    const matcher = new Matcher(grammar, masks);
    const before: number[][] = [];
    for (let step = 0; step < 25 && !matcher.ended; step++) {
      matcher.fillMask(bits);
      before.push(allowed(bits));
      matcher.accept(random.pick(before.at(-1)!));
    }
    while (before.length > 0) {
      const count = random.int(1, Math.min(4, before.length));
      matcher.rollback(count);
      before.length -= count - 1;
      matcher.fillMask(bits);
      assert.deepEqual(allowed(bits), before.pop());
      assert.equal(matcher.ended, false);
    }
    assert.throws(() => matcher.rollback(1), RangeError);
  }
});

Deno.test("a copy goes its own way", () => {
  const masks = new MaskMaker(vocabularyOf(["a", "b", "c"]));
  const matcher = new Matcher(compileGrammar({ kind: "choice", choices: ["ab", "ac"] }), masks);
  matcher.accept(0);
  const copy = matcher.clone();
  assert.ok(matcher.accept(1) && copy.accept(2));
  assert.ok(matcher.canEnd && copy.canEnd);
  copy.rollback(2);
  assert.ok(!copy.canEnd && matcher.canEnd);
});

Deno.test("bytes that have to come are told", () => {
  const schema = {
    type: "object",
    properties: { answer: { type: "integer" } },
    required: ["answer"],
    additionalProperties: false,
  };
  const grammar = compileGrammar({ kind: "json_schema", schema }, { style: { whitespace: "none" } });
  const matcher = new Matcher(grammar, new MaskMaker(vocabularyOf(["{"])));
  assert.equal(new TextDecoder().decode(matcher.forcedBytes()), '{"answer":');
});

Deno.test("a refused token changes nothing", () => {
  const masks = new MaskMaker(vocabularyOf(["ab", "ac", "a"]));
  const matcher = new Matcher(compileGrammar({ kind: "choice", choices: ["ab"] }), masks);
  assert.ok(!matcher.accept(1) && !matcher.accept(3) && !matcher.accept(99));
  assert.ok(matcher.accept(0) && matcher.canEnd);
});
