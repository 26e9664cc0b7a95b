// Normalizers and pre-tokenizers, corrected in front of the library, against the Rust library itself (PyPI's
// tokenizers) on random Unicode; and the kinds of tokenizers that split at digits, with small vocabularies trained for
// the test.

import assert from "node:assert/strict";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { corrected } from "../../../engine/weights/huggingface/tokenizer_steps.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { ModelError } from "../../../engine/model/json.ts";
import { hasPython, python } from "../../python.ts";
import { temporaryFolder } from "../weights/files.ts";
import { randomTexts } from "./unicode.ts";

type Step = Readonly<Record<string, unknown>>;

const judge = await hasPython("tokenizers");
const ignored = judge ? "" : " (ignored: python3 has no tokenizers)";
const both = [true, false];
const digits = (individual: boolean) => ({ type: "Digits", individual_digits: individual });
const byteLevel = (regex: boolean, prefix = false) => ({
  type: "ByteLevel",
  add_prefix_space: prefix,
  trim_offsets: true,
  use_regex: regex,
});
const split = (pattern: Step, behavior = "Isolated", invert = false) => ({
  type: "Split",
  pattern,
  behavior,
  invert,
});
const regex = (pattern: string) => split({ Regex: pattern });
const sequence = (...pretokenizers: readonly Step[]) => ({ type: "Sequence", pretokenizers });
const metaspace = (scheme: string, splits: boolean) => ({
  type: "Metaspace",
  replacement: "▁",
  prepend_scheme: scheme,
  split: splits,
});
const behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"];
const words =
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|" +
  "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";

/** Every pre-tokenizer and normalizer that is taken, in all its settings. */
const preTokenizers: readonly Step[] = [
  { type: "BertPreTokenizer" },
  { type: "Whitespace" },
  { type: "WhitespaceSplit" },
  { type: "CharDelimiterSplit", delimiter: "a" },
  { type: "FixedLength", length: 3 },
  ...both.map(digits),
  ...both.flatMap((expression) => both.map((prefix) => byteLevel(expression, prefix))),
  ...["always", "first", "never"].flatMap((scheme) => both.map((splits) => metaspace(scheme, splits))),
  ...behaviors.map((behavior) => ({ type: "Punctuation", behavior })),
  ...behaviors.flatMap((behavior) =>
    both.flatMap((invert) =>
      [{ String: " " }, { Regex: "\\d+" }, { Regex: "\\s+" }, { Regex: words }].map((pattern) =>
        split(pattern, behavior, invert)
      )
    )
  ),
  sequence(digits(true), byteLevel(true)),
  sequence({ type: "WhitespaceSplit" }, byteLevel(true, true)),
  sequence({ type: "WhitespaceSplit" }, metaspace("always", true)),
];
const normalizers: readonly Step[] = [
  ...["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"].map((type) => ({ type })),
  { type: "Prepend", prepend: "▁" },
  { type: "Replace", pattern: { String: " " }, content: "▁" },
  { type: "Replace", pattern: { Regex: " {2,}" }, content: "▁" },
  { type: "Replace", pattern: { String: "a" }, content: "$&" },
  ...both.flatMap((left) => both.map((right) => ({ type: "Strip", strip_left: left, strip_right: right }))),
  { type: "Sequence", normalizers: ["NFD", "StripAccents", "Lowercase"].map((type) => ({ type })) },
];

/** Pre-tokenizer and normalizer of published tokenizers that split at digits. */
const kinds: Readonly<Record<string, readonly [Step, Step | null]>> = {
  "SmolLM2": [sequence(digits(true), byteLevel(true)), null],
  "StarCoder": [sequence(digits(true), byteLevel(true)), null],
  "Command-R": [sequence(digits(true), byteLevel(true)), { type: "NFC" }],
  "DeepSeek-LLM": [
    sequence(
      regex("[\r\n]"),
      regex("\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-Ⴥ]+"),
      regex("\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+"),
      regex("\\s+$"),
      regex("[一-龥\u0800-一가-\ud7a3]+"),
      digits(true),
      byteLevel(false),
    ),
    null,
  ],
  "DeepSeek-Coder": [
    sequence(
      regex("[\r\n]"),
      regex("\\s?\\p{L}+"),
      regex("\\s?\\p{P}+"),
      regex("[一-龥\u0800-一가-\ud7a3]+"),
      digits(true),
      byteLevel(false),
    ),
    null,
  ],
};

interface Answer {
  readonly normalizers: readonly (readonly string[])[];
  readonly pre_tokenizers: readonly (readonly (readonly string[])[])[];
  readonly kinds: Readonly<Record<string, { readonly json: unknown; readonly ids: readonly number[][] }>>;
}

