// Walks of the vocabulary: what is marked without being walked, and with few numbers for states.
import assert from "node:assert/strict";
import type { State } from "../../../engine/grammar/automaton/automaton.ts";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import { compileGrammar } from "../../../engine/grammar/grammar.ts";
import type { Cover } from "../../../engine/grammar/vocabulary/cover.ts";
import { Walker } from "../../../engine/grammar/vocabulary/walk.ts";
import { Random } from "../../random.ts";
import { allowed, bruteForce, pocketVocabulary, schemaGrammar, vocabularyOf } from "./support.ts";

Deno.test("tokens that are not walked are those whose length and characters are allowed as well", () => {
  const random = new Random(9);
  const words = new Set<string>();
  while (words.size < 4000) {
    const length = 1 + Math.floor(16 * random.next());
    words.add(Array.from({ length }, () => random.pick([..."abcdefgh-/"])).join(""));
  }
  const vocabulary = vocabularyOf([...words]);
  let marked = 0, covered = 0;
  for (
    const pattern of [
      "^(?!.*ab-)(?=.{1,9}$)(([a-h]{1,4}[-/]?){1,9})$",
      "^(?!.*/.*/)(?=.{1,12}$)(.{1,10}-){0,3}[a-h/]+$",
      "^(?=.{1,14}$)(?!.*--)(([a-h-]{1,3}/?){1,20})$",
    ]
  ) {
    const grammar = schemaGrammar({ type: "string", pattern });
    grammar.begin();
    const quote = grammar.automaton.step(grammar.start, 0x22)!;
    const mask = new Uint32Array(vocabulary.words), covers = new Map<State, Cover>();
    new Walker().walkPlain(grammar.automaton, quote, vocabulary.short, covers, mask);
    const expected = bruteForce(grammar, quote, vocabulary);
    assert.deepEqual(allowed(mask), expected, pattern);
    marked += expected.length;
    for (const { length } of covers.values()) if (length > 0 && length < 16) covered++;
  }
  assert.ok(marked > 300 && covered > 2, `${marked} are allowed, ${covered} states have a cover`);
});

Deno.test("a walk with few numbers for states, or after one that failed, marks the same tokens", async () => {
  const { short, words } = await pocketVocabulary();
  const walk = (walker: Walker, pattern: string, maskSteps: number): number[] => {
    const schema = { type: "string", pattern };
    const grammar = compileGrammar({ kind: "json_schema", schema }, { limits: { maskSteps } });
    grammar.begin();
    const mask = new Uint32Array(words);
    walker.walkPlain(
      grammar.automaton,
      grammar.automaton.step(grammar.start, 0x22)!,
      short,
      new Map(),
      mask,
    );
    return allowed(mask);
  };
  let marked = 0;
  for (const pattern of ["^(?!.*ab)(?=.{3,9}$)([a-z]{1,3} ?){1,5}$", "ing|and", "^(\\w{1,4}[ ,]){2,}$"]) {
    const few = new Walker(2);
    assert.throws(() => walk(few, pattern, 100), GrammarError);
    const tokens = walk(few, pattern, 1e6);
    assert.deepEqual(tokens, walk(new Walker(), pattern, 1e6));
    marked += tokens.length;
  }
  assert.ok(marked > 500, `${marked}`);
});
