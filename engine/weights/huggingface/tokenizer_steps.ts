// Corrections of `@huggingface/tokenizers` in front of it: normalizers and pre-tokenizers that it gets wrong are put
// in words that it gets right. Found by comparison with the Rust library on random Unicode (see the tests); examples:
// `Digits` splits at numerals of every kind (½ ² Ⅷ), not at ASCII digits alone; white space is Unicode's, not
// JavaScript's; of the five ways to split only "Isolated" and "Removed" are done. What cannot be said so is refused.

import { Fields } from "../../model/fields.ts";
import { ModelError, shown } from "../../model/json.ts";

interface Step {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** ASCII punctuation and Unicode's, as the Rust library has it. */
const punctuation = "[\\p{P}\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]";
/** What Rust's regular expressions take for parts of words. */
const wordLetters = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D";
/** GPT-2's words. */
const words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const anything = "[\\s\\S]";

/**
 * A `tokenizer.json` that the library reads as the Rust library reads the given one, which stays as it is.
 * @throws ModelError for steps that the library does not do
 */
export function corrected(json: unknown, path: string): object {
  const fields = new Fields(json, path);
  const normalizer = fields.object("normalizer");
  const preTokenizer = fields.object("pre_tokenizer");
  return {
    ...json as object,
    normalizer: normalizer ? sequence("Sequence", "normalizers", normalizers(normalizer)) : null,
    pre_tokenizer: preTokenizer
      ? sequence("Sequence", "pretokenizers", preTokenizers(preTokenizer, true))
      : null,
  };
}

function sequence(type: string, name: string, steps: readonly Step[]): Step {
  return steps.length === 1 ? steps[0]! : { type, [name]: steps };
}

/** The steps inside a sequence, which may be nested. */
function inner(step: Fields, name: string): Fields[] {
  return (step.list(name, 64) ?? []).map((each) => new Fields(each, step.where));
}

function normalizers(step: Fields): Step[] {
  const type = step.string("type");
  const replace = (pattern: string, content: string) => ({
    type: "Replace",
    pattern: { Regex: pattern },
    content,
  });
  switch (type) {
    case "Sequence":
      return inner(step, "normalizers").flatMap(normalizers);
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "StripAccents":
      return [{ type }];
    case "Precompiled":
      return [{ type, precompiled_charsmap: step.raw("precompiled_charsmap") ?? null }];
    case "Lowercase":
      // Letter by letter: no final sigma.
      return [replace("Σ", "σ"), { type }];
    case "Prepend":
      return [replace(`\\A${anything}`, `${literal(step.string("prepend") ?? "")}$&`)];
    case "Replace":
      return [replace(patternOf(step), literal(step.string("content") ?? ""))];
    case "Strip":
      return [
        ...(step.boolean("strip_left", false) ? [replace("\\A\\s+", "")] : []),
        ...(step.boolean("strip_right", false) ? [replace("\\s+\\z", "")] : []),
      ];
    default:
      throw new ModelError(`${step.where}: unsupported normalizer type ${shown(type)}`);
  }
}

function preTokenizers(step: Fields, isFirst: boolean): Step[] {
  const type = step.string("type");
  switch (type) {
    case "Sequence":
      return inner(step, "pretokenizers").flatMap((each, i) => preTokenizers(each, isFirst && i === 0));
    case "Digits":
      return [isolated(step.boolean("individual_digits", false) ? "\\p{N}" : "\\p{N}+")];
    case "ByteLevel":
      return [
        ...(step.boolean("add_prefix_space", false)
          ? [{ type: "Replace", pattern: { Regex: "\\A[^ ]" }, content: " $&" }]
          : []),
        ...(step.boolean("use_regex", true) ? [isolated(words)] : []),
        { type, add_prefix_space: false, use_regex: false },
      ];
    case "Metaspace":
      return metaspace(step, isFirst);
    case "Punctuation":
      return [split(punctuation, step.string("behavior") ?? "Isolated", false, step)];
    case "Split":
      return [split(patternOf(step), step.string("behavior") ?? "", step.boolean("invert", false), step)];
    case "Whitespace":
      return [split(`[${wordLetters}]+|[^${wordLetters}\\s]+`, "Removed", true, step)];
    case "WhitespaceSplit":
      return [split("\\s+", "Removed", false, step)];
    case "BertPreTokenizer":
      return [split("\\s+", "Removed", false, step), isolated(punctuation)];
    case "CharDelimiterSplit":
      return [split(escaped(step.string("delimiter") ?? ""), "Removed", false, step)];
    case "FixedLength":
      return [isolated(`${anything}{1,${step.integer("length", 1, 1 << 20, 5)}}`)];
    default:
      throw new ModelError(`${step.where}: unsupported pre-tokenizer type ${shown(type)}`);
  }
}

function metaspace(step: Fields, isFirst: boolean): Step[] {
  const mark = step.string("replacement") ?? "▁";
  const scheme = step.string("prepend_scheme") ??
    (step.boolean("add_prefix_space", true) ? "always" : "never");
  if (scheme === "first" && !isFirst) {
    throw new ModelError(
      `${step.where}: unsupported Metaspace with prepend_scheme "first" after other steps`,
    );
  }
  const spaced = { type: "Metaspace", replacement: mark, prepend_scheme: scheme };
  return step.boolean("split", true)
    ? [spaced, split(escaped(mark), "MergedWithNext", false, step)]
    : [spaced];
}

/** Cuts around every match, in the words that the library does right. */
function split(pattern: string, behavior: string, invert: boolean, step: Fields): Step {
  const rest = `(?:(?!${pattern})${anything})`;
  switch (behavior) {
    case "Isolated":
      return isolated(pattern);
    case "Removed":
      return { type: "Split", pattern: { Regex: pattern }, behavior, invert };
    case "Contiguous":
      return isolated(`(?:${pattern})+`);
    case "MergedWithPrevious":
    case "MergedWithNext":
      // What is between matches counts as the match if inverted: the other neighbour then.
      return (behavior === "MergedWithPrevious") !== invert
        ? isolated(`${rest}*(?:${pattern})|${rest}+`)
        : isolated(`(?:${pattern})${rest}*|${rest}+`);
    default:
      throw new ModelError(`${step.where}: unsupported split behavior ${shown(behavior)}`);
  }
}

function isolated(pattern: string): Step {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

/** A pattern as a regular expression. */
function patternOf(step: Fields): string {
  const pattern = step.object("pattern");
  const regex = pattern?.string("Regex");
  if (regex !== undefined) return regex;
  const text = pattern?.string("String");
  if (text === undefined) throw new ModelError(`${step.where}: "pattern" has neither "Regex" nor "String"`);
  return escaped(text);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

/** JavaScript's replacements give "$" a meaning, Rust's here do not. */
function literal(content: string): string {
  return content.replaceAll("$", "$$$$");
}