function ask(question: object): Promise<Answer> {
  const nothing = { normalizers: [], pre_tokenizers: [], kinds: {}, corpus: [] };
  return python(new URL("judge_tokenizers.py", import.meta.url), { ...nothing, ...question });
}

/** The library with one step, corrected. */
function step(parts: object): Library {
  const model = { type: "BPE", vocab: { a: 0 }, merges: [] };
  const empty = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
  };
  return new Library(corrected({ ...empty, model, ...parts }, "tokenizer.json"), {});
}

Deno.test({
  name: `every pre-tokenizer and normalizer does to random Unicode what the Rust library does${ignored}`,
  ignore: !judge,
  fn: async () => {
    const texts = randomTexts(1500, 1);
    const answer = await ask({ texts, normalizers, pre_tokenizers: preTokenizers });
    preTokenizers.forEach((config, i) => {
      const { pre_tokenizer } = step({ pre_tokenizer: config });
      texts.forEach((text, j) => {
        const pieces = pre_tokenizer!(text, { section_index: 0 }).filter((piece: string) => piece !== "");
        assert.deepEqual(
          pieces,
          answer.pre_tokenizers[i]![j],
          `${JSON.stringify(config)} of ${JSON.stringify(text)}`,
        );
      });
    });
    normalizers.forEach((config, i) => {
      const { normalizer } = step({ normalizer: config });
      texts.forEach((text, j) => {
        const found = normalizer ? normalizer(text) : text;
        assert.equal(
          found,
          answer.normalizers[i]![j],
          `${JSON.stringify(config)} of ${JSON.stringify(text)}`,
        );
      });
    });
  },
});

Deno.test({
  name:
    `tokenizers that split at digits give 10,000 random texts the Rust library's ids, five kinds${ignored}`,
  ignore: !judge,
  fn: async () => {
    const texts = [...await ggmlCases(), ...randomTexts(10_000, 2)];
    const corpus = [
      ...randomTexts(400, 3),
      "The quick brown fox counts 1, 2, 34 and 567 ½ cups. ".repeat(20),
    ];
    const answer = await ask({ texts, kinds, corpus });
    for (const [name, { json, ids }] of Object.entries(answer.kinds)) {
      await using folder = await temporaryFolder({ "tokenizer.json": JSON.stringify(json) });
      const tokenizer = await Tokenizer.load(folder.path);
      texts.forEach((text, i) =>
        assert.deepEqual([...tokenizer.encode(text, false)], ids[i], `${name}: ${JSON.stringify(text)}`)
      );
    }
  },
});

/** ggml's own test texts, where llama.cpp's folder `models` is around the templates. */
async function ggmlCases(): Promise<string[]> {
  const templates = Deno.env.get("RADISH_CHAT_TEMPLATES");
  if (templates === undefined) return [];
  const text = await Deno.readTextFile(`${templates}/../ggml-vocab-starcoder.gguf.inp`);
  return text.split("\n__ggml_vocab_test__\n");
}

Deno.test("digits of every kind are split off, with and without their neighbours", () => {
  const pieces = (individual: boolean, text: string) =>
    step({ pre_tokenizer: digits(individual) }).pre_tokenizer!(text, { section_index: 0 });
  assert.deepEqual(pieces(true, "a½²b①Ⅷ٣10"), ["a", "½", "²", "b", "①", "Ⅷ", "٣", "1", "0"]);
  assert.deepEqual(pieces(false, "a½²b①Ⅷ٣10"), ["a", "½²", "b", "①Ⅷ٣10"]);
});

Deno.test("steps that the library does not do as the Rust library does are refused by name", () => {
  const refused: [object, RegExp][] = [
    [{ normalizer: { type: "BertNormalizer" } }, /normalizer: unsupported normalizer type "BertNormalizer"$/],
    [{ normalizer: { type: "Nmt" } }, /unsupported normalizer type "Nmt"$/],
    [
      { pre_tokenizer: { type: "UnicodeScripts" } },
      /pre_tokenizer: unsupported pre-tokenizer type "UnicodeScripts"$/,
    ],
    [{ pre_tokenizer: split({ Regex: "x" }, "Mangled") }, /unsupported split behavior "Mangled"$/],
    [{ pre_tokenizer: split({}) }, /"pattern" has neither "Regex" nor "String"$/],
    [
      { pre_tokenizer: sequence(digits(true), metaspace("first", true)) },
      /unsupported Metaspace with prepend_scheme "first" after other steps$/,
    ],
  ];
  for (const [parts, message] of refused) {
    assert.throws(() => step(parts), (error) => error instanceof ModelError && message.test(error.message));
  }
});
