// The fields that constrain the output: OpenAI's response_format, vLLM's structured_outputs and guided_*, SGLang's
// json_schema, regex, ebnf and structural_tag. What they mean is in `../structured.ts`.

import { z } from "zod";
import { httpLimits } from "../limits.ts";
import { jsonSchema, structuralTagSchema } from "../structural_tag.ts";

const name = z.string().max(httpLimits.nameLength);

/** A schema, or its text. */
const schemaOrText = z.union([jsonSchema, z.string()]);

const choices = z.array(z.string()).min(1).max(httpLimits.grammarChoices);

const textFormat = z.object({ type: z.literal("text") });
const jsonObject = z.object({ type: z.literal("json_object") });
const namedSchema = z.object({
  name: name.nullish(),
  description: z.string().nullish(),
  schema: jsonSchema.nullish(),
  strict: z.boolean().nullish(),
});

/** OpenAI's, with SGLang's structural tags. */
export const responseFormatSchema = z.discriminatedUnion("type", [
  textFormat,
  jsonObject,
  z.object({ type: z.literal("json_schema"), json_schema: namedSchema }),
  structuralTagSchema,
]).nullish().describe("What the answer has to be; enforced while it is generated.");

/** The form of an answer's text, as the responses API writes it. */
export const textFormatSchema = z.discriminatedUnion("type", [
  textFormat,
  jsonObject,
  namedSchema.extend({ type: z.literal("json_schema") }),
]).describe("What the answer has to be; enforced while it is generated.");

/** Anthropic's: a schema for the answer. */
export const outputFormatSchema = z.object({ type: z.literal("json_schema"), schema: jsonSchema }).nullish();

/** Ollama's: "json", a schema, or nothing, which it writes as an empty text, too. */
export const ollamaFormatSchema = z.union([z.enum(["", "json"]), z.record(z.string(), z.unknown())]).nullish()
  .describe("What the answer has to be: json, or a JSON Schema; enforced while it is generated.");

/** SGLang's. */
export const sglangConstraints = {
  json_schema: schemaOrText.nullish().describe("A JSON Schema, or its text."),
  regex: z.string().nullish().describe("An ECMAScript regular expression for the whole output."),
  ebnf: z.string().nullish().describe("A grammar whose first rule is root."),
  structural_tag: z.union([z.string(), structuralTagSchema]).nullish(),
};

/** vLLM's, of two generations. */
export const vllmConstraints = {
  structured_outputs: z.object({
    json: schemaOrText.nullish(),
    regex: z.string().nullish(),
    choice: choices.nullish(),
    grammar: z.string().nullish(),
    json_object: z.boolean().nullish(),
    structural_tag: z.union([z.string(), structuralTagSchema]).nullish(),
  }).nullish(),
  guided_json: schemaOrText.nullish(),
  guided_regex: z.string().nullish(),
  guided_choice: choices.nullish(),
  guided_grammar: z.string().nullish(),
};

/** Checked fields. */
export type ConstraintFields =
  & z.infer<z.ZodObject<typeof sglangConstraints>>
  & z.infer<z.ZodObject<typeof vllmConstraints>>
  & { readonly response_format?: z.infer<typeof responseFormatSchema> };
