// GET /v1/models and /v1/models/{id}. One answer for all who ask: `owned_by`, `root` and `max_model_len` are what
// SGLang's gateway looks at; `type`, `display_name`, `created_at` and the ends of the list what Anthropic's clients
// read; `models` is the list that Codex decodes.

import { Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import { codexModels } from "./codex_card.ts";
import { capabilities, modifiedAt } from "./ollama_models.ts";
import { requireModel } from "./params.ts";
import type { Service } from "./service.ts";

/** GET /v1/models and /v1/models/{id}. */
export function modelRoutes(service: Service): Hono<AppEnv> {
  const card = () => {
    const { model } = service.engine;
    return {
      id: service.modelName,
      object: "model",
      created: service.started,
      owned_by: "sglang",
      root: model.path,
      parent: null,
      max_model_len: model.contextLength,
      context_length: model.contextLength,
      capabilities: capabilities(service),
      type: "model",
      display_name: service.modelName,
      created_at: modifiedAt(service),
    };
  };
  const app = new Hono<AppEnv>();
  app.get("/v1/models", (c) => {
    const { id } = card();
    return c.json({
      object: "list",
      data: [card()],
      models: codexModels(service),
      has_more: false,
      first_id: id,
      last_id: id,
    });
  });
  // Ids of the Hub contain a slash, which some clients escape and others do not.
  app.get("/v1/models/:id{[\\s\\S]+}", (c) => {
    requireModel(c.req.param("id"), service.modelNames);
    return c.json(card());
  });
  return app;
}
