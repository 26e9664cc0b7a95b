// Options that say what the output has to be: a JSON Schema, a regular expression or a grammar.

import type { OutputGrammar } from "../../engine/grammar/serving/messages.ts";
import type { Json } from "../../engine/grammar/schema/document.ts";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import type { ModelInfo } from "../../engine/options.ts";
import { path, text, UsageError, value } from "./option.ts";
import { readText } from "./read_prompt.ts";

/** One of them at most. */
export const outputOptions = {
  jsonSchema: value("--json-schema", path("FILE"), "answer with JSON that this schema allows"),
  regex: value("--regex", text("REGEX"), "answer with what the expression matches"),
  grammar: value("--grammar", path("FILE"), "answer with a text of this EBNF (GBNF) grammar"),
} as const;

/** What they parse to. */
export type OutputOptions = { readonly [name in keyof typeof outputOptions]: string | undefined };

/**
 * Reads what they name.
 * @throws UsageError for several of them, or a file that is no JSON
 */
export async function outputSource(
  { jsonSchema, regex, grammar }: OutputOptions,
): Promise<GrammarSource | null> {
  if ([jsonSchema, regex, grammar].filter((each) => each !== undefined).length > 1) {
    throw new UsageError("--json-schema, --regex and --grammar exclude each other");
  }
  if (regex !== undefined) return { kind: "regex", pattern: regex };
  if (grammar !== undefined) return { kind: "ebnf", grammar: await readText(grammar) };
  if (jsonSchema === undefined) return null;
  const json = await readText(jsonSchema);
  try {
    return { kind: "json_schema", schema: JSON.parse(json) as Json };
  } catch {
    throw new UsageError(`--json-schema ${jsonSchema}: not JSON`);
  }
}

/** As the engine takes it; a model that thinks may do so first, where it is asked through its template. */
export function outputGrammar(
  source: GrammarSource | null,
  model: ModelInfo,
  chat: boolean | null,
): OutputGrammar | null {
  if (source === null) return null;
  return { source, reasoning: chat !== false && model.chatTemplate?.includes("<think>") === true };
}
