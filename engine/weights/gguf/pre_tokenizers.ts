// The pre-tokenizers that GGUF names in `tokenizer.ggml.pre`: how a text is split before byte-level BPE.
//
// The expressions are facts of the models: each is the one in that model's own `tokenizer.json`.

/** What a name stands for. */
export interface PreTokenizer {
  /** As in `tokenizer.json`. */
  readonly preTokenizer: Readonly<Record<string, unknown>>;
  /** As in `tokenizer.json`; none where absent. */
  readonly normalizer?: Readonly<Record<string, unknown>>;
  /** Whether a word that is a token needs no merges. */
  readonly ignoreMerges?: true;
  /** Whether a text begins with beginning-of-text where the file does not say. */
  readonly addsBos?: true;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const ending = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const notLetter = "[^\\r\\n\\p{L}\\p{N}]?";

/** Words as GPT-4's tokenizer splits them, with numbers of at most `digits`. */
const gpt4Like = (digits: string, letters = "\\p{L}", symbols = "[^\\s\\p{L}\\p{N}]") =>
  `${contractions}|${notLetter}${letters}+|${digits}| ?${symbols}+[\\r\\n]*|${ending}`;

/** Words that begin a new one at a capital letter. */
const caseAware = (digits: string, suffix: string) =>
  `${notLetter}${upper}*${lower}+${suffix}|${notLetter}${upper}+${lower}*${suffix}|${digits}` +
  `| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${ending}`;

const split = (regex: string) => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});
const sequence = (...pretokenizers: readonly object[]) => ({ type: "Sequence", pretokenizers });
const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const gpt2Words = { ...bytes, use_regex: true };
const digits = { type: "Digits", individual_digits: true };
const nfc = { type: "NFC" };

const llama3: PreTokenizer = {
  preTokenizer: sequence(split(gpt4Like("\\p{N}{1,3}")), bytes),
  ignoreMerges: true,
  addsBos: true,
};
const qwen2: PreTokenizer = { preTokenizer: sequence(split(gpt4Like("\\p{N}")), bytes), normalizer: nfc };
const separateDigits: PreTokenizer = { preTokenizer: sequence(digits, gpt2Words) };

/**
 * Latin, Greek, Cyrillic, Armenian and further letters, as DeepSeek's first tokenizer lists them. Those that a
 * normalizing editor would replace are escaped.
 */
const deepseekLetters =
  "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-" +
  "\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ" +
  "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃";

/** One pre-tokenizer under each of its names. */
const named = (preTokenizer: PreTokenizer, ...names: readonly string[]): Record<string, PreTokenizer> =>
  Object.fromEntries(names.map((name) => [name, preTokenizer]));

/** By name. */
export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map(Object.entries<PreTokenizer>({
  ...named({ preTokenizer: gpt2Words }, "default", "gpt-2", "phi-2", "olmo", "mpt", "exaone4"),
  ...named(llama3, "llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"),
  "dbrx": { preTokenizer: llama3.preTokenizer },
  "smaug-bpe": { preTokenizer: llama3.preTokenizer },
  ...named(qwen2, "qwen2", "deepseek-r1-qwen", "megrez"),
  "qwen35": {
    preTokenizer: sequence(split(gpt4Like("\\p{N}", "[\\p{L}\\p{M}]", "[^\\s\\p{L}\\p{M}\\p{N}]")), bytes),
    normalizer: nfc,
  },
  "smollm": separateDigits,
  "starcoder": separateDigits,
  "refact": separateDigits,
  "command-r": { preTokenizer: separateDigits.preTokenizer, normalizer: nfc },
  ...named(
    { preTokenizer: sequence(split(caseAware("\\p{N}{1,3}", `${contractions}?`)), bytes) },
    "gpt-4o",
    "llama4",
  ),
  "tekken": { preTokenizer: sequence(split(caseAware("\\p{N}", "")), bytes), ignoreMerges: true },
  "deepseek-llm": {
    preTokenizer: sequence(
      split("[\\r\\n]"),
      split(`\\s?[${deepseekLetters}]+`),
      split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
      split("\\s+$"),
      split("[一-龥ࠀ-一가-퟿]+"),
      digits,
      bytes,
    ),
  },
  "deepseek-coder": {
    preTokenizer: sequence(
      split("[\\r\\n]"),
      split("\\s?\\p{L}+"),
      split("\\s?\\p{P}+"),
      split("[一-龥ࠀ-一가-퟿]+"),
      digits,
      bytes,
    ),
  },
  "deepseek-v3": {
    preTokenizer: sequence(
      split("\\p{N}{1,3}"),
      split("[一-龥぀-ゟ゠-ヿ]+"),
      split(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" +
          `| ?[\\p{P}\\p{S}]+[\\r\\n]*|${ending}`,
      ),
      bytes,
    ),
  },
}));

/** Names that are known. */
export const knownPreTokenizers: readonly string[] = [...preTokenizers.keys()];
