// Masks against the obvious way to make them: each token tried by itself.
import assert from "node:assert/strict";
import type { State } from "../../../engine/grammar/automaton/automaton.ts";
import { compileGrammar } from "../../../engine/grammar/grammar.ts";
import { Matcher } from "../../../engine/grammar/matcher.ts";
import type { GrammarSource } from "../../../engine/grammar/source.ts";
import { MaskMaker } from "../../../engine/grammar/vocabulary/masks.ts";
import { makeTrie } from "../../../engine/grammar/vocabulary/trie.ts";
import type { Vocabulary } from "../../../engine/grammar/vocabulary/vocabulary.ts";
import { Random } from "../../random.ts";
import {
  allowed,
  bruteForce,
  pocketVocabulary,
  qwenVocabulary,
  schemaGrammar,
  vocabularyOf,
} from "./support.ts";

const SOURCES: readonly GrammarSource[] = [
  { kind: "json_object" },
  {
    kind: "json_schema",
    schema: {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 40 },
        code: { type: "string", pattern: "^[A-Z]{2,4}-\\d+$" },
        url: { type: "string", format: "uri" },
        short: { type: "string", minLength: 2, maxLength: 3 },
        tags: { type: "array", items: { enum: ["red", "green", "über"] }, minItems: 1, maxItems: 3 },
        size: { type: "number", minimum: 0.5, exclusiveMaximum: 120 },
        next: { $ref: "#" },
      },
      required: ["name", "size"],
      additionalProperties: { type: "boolean" },
    },
  },
  {
    kind: "json_schema",
    schema: {
      anyOf: [
        { type: "object", properties: { kind: { const: "a" }, x: { type: "integer" } }, required: ["kind"] },
        {
          type: "object",
          properties: { kind: { const: "b" }, y: { type: "string" } },
          required: ["kind", "y"],
        },
        { type: "string", minLength: 100, maxLength: 5000 },
      ],
    },
  },
  {
    kind: "json_schema",
    schema: { type: "array", items: { type: "string", pattern: "^\\p{Lu}\\p{Ll}*( \\p{L}+)?$" } },
  },
  {
    kind: "json_schema",
    schema: {
      type: "array",
      prefixItems: [{ type: "null" }],
      items: { anyOf: [{ type: "integer", minimum: 0, maximum: 9 }, { type: "array", maxItems: 22 }] },
      minItems: 19,
      maxItems: 38,
    },
  },
  { kind: "regex", pattern: "(https?://)?[a-z]+(\\.[a-z]+)+(/[^\\s]*)?" },
  { kind: "ebnf", grammar: 'root ::= item ("," " "? item)*\nitem ::= [^,\\n]+ | "(" root ")"' },
  {
    kind: "tags",
    triggers: ["<call"],
    tags: [{ begin: "<call>", content: { kind: "json_schema", schema: { type: "object" } }, end: "</call>" }],
  },
  {
    kind: "json_schema",
    schema: {
      type: "object",
      properties: { a: { type: "string", pattern: "^.+$" }, bc: { type: "string", pattern: "^[^x]*$" } },
      patternProperties: { "^.+$": { type: "string" } },
      additionalProperties: { type: "null" },
    },
  },
  { kind: "choice", choices: ["yes", "no", "yesterday"] },
];

function compare(vocabulary: Vocabulary, walks: number, steps: number, every: number): number {
  let compared = 0;
  const masks = new MaskMaker(vocabulary, { bytes: 4 << 20 });
  const bits = new Uint32Array(vocabulary.words);
  for (const source of SOURCES) {
    const grammar = compileGrammar(source);
    for (let walk = 0; walk < walks; walk++) {
      const random = new Random(walk + 1);
      const matcher = new Matcher(grammar, masks);
      for (let step = 0; step < steps && !matcher.ended; step++) {
        matcher.fillMask(bits);
        const ids = allowed(bits);
        if ((step + walk) % every === 0) {
          grammar.begin();
          assert.deepEqual(
            ids,
            bruteForce(grammar, matcher.state, vocabulary),
            `${JSON.stringify(source)}, step ${step}`,
          );
          compared++;
        }
        const later = ids.filter((id) => !vocabulary.endIds.includes(id));
        if (later.length === 0) break;
        assert.ok(matcher.accept(random.pick(later)));
      }
    }
  }
  return compared;
}

