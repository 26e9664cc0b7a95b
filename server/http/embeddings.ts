// POST /v1/embeddings: OpenAI's, for whatever model is served.

import { Hono } from "hono";
import type { z } from "zod";
import type { AppEnv } from "./answer.ts";
import { embed } from "./embedder.ts";
import type { ServedEngine } from "./engine_api.ts";
import { isFlat, promptTokens, requestPriority } from "./params.ts";
import type { BatchInput } from "./prompt_batch.ts";
import { embeddingsRequestSchema } from "./schemas/embeddings.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";
import { base64Of } from "./vectors.ts";

/** POST /v1/embeddings. */
export function embeddingRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/embeddings", async (c) => {
    const request = await readRequest(c, service, embeddingsRequestSchema);
    const engine = service.readyEngine;
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

function inputsOf(
  input: z.infer<typeof embeddingsRequestSchema>["input"],
  { model }: ServedEngine,
): BatchInput[] {
  const one = (value: string | readonly number[], param: string): BatchInput => ({
    value: typeof value === "string" ? value : promptTokens(value, param, model),
    param,
  });
  if (typeof input === "string") return [one(input, "input")];
  return isFlat(input) ? [one(input, "input")] : input.map((each, i) => one(each, `input[${i}]`));
}
