/**
 * What a grammar can be made from: plain data, so that it goes through a message port and is compiled where it is
 * used.
 */
import type { Json } from "./schema/document.ts";

/** One grammar. */
export type GrammarSource =
  /** A value that a JSON Schema allows. `lenient`: any JSON object where the schema cannot be enforced exactly. */
  | { readonly kind: "json_schema"; readonly schema: Json; readonly lenient?: boolean }
  /** Any JSON object. */
  | { readonly kind: "json_object" }
  /** A text that an ECMAScript regular expression matches as a whole. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** A text of a grammar in EBNF (GBNF, xgrammar's dialect), from the rule `root` or the one named. */
  | { readonly kind: "ebnf"; readonly grammar: string; readonly root?: string }
  /** One of these texts. */
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** One after the other. */
  | { readonly kind: "sequence"; readonly parts: readonly GrammarSource[] }
  /** Any one of them. */
  | { readonly kind: "any_of"; readonly parts: readonly GrammarSource[] }
  /** Any text at all. */
  | { readonly kind: "any_text" }
  | TagsSource;

/**
 * Triggered tags: free text, until one of `triggers` has been written; then a tag whose `begin` starts with the
 * trigger: the rest of `begin`, its content, its `end`; then free text again.
 */
export interface TagsSource {
  /** Says which form it is. */
  readonly kind: "tags";
  /** Texts after which a tag must follow. */
  readonly triggers: readonly string[];
  /** The tags. */
  readonly tags: readonly { readonly begin: string; readonly content: GrammarSource; readonly end: string }[];
  /** The text may not end without a tag. */
  readonly atLeastOne?: boolean;
  /** Nothing follows the first tag. */
  readonly stopAfterFirst?: boolean;
}