Deno.test("masks are what trying each token gives, with the embedded model's vocabulary", async () => {
  assert.ok(compare(await pocketVocabulary(), 12, 40, 1) > 1500);
});

const qwen = await qwenVocabulary();
if (qwen === undefined) {
  console.log("  no Qwen3 tokenizer at $RADISH_QWEN3_TOKENIZER or ../shared: ignored with it");
}

Deno.test({
  name: "masks are what trying each token gives, with a vocabulary of 151,936 tokens",
  ignore: qwen === undefined,
  fn() {
    assert.ok(compare(qwen!, 2, 24, 3) > 60);
  },
});

Deno.test("caches that are emptied all the time change no mask", async () => {
  const vocabulary = await pocketVocabulary();
  for (const source of SOURCES) {
    const grammars = [{}, { limits: { cachedItems: 1 } }, { limits: { cachedItems: 300 } }].map((options) =>
      compileGrammar(source, options)
    );
    const makers = [
      new MaskMaker(vocabulary),
      new MaskMaker(vocabulary, { bytes: 1, items: 1 }),
      new MaskMaker(vocabulary), // forgets states, and keeps masks
    ];
    for (let seed = 0; seed < 5; seed++) {
      const random = new Random(seed);
      const matchers = grammars.map((grammar, i) => new Matcher(grammar, makers[i]!));
      for (let step = 0; step < 30; step++) {
        const [ids, ...others] = matchers.map((matcher) => {
          const bits = new Uint32Array(vocabulary.words);
          matcher.fillMask(bits);
          return allowed(bits);
        });
        for (const other of others) assert.deepEqual(other, ids);
        if (ids!.length === 0) break; // ended, or nothing that this vocabulary can spell
        const id = random.pick(ids!);
        for (const matcher of matchers) assert.ok(matcher.accept(id));
      }
    }
  }
});

Deno.test("masks are found again after the states of a long text were forgotten, those of counted places too", async () => {
  const masks = new MaskMaker(await pocketVocabulary());
  const text = { type: "string", minLength: 3, maxLength: 20 };
  const grammar = compileGrammar({
    kind: "json_schema",
    schema: {
      type: "array",
      minItems: 400,
      items: { type: "object", properties: { text }, required: ["text"] },
    },
  }, { limits: { cachedItems: 3000 } });
  const bits = new Uint32Array(masks.vocabulary.words);
  const made: number[] = [];
  for (let walk = 0; walk < 3; walk++) {
    const random = new Random(7), matcher = new Matcher(grammar, masks);
    const before = masks.misses;
    for (let step = 0; step < 800; step++) {
      assert.ok(matcher.fillMask(bits));
      assert.ok(matcher.accept(random.pick(allowed(bits))));
      assert.ok(grammar.size < 6000, `${grammar.size} items`);
    }
    made.push(masks.misses - before);
  }
  assert.ok(made[0]! > 50);
  assert.deepEqual(made.slice(1), [0, 0]);
});

Deno.test("kept masks stay within their bytes", async () => {
  const masks = new MaskMaker(await pocketVocabulary(), { bytes: 8_000 });
  const grammar = compileGrammar(SOURCES[1]!);
  const random = new Random(5);
  const bits = new Uint32Array(masks.vocabulary.words);
  for (let walk = 0; walk < 40; walk++) {
    const matcher = new Matcher(grammar, masks);
    for (let step = 0; step < 40 && matcher.fillMask(bits); step++) {
      assert.ok(masks.bytes <= 10_000, `${masks.bytes}`);
      matcher.accept(random.pick(allowed(bits)));
    }
  }
  assert.ok(masks.misses > 60, `${masks.misses} were made`);
});

