// POST /v1/rerank in the shape of Jina's and Cohere's, and POST /v1/score in vLLM's. vLLM's other paths are served, too.

import { type Context, Hono } from "hono";
import type { z } from "zod";
import type { AppEnv } from "./answer.ts";
import { invalid } from "./errors.ts";
import { requestPriority } from "./params.ts";
import { textInputs } from "./prompt_batch.ts";
import { type Pair, score, type ScoreOptions } from "./reranker.ts";
import { rerankRequestSchema, scoreRequestSchema } from "./schemas/embeddings.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";

/** POST /v1/rerank and /v1/score. */
export function rerankRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  for (const path of ["/v1/rerank", "/v2/rerank", "/rerank"]) app.post(path, (c) => rerank(c, service));
  for (const path of ["/v1/score", "/score"]) app.post(path, (c) => scores(c, service));
  return app;
}

async function rerank(c: Context<AppEnv>, service: Service): Promise<Response> {
  const request = await readRequest(c, service, rerankRequestSchema);
  const query = { value: request.query, param: "query" };
  const texts = request.documents.map((each) => typeof each === "string" ? each : each.text);
  const documents = textInputs(texts, "documents");
  const pairs = documents.map((document) => ({ query, document }));
  const { scores, usage } = await score(c, service, pairs, optionsOf(request));
  const ranked = scores.map((relevance_score, index) => ({
    index,
    relevance_score,
    ...(request.return_documents === false ? {} : { document: { text: documents[index]!.value } }),
  })).sort((a, b) => b.relevance_score - a.relevance_score || a.index - b.index);
  return c.json({
    id: c.get("record").id,
    model: service.modelName,
    results: ranked.slice(0, request.top_n || undefined),
    usage,
  });
}

async function scores(c: Context<AppEnv>, service: Service): Promise<Response> {
  const request = await readRequest(c, service, scoreRequestSchema);
  const pairs = pairsOf(request.text_1, request.text_2);
  const { scores, usage } = await score(c, service, pairs, optionsOf(request));
  return c.json({
    id: c.get("record").id,
    object: "list",
    created: Math.floor(Date.now() / 1000),
    model: service.modelName,
    data: scores.map((score, index) => ({ object: "score", index, score })),
    usage,
  });
}

/** One text goes with each of the other side; two lists go pair by pair. */
function pairsOf(first: string | readonly string[], second: string | readonly string[]): Pair[] {
  const queries = textInputs(first, "text_1"), documents = textInputs(second, "text_2");
  if (queries.length === 1) return documents.map((document) => ({ query: queries[0]!, document }));
  if (documents.length !== queries.length) {
    throw invalid(
      "text_2",
      `text_2: ${queries.length} texts in text_1 need as many in text_2, not ${documents.length}`,
    );
  }
  return queries.map((query, i) => ({ query, document: documents[i]! }));
}

function optionsOf(
  request: Pick<
    z.infer<typeof scoreRequestSchema>,
    "instruction" | "cache_salt" | "priority" | "service_tier"
  >,
): ScoreOptions {
  return {
    instruction: request.instruction || null,
    salt: request.cache_salt ?? "",
    priority: requestPriority(request),
  };
}
