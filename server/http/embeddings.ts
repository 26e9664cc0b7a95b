// POST /v1/embeddings: OpenAI's, for whatever model is served.

import { Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { embed } from "./embedder.ts";
import type { ServedEngine } from "./engine_api.ts";
import { promptTokens, requestPriority, requireModel } from "./params.ts";
import type { BatchInput } from "./prompt_batch.ts";
import { embeddingsRequestSchema } from "./schemas/embeddings.ts";
import { validate } from "./schemas/validate.ts";
import type { Service } from "./service.ts";
import { base64Of } from "./vectors.ts";

/** POST /v1/embeddings. */
export function embeddingRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/embeddings", async (c) => {
    const engine = service.readyEngine;
    const request = validate(embeddingsRequestSchema, await readJson(c.req.raw, service.options));
    requireModel(request.model, service.modelNames);
    const { vectors, usage } = await embed(c, service, inputsOf(request.input, engine), {
      dimensions: request.dimensions,
      salt: request.cache_salt ?? "",
      priority: requestPriority(request),
    });
    const asText = request.encoding_format === "base64";
    return c.json({
      object: "list",
      data: vectors.map((vector, index) => ({
        object: "embedding",
        index,
        embedding: asText ? base64Of(vector) : [...vector],
      })),
      model: service.modelName,
      usage,
    });
  });
  return app;
}

type Input = string | readonly (string | number | readonly number[])[];

function inputsOf(input: Input, { model }: ServedEngine): BatchInput[] {
  const one = (value: string | readonly number[], param: string): BatchInput => ({
    value: typeof value === "string" ? value : promptTokens(value, param, model),
    param,
  });
  if (typeof input === "string") return [one(input, "input")];
  if (typeof input[0] === "number") return [one(input as readonly number[], "input")];
  return input.map((each, i) => one(each as string | readonly number[], `input[${i}]`));
}
