// The bodies of POST /v1/embeddings, /v1/rerank and /v1/score, and of their answers.

import { z } from "zod";
import { httpLimits } from "../limits.ts";
import { usage as generationUsage } from "./answers.ts";
import { nameSchema as name, promptsSchema, schedulingFields } from "./sampling.ts";

const shared = {
  model: name.nullish().describe("The id of the served model; anything else is a 404."),
  user: name.nullish(),
  ...schedulingFields,
};

/** How many numbers of an embedding are wanted. */
export const dimensionsSchema = z.int().min(1).max(2 ** 20).nullish().describe(
  "So many numbers of each embedding, from its front, brought to length 1 again.",
);

/** The body of POST /v1/embeddings. */
export const embeddingsRequestSchema = z.object({
  ...shared,
  input: promptsSchema(httpLimits.embeddings),
  encoding_format: z.enum(["float", "base64"]).nullish().describe("base64: of float32, little-endian."),
  dimensions: dimensionsSchema,
});

const document = z.union([z.string(), z.object({ text: z.string() })]);
const instruction = z.string().nullish().describe(
  "What counts as relevant, for models that are told. Missing: what a web search looks for.",
);

/** The body of POST /v1/rerank. */
export const rerankRequestSchema = z.object({
  ...shared,
  query: z.string(),
  documents: z.array(document).min(1).max(httpLimits.embeddings),
  top_n: z.int().min(0).max(2 ** 31 - 1).nullish().describe("The best so many; 0 or missing: all."),
  return_documents: z.boolean().nullish().describe("False leaves the documents out of the answer."),
  instruction,
});

const texts = z.union([z.string(), z.array(z.string()).min(1).max(httpLimits.embeddings)]);

/** The body of POST /v1/score. */
export const scoreRequestSchema = z.object({
  ...shared,
  text_1: texts.describe(
    "A query, compared with every text_2, or queries, each with the text_2 at its place.",
  ),
  text_2: texts,
  instruction,
});

const text = z.string();
const count = z.int().min(0);
const number = z.number();
const usage = generationUsage.omit({ completion_tokens: true });

/** POST /v1/embeddings. */
export const embeddingsAnswer = z.object({
  object: z.literal("list"),
  data: z.array(z.object({
    object: z.literal("embedding"),
    index: count,
    embedding: z.union([z.array(number), text]),
  })),
  model: text,
  usage,
});

/** POST /v1/rerank. */
export const rerankAnswer = z.object({
  id: text,
  model: text,
  results: z.array(z.object({
    index: count,
    relevance_score: number,
    document: z.object({ text }).optional(),
  })),
  usage,
});

/** POST /v1/score. */
export const scoreAnswer = z.object({
  id: text,
  object: z.literal("list"),
  created: count,
  model: text,
  data: z.array(z.object({ object: z.literal("score"), index: count, score: number })),
  usage,
});