Deno.test("what all grammars keep together stays within its items, and masks stay the same", async () => {
  const vocabulary = await pocketVocabulary();
  const items = 400;
  const makers = [new MaskMaker(vocabulary, { items }), new MaskMaker(vocabulary)];
  const bits = makers.map(() => new Uint32Array(vocabulary.words));
  const walks = makers.map((masks) => SOURCES.map((source) => new Matcher(compileGrammar(source), masks)));
  const random = new Random(3);
  for (let step = 0; step < 40; step++) {
    for (const i of SOURCES.keys()) {
      const [small, large] = walks.map((matchers) => matchers[i]!);
      const found = [small!, large!].map((matcher, m) => matcher.fillMask(bits[m]!));
      if (found.includes(false)) continue;
      assert.deepEqual(bits[0], bits[1]);
      const id = random.pick(allowed(bits[0]!));
      assert.ok(small!.accept(id) && large!.accept(id));
    }
    // The one that ran last may have grown since it was looked at.
    const held = walks[0]!.slice(0, -1).reduce((sum, { grammar }) => sum + grammar.size, 0);
    assert.ok(held <= 2 * items, `${held} items are held`);
  }
  const free = walks[1]!.reduce((sum, { grammar }) => sum + grammar.size, 0);
  assert.ok(free > 3 * items, `${free} items without a bound`);
});

Deno.test("that no further digit leads to a number of a set is seen without looking for one", () => {
  const digits = "-.0123456789";
  const masks = new MaskMaker(vocabularyOf([...digits]));
  const bits = new Uint32Array(masks.vocabulary.words);
  const number = { type: "number" };
  for (
    const [schema, text, next] of [
      [{ ...number, minimum: 0, maximum: 100, multipleOf: 0.25 }, "10", ".0"],
      [{ ...number, minimum: 0.25, multipleOf: 0.25 }, "7.2", "5"],
      [{ ...number, oneOf: [{ maximum: 2 }, { maximum: 5 }] }, "5", "."],
      [{ ...number, minimum: -40, maximum: 40 }, "-4", ".0"],
      [{ ...number, multipleOf: 400 }, "12", "0123456789"],
    ] as const
  ) {
    const grammar = schemaGrammar(schema, { limits: { maskSteps: 10_000 } });
    const matcher = new Matcher(grammar, masks);
    for (const char of text) assert.ok(matcher.accept(digits.indexOf(char)), text);
    matcher.fillMask(bits);
    assert.equal(allowed(bits).map((id) => digits[id] ?? "").join(""), next, JSON.stringify(schema));
  }
});

Deno.test("a repetition of repetitions has few places, however a text came to them", async () => {
  const masks = new MaskMaker(await pocketVocabulary());
  const bits = new Uint32Array(masks.vocabulary.words);
  const pattern = "^(?!.*://)(?=.{1,255}$)((.{1,63}\\.){1,127}(?![0-9]*$)[a-z0-9-]+\\.?)$";
  const grammar = schemaGrammar({ type: "string", pattern }, { limits: { maskSteps: 8000 } });
  const matcher = new Matcher(grammar, masks);
  for (const char of '"a.b.c.d.e.f.g.h.i.j.k.l.example.com') {
    assert.ok(matcher.fillMask(bits));
    assert.ok(
      matcher.accept(
        allowed(bits).find((id) => masks.vocabulary.bytes(id).join() === `${char.charCodeAt(0)}`)!,
      ),
    );
  }
});

Deno.test("characters that lead to the same place share the places between their bytes", () => {
  const grammar = compileGrammar({ kind: "json_schema", schema: { type: "string", maxLength: 4 } });
  const quote = grammar.automaton.step(grammar.start, 0x22)!;
  const before = grammar.automaton.size;
  const encoder = new TextEncoder();
  for (let char = 0x4e00; char < 0xa000; char++) {
    let state: State | null = quote;
    for (const byte of encoder.encode(String.fromCharCode(char))) {
      state = grammar.automaton.step(state!, byte);
    }
    assert.ok(state);
  }
  assert.ok(grammar.automaton.size - before < 40, `${grammar.automaton.size - before} items`);
  for (const bytes of [[0xe0, 0x80], [0xed, 0xa0], [0xf0, 0x80], [0xf4, 0x90], [0xc1]]) {
    let state: State | null = quote;
    for (const byte of bytes) state = state && grammar.automaton.step(state, byte);
    assert.equal(state, null, `${bytes} begin no character`);
  }
});

