// GET /health: is the engine alive? The scheduler and every rank must answer, or be in the middle of a step: a server
// that says 200 while its engine is dead is worse than none, and so is one that is restarted because it is busy.
// GET /health_generate goes all the way through and makes one token.

import { Hono } from "hono";
import { defaultSamplingParams } from "../../engine/params.ts";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import { Liveness } from "./liveness.ts";
import { Run } from "./run.ts";
import type { Service } from "./service.ts";

/** GET /health and /health_generate. */
export function healthRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  let liveness: Liveness | null = null;
  app.get("/health", async (c) => {
    const engine = service.readyEngine;
    liveness ??= new Liveness(engine, service.options.healthTimeoutMs);
    const life = await liveness.check().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ApiError(503, `the engine does not answer: ${reason}`, { code: "engine_dead" });
    });
    if (life.state === "unresponsive") {
      throw new ApiError(503, `the engine has not answered for ${life.milliseconds} ms`, {
        code: "unresponsive",
      });
    }
    return c.json({ status: life.state });
  });
  app.get("/health_generate", async (c) => {
    const run = new Run(service, service.readyEngine, [{
      input: { type: "ids", ids: Uint32Array.of(0) },
      params: [{ ...defaultSamplingParams, maxTokens: 1, temperature: 0, ignoreEos: true }],
      salt: "health",
      id: c.get("record").id,
    }]);
    for await (const _ of run.events());
    return c.json({ status: "ok" });
  });
  return app;
}
