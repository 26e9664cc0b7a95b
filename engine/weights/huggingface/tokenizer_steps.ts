// Corrections of `@huggingface/tokenizers` in front of it: normalizers and pre-tokenizers that it gets wrong are put
// in words that it gets right. Found by comparison with the Rust library on random Unicode (see the tests); examples:
// `Digits` splits at numerals of every kind (½ ² Ⅷ), not at ASCII digits alone; white space is Unicode's, not
// JavaScript's; of the five ways to split only "Isolated" and "Removed" are done. What cannot be said so is refused.

import { z } from "zod";
import { checked, field, ModelError, optional, shown } from "../../model/json.ts";

const innerSteps = optional(field.list(z.unknown(), 64));
/** What a step may say, of whatever type it is. */
const stepSchema = field.object({
  type: optional(field.string),
  pattern: optional(field.object({ Regex: optional(field.string), String: optional(field.string) })),
  content: optional(field.string),
  prepend: optional(field.string),
  precompiled_charsmap: optional(field.string),
  strip_left: optional(field.boolean),
  strip_right: optional(field.boolean),
  individual_digits: optional(field.boolean),
  add_prefix_space: optional(field.boolean),
  use_regex: optional(field.boolean),
  behavior: optional(field.string),
  invert: optional(field.boolean),
  delimiter: optional(field.string),
  length: optional(field.integer(1, 1 << 20)),
  replacement: optional(field.string),
  prepend_scheme: optional(field.string),
  split: optional(field.boolean),
  normalizers: innerSteps,
  pretokenizers: innerSteps,
});
type Given = z.infer<typeof stepSchema>;
const schema = field.object({ normalizer: optional(z.unknown()), pre_tokenizer: optional(z.unknown()) });

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
  const { normalizer, pre_tokenizer } = checked(schema, json, path);
  return {
    ...json as object,
    normalizer: normalizer === undefined
      ? null
      : sequence("Sequence", "normalizers", normalizers(normalizer, `${path}: normalizer`)),
    pre_tokenizer: pre_tokenizer === undefined
      ? null
      : sequence("Sequence", "pretokenizers", preTokenizers(pre_tokenizer, `${path}: pre_tokenizer`, true)),
  };
}

function sequence(type: string, name: string, steps: readonly Step[]): Step {
  return steps.length === 1 ? steps[0]! : { type, [name]: steps };
}

/** The steps that stand for one step; a sequence has steps inside. */
function normalizers(json: unknown, where: string): Step[] {
  const step = checked(stepSchema, json, where), { type } = step;
  const replace = (pattern: string, content: string) => ({
    type: "Replace",
    pattern: { Regex: pattern },
    content,
  });
  switch (type) {
    case "Sequence":
      return (step.normalizers ?? []).flatMap((inner) => normalizers(inner, where));
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "StripAccents":
      return [{ type }];
    case "Precompiled":
      return [{ type, precompiled_charsmap: step.precompiled_charsmap ?? null }];
    case "Lowercase":
      // Letter by letter: no final sigma.
      return [replace("Σ", "σ"), { type }];
    case "Prepend":
      return [replace(`\\A${anything}`, `${literal(step.prepend ?? "")}$&`)];
    case "Replace":
      return [replace(patternOf(step, where), literal(step.content ?? ""))];
    case "Strip":
      return [
        ...(step.strip_left ? [replace("\\A\\s+", "")] : []),
        ...(step.strip_right ? [replace("\\s+\\z", "")] : []),
      ];
    default:
      throw new ModelError(`${where}: unsupported normalizer type ${shown(type)}`);
  }
}

function preTokenizers(json: unknown, where: string, isFirst: boolean): Step[] {
  const step = checked(stepSchema, json, where), { type } = step;
  switch (type) {
    case "Sequence":
      return (step.pretokenizers ?? []).flatMap((inner, i) =>
        preTokenizers(inner, where, isFirst && i === 0)
      );
    case "Digits":
      return [isolated(step.individual_digits ? "\\p{N}" : "\\p{N}+")];
    case "ByteLevel":
      return [
        ...(step.add_prefix_space
          ? [{ type: "Replace", pattern: { Regex: "\\A[^ ]" }, content: " $&" }]
          : []),
        ...(step.use_regex ?? true ? [isolated(words)] : []),
        { type, add_prefix_space: false, use_regex: false },
      ];
    case "Metaspace":
      return metaspace(step, where, isFirst);
    case "Punctuation":
      return [split(punctuation, step.behavior ?? "Isolated", false, where)];
    case "Split":
      return [split(patternOf(step, where), step.behavior ?? "", step.invert ?? false, where)];
    case "Whitespace":
      return [split(`[${wordLetters}]+|[^${wordLetters}\\s]+`, "Removed", true, where)];
    case "WhitespaceSplit":
      return [split("\\s+", "Removed", false, where)];
    case "BertPreTokenizer":
      return [split("\\s+", "Removed", false, where), isolated(punctuation)];
    case "CharDelimiterSplit":
      return [split(escaped(step.delimiter ?? ""), "Removed", false, where)];
    case "FixedLength":
      return [isolated(`${anything}{1,${step.length ?? 5}}`)];
    default:
      throw new ModelError(`${where}: unsupported pre-tokenizer type ${shown(type)}`);
  }
}

function metaspace(step: Given, where: string, isFirst: boolean): Step[] {
  const mark = step.replacement ?? "▁";
  const scheme = step.prepend_scheme ??
    (step.add_prefix_space ?? true ? "always" : "never");
  if (scheme === "first" && !isFirst) {
    throw new ModelError(
      `${where}: unsupported Metaspace with prepend_scheme "first" after other steps`,
    );
  }
  const spaced = { type: "Metaspace", replacement: mark, prepend_scheme: scheme };
  return step.split ?? true ? [spaced, split(escaped(mark), "MergedWithNext", false, where)] : [spaced];
}

/** Cuts around every match, in the words that the library does right. */
function split(pattern: string, behavior: string, invert: boolean, where: string): Step {
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
      throw new ModelError(`${where}: unsupported split behavior ${shown(behavior)}`);
  }
}

function isolated(pattern: string): Step {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

/** A pattern as a regular expression. */
function patternOf({ pattern }: Given, where: string): string {
  if (pattern?.Regex !== undefined) return pattern.Regex;
  if (pattern?.String !== undefined) return escaped(pattern.String);
  throw new ModelError(`${where}: "pattern" has neither "Regex" nor "String"`);
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

/** JavaScript's replacements give "$" a meaning, Rust's here do not. */
function literal(content: string): string {
  return content.replaceAll("$", "$$$$");
}