Deno.test("a tree's nodes, subtrees and tokens agree with its tokens' bytes", () => {
  const words = ["a", "ab", "abc", "abd", "b", "ba", "b", "é"].map((text, id) => ({
    id,
    bytes: String.fromCharCode(...new TextEncoder().encode(text)),
  }));
  const trie = makeTrie(words);
  const found = new Map<number, string>();
  const path: string[] = [];
  for (let node = 0; node < trie.size; node++) {
    path.length = trie.depth[node]!;
    path.push(String.fromCharCode(trie.byte[node]!));
    for (let i = trie.first[node]!; i < trie.own[node]!; i++) found.set(trie.ids[i]!, path.join(""));
    let end = node + 1;
    while (end < trie.size && trie.depth[end]! > trie.depth[node]!) end++;
    assert.equal(trie.end[node], end);
  }
  assert.deepEqual([...found].sort(([a], [b]) => a - b), words.map(({ id, bytes }) => [id, bytes]));
});

Deno.test("special tokens are never allowed, and the end of text only where the grammar may end", () => {
  const vocabulary = vocabularyOf(["1", "2", ".", "x", ""]);
  const masks = new MaskMaker(vocabulary);
  const matcher = new Matcher(compileGrammar({ kind: "regex", pattern: "1+\\.2" }), masks);
  const bits = new Uint32Array(vocabulary.words);
  const ids = (): number[] => {
    matcher.fillMask(bits);
    return allowed(bits);
  };
  assert.deepEqual(ids(), [0]);
  assert.ok(!matcher.accept(5), "the end comes too early");
  assert.ok(matcher.accept(0) && matcher.accept(2));
  assert.deepEqual(ids(), [1]);
  assert.ok(matcher.accept(1));
  assert.deepEqual(ids(), [5]);
  assert.ok(matcher.canEnd && matcher.accept(5) && matcher.ended);
  assert.equal(matcher.fillMask(bits), false);
  assert.ok(!matcher.accept(0));
});

Deno.test("ids without a text, which only fill the embedding table, are never allowed", () => {
  const vocabulary = vocabularyOf(['"', "a", "", "", "b"]);
  const masks = new MaskMaker(vocabulary);
  const matcher = new Matcher(compileGrammar({ kind: "json_schema", schema: { type: "string" } }), masks);
  const bits = new Uint32Array(vocabulary.words);
  matcher.fillMask(bits);
  assert.deepEqual(allowed(bits), [0]);
  matcher.accept(0);
  matcher.fillMask(bits);
  assert.deepEqual(allowed(bits), [0, 1, 4]);
});

Deno.test("a vocabulary that cannot spell the grammar gives an empty mask", () => {
  const vocabulary = vocabularyOf(["a", "b"]);
  const matcher = new Matcher(compileGrammar({ kind: "choice", choices: ["c"] }), new MaskMaker(vocabulary));
  assert.equal(matcher.fillMask(new Uint32Array(vocabulary.words)), false);
});

Deno.test("the masks of a long array's items are made once", () => {
  const digits = Array.from({ length: 10 }, (_, i) => `${i}`);
  const vocabulary = vocabularyOf([...digits, "[", "]", ",", "1,", "1,2,", ",3,4,5,6", "7]"]);
  const grammar = compileGrammar({
    kind: "json_schema",
    schema: { type: "array", items: { enum: [1, 2, 3] }, minItems: 400, maxItems: 800 },
  }, { style: { whitespace: "none" } });
  const masks = new MaskMaker(vocabulary);
  const matcher = new Matcher(grammar, masks);
  const bits = new Uint32Array(vocabulary.words);
  const close = 11, comma = 12;
  matcher.accept(10);
  const ends: number[] = [];
  for (let item = 1; item <= 800; item++) {
    assert.ok(matcher.fillMask(bits) && matcher.accept(1));
    matcher.fillMask(bits);
    if (allowed(bits).includes(close)) ends.push(item);
    assert.equal(allowed(bits).includes(comma), item < 800);
    matcher.accept(comma);
  }
  assert.deepEqual([ends[0], ends.at(-1), ends.length], [400, 800, 401]);
  assert.ok(masks.misses < 200, `${masks.misses} masks were made`);
});
