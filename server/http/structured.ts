// From the request fields that constrain the output to one grammar. Whether the engine can enforce it is found out
// where it is compiled; what it cannot is a 400 then, too.

import type { OutputGrammar } from "../../engine/grammar/serving/messages.ts";
import type { Json } from "../../engine/grammar/schema/document.ts";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import type { ModelInfo } from "../../engine/options.ts";
import { invalid } from "./errors.ts";
import { jsonProblem } from "./json_limits.ts";
import { requireTokenizer } from "./params.ts";
import type { ConstraintFields } from "./schemas/structured.ts";
import { validate } from "./schemas/validate.ts";
import { type StructuralTag, structuralTag, structuralTagSchema } from "./structural_tag.ts";

/**
 * What the output has to be; null if it may be anything.
 * @throws {ApiError} 400 if two fields say something, or one is no JSON
 */
export function constraint(fields: Partial<ConstraintFields>, model: ModelInfo): GrammarSource | null {
  const given = Object.entries(readers).flatMap(([param, read]) => {
    const source = read(fields, param);
    return source === null ? [] : [{ param, source }];
  });
  const [first, second] = given;
  if (second) {
    throw invalid(second.param, `${second.param}: ${first!.param} says already what the output has to be`);
  }
  if (first) requireTokenizer(model, first.param, `${first.param} needs`);
  return first?.source ?? null;
}

/** The grammar as the engine takes it; `reasoning`: a `<think>` block may come first. */
export function outputGrammar(source: GrammarSource | null, reasoning: boolean): OutputGrammar | null {
  return source === null ? null : { source, reasoning };
}

type Reader = (fields: Partial<ConstraintFields>, param: string) => GrammarSource | null;

const present = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined;

function optional<T>(value: T | null | undefined, make: (value: T) => GrammarSource): GrammarSource | null {
  return present(value) ? make(value) : null;
}

/** By the field that clients know. */
const readers: Readonly<Record<string, Reader>> = {
  response_format: ({ response_format: format }) => {
    switch (format?.type) {
      case undefined:
      case "text":
        return null;
      case "json_object":
        return { kind: "json_object" };
      case "json_schema":
        return jsonSchema(format.json_schema.schema ?? true);
      case "structural_tag":
        return structuralTag(format);
    }
  },
  "structured_outputs.json": ({ structured_outputs }, param) =>
    optional(structured_outputs?.json, (json) => schemaOf(json, param)),
  "structured_outputs.regex": ({ structured_outputs }) => optional(structured_outputs?.regex, regex),
  "structured_outputs.choice": ({ structured_outputs }) => optional(structured_outputs?.choice, choice),
  "structured_outputs.grammar": ({ structured_outputs }) => optional(structured_outputs?.grammar, ebnf),
  "structured_outputs.json_object": ({ structured_outputs }) =>
    structured_outputs?.json_object === true ? { kind: "json_object" } : null,
  "structured_outputs.structural_tag": ({ structured_outputs }, param) =>
    optional(structured_outputs?.structural_tag, (tag) => tagsOf(tag, param)),
  guided_json: ({ guided_json }, param) => optional(guided_json, (json) => schemaOf(json, param)),
  guided_regex: ({ guided_regex }) => optional(guided_regex, regex),
  guided_choice: ({ guided_choice }) => optional(guided_choice, choice),
  guided_grammar: ({ guided_grammar }) => optional(guided_grammar, ebnf),
  json_schema: ({ json_schema }, param) => optional(json_schema, (json) => schemaOf(json, param)),
  regex: (fields) => optional(fields.regex, regex),
  ebnf: (fields) => optional(fields.ebnf, ebnf),
  structural_tag: ({ structural_tag }, param) => optional(structural_tag, (tag) => tagsOf(tag, param)),
};

const regex = (pattern: string): GrammarSource => ({ kind: "regex", pattern });
const ebnf = (grammar: string): GrammarSource => ({ kind: "ebnf", grammar });
const choice = (choices: readonly string[]): GrammarSource => ({ kind: "choice", choices });

/** The grammar of a schema, which came as JSON. */
export function jsonSchema(schema: Readonly<Record<string, unknown>> | boolean): GrammarSource {
  return { kind: "json_schema", schema: schema as Json };
}

function schemaOf(value: string | boolean | Readonly<Record<string, unknown>>, param: string): GrammarSource {
  const schema = typeof value === "string" ? parsed(value, param) : value;
  if (
    typeof schema === "boolean" || (typeof schema === "object" && schema !== null && !Array.isArray(schema))
  ) {
    return jsonSchema(schema as Readonly<Record<string, unknown>>);
  }
  throw invalid(param, `${param}: a JSON Schema is an object`);
}

function tagsOf(value: string | StructuralTag, param: string): GrammarSource {
  return structuralTag(
    typeof value === "string" ? validate(structuralTagSchema, parsed(value, param)) : value,
  );
}

function parsed(text: string, param: string): unknown {
  const problem = jsonProblem(text);
  if (problem !== null) throw invalid(param, `${param}: ${problem}`);
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(param, `${param}: is not JSON`);
  }
}
