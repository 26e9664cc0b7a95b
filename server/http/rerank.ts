// POST /v1/rerank in the shape of Jina's and Cohere's, and POST /v1/score in vLLM's. vLLM's other paths are served, too.

import { type Context, Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { invalid } from "./errors.ts";
import { requestPriority, requireModel } from "./params.ts";
import { type Pair, score, type ScoreOptions } from "./reranker.ts";
import { rerankRequestSchema, scoreRequestSchema } from "./schemas/embeddings.ts";
import { validate } from "./schemas/validate.ts";
import type { Service } from "./service.ts";

/** POST /v1/rerank and /v1/score. */
export function rerankRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  for (const path of ["/v1/rerank", "/v2/rerank", "/rerank"]) app.post(path, (c) => rerank(c, service));
  for (const path of ["/v1/score", "/score"]) app.post(path, (c) => scores(c, service));
  return app;
}

async function rerank(c: Context<AppEnv>, service: Service): Promise<Response> {
  service.readyEngine; // Not ready is said before anything is read.
  const request = validate(rerankRequestSchema, await readJson(c.req.raw, service.options));
  requireModel(request.model, service.modelNames);
  const query = { value: request.query, param: "query" };
  const documents = request.documents.map((each, i) => ({
    value: typeof each === "string" ? each : each.text,
    param: `documents[${i}]`,
  }));
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
  service.readyEngine;
  const request = validate(scoreRequestSchema, await readJson(c.req.raw, service.options));
  requireModel(request.model, service.modelNames);
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
  const side = (texts: string | readonly string[], param: string) =>
    typeof texts === "string"
      ? [{ value: texts, param }]
      : texts.map((value, i) => ({ value, param: `${param}[${i}]` }));
  const [queries, documents] = [side(first, "text_1"), side(second, "text_2")];
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
  request: {
    readonly instruction?: string | null | undefined;
    readonly cache_salt?: string | null | undefined;
    readonly priority?: number | null | undefined;
    readonly service_tier?: string | null | undefined;
  },
): Partial<ScoreOptions> {
  return {
    ...(request.instruction ? { instruction: request.instruction } : {}),
    salt: request.cache_salt ?? "",
    priority: requestPriority(request),
  };
}
