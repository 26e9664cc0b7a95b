// GET /v1/models and /v1/models/{id}. `owned_by`, `root` and `max_model_len` are what SGLang's gateway looks at.

import { Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import { requireModel } from "./params.ts";
import type { Service } from "./service.ts";

/** GET /v1/models and /v1/models/{id}. */
export function modelRoutes(service: Service): Hono<AppEnv> {
  const card = () => {
    const { path, contextLength } = service.engine.model;
    return {
      id: service.modelName,
      object: "model",
      created: service.started,
      owned_by: "sglang",
      root: path,
      parent: null,
      max_model_len: contextLength,
    };
  };
  const app = new Hono<AppEnv>();
  app.get("/v1/models", (c) => c.json({ object: "list", data: [card()] }));
  // Ids of the Hub contain a slash, which some clients escape and others do not.
  app.get("/v1/models/:id{[\\s\\S]+}", (c) => {
    requireModel(c.req.param("id"), service.modelNames);
    return c.json(card());
  });
  return app;
}
