// Structural tags: output that is free in some places and follows a form in others. Two forms of asking: SGLang's and
// vLLM's older one, free text until a trigger opens one of the structures; and xgrammar's, a tree of formats, which
// both take by now. What is not enforced is refused by its name.

import { z } from "zod";
import type { GrammarSource } from "../../engine/grammar/source.ts";
import type { Json } from "../../engine/grammar/schema/document.ts";
import { httpLimits } from "./limits.ts";

/** A JSON Schema: an object or a boolean. */
export const jsonSchema = z.union([z.record(z.string(), z.unknown()), z.boolean()]);
const most = httpLimits.tools;
const triggers = z.array(z.string().min(1)).min(1).max(most);

type Format =
  | { readonly type: "const_string"; readonly value: string }
  | { readonly type: "json_schema"; readonly json_schema: Readonly<Record<string, unknown>> | boolean }
  | { readonly type: "regex"; readonly pattern: string }
  | { readonly type: "grammar"; readonly grammar: string }
  | { readonly type: "any_text" }
  | { readonly type: "sequence" | "or"; readonly elements: readonly Format[] }
  | Tag
  | {
    readonly type: "triggered_tags";
    readonly triggers: readonly string[];
    readonly tags: readonly Tag[];
    readonly at_least_one?: boolean | undefined;
    readonly stop_after_first?: boolean | undefined;
  };

interface Tag {
  readonly type?: "tag" | undefined;
  readonly begin: string;
  readonly content: Format;
  readonly end: string;
}

// Strict objects: a field that is not known would change what is meant.
const format: z.ZodType<Format> = z.lazy(() =>
  z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("const_string"), value: z.string() }),
    z.strictObject({ type: z.literal("json_schema"), json_schema: jsonSchema }),
    z.strictObject({ type: z.literal("regex"), pattern: z.string() }),
    z.strictObject({ type: z.literal("grammar"), grammar: z.string() }),
    z.strictObject({ type: z.literal("any_text") }),
    z.strictObject({ type: z.enum(["sequence", "or"]), elements: z.array(format).min(1).max(most) }),
    z.strictObject({
      type: z.literal("triggered_tags"),
      triggers,
      tags: z.array(z.strictObject({ type: z.literal("tag").optional(), ...tag })).min(1).max(most),
      at_least_one: z.boolean().optional(),
      stop_after_first: z.boolean().optional(),
    }),
    z.strictObject({ type: z.literal("tag"), ...tag }),
  ])
).meta({ id: "StructuralFormat" }); // its name in /openapi.json, where it refers to itself

const tag = { begin: z.string(), content: format, end: z.string() };

/** Either form. */
export const structuralTagSchema = z.object({
  type: z.literal("structural_tag"),
  structures: z.array(z.object({ begin: z.string(), schema: jsonSchema.nullish(), end: z.string() })).min(1)
    .max(
      most,
    )
    .optional(),
  triggers: triggers.optional(),
  format: format.optional(),
}).refine(
  ({ structures, triggers, format }) =>
    format === undefined ? structures !== undefined && triggers !== undefined : !structures && !triggers,
  "a structural tag has either a format, or structures and triggers",
);

/** Either form, checked. */
export type StructuralTag = z.infer<typeof structuralTagSchema>;

/** Its grammar. */
export function structuralTag({ format, structures = [], triggers = [] }: StructuralTag): GrammarSource {
  if (format !== undefined) return source(format);
  return {
    kind: "tags",
    triggers,
    tags: structures.map(({ begin, schema, end }) => {
      const content: GrammarSource = schema === null || schema === undefined
        ? { kind: "any_text" }
        : { kind: "json_schema", schema: schema as Json };
      return { begin, content, end };
    }),
  };
}

function source(format: Format): GrammarSource {
  switch (format.type) {
    case "const_string":
      return { kind: "choice", choices: [format.value] };
    case "json_schema":
      return { kind: "json_schema", schema: format.json_schema as Json };
    case "regex":
      return { kind: "regex", pattern: format.pattern };
    case "grammar":
      return { kind: "ebnf", grammar: format.grammar };
    case "any_text":
      return { kind: "any_text" };
    case "sequence":
      return { kind: "sequence", parts: format.elements.map(source) };
    case "or":
      return { kind: "any_of", parts: format.elements.map(source) };
    case "triggered_tags": {
      const { triggers, tags, at_least_one, stop_after_first } = format;
      return {
        kind: "tags",
        triggers,
        tags: tags.map(({ begin, content, end }) => ({ begin, content: source(content), end })),
        atLeastOne: at_least_one === true,
        stopAfterFirst: stop_after_first === true,
      };
    }
    case "tag":
    case undefined: {
      const text = (text: string): GrammarSource => ({ kind: "choice", choices: [text] });
      const parts = [text(format.begin), source(format.content), text(format.end)];
      return { kind: "sequence", parts };
    }
  }
}
