// GET /health: is the engine alive? The scheduler and every rank must answer: a server that says 200 while its engine
// is dead is worse than none. GET /health_generate goes all the way through and makes one token.

import { Hono } from "hono";
import { defaultSamplingParams } from "../../engine/params.ts";
import type { AppEnv } from "./answer.ts";
import { withDeadline } from "./deadline.ts";
import { ApiError } from "./errors.ts";
import { Run } from "./run.ts";
import type { Service } from "./service.ts";

/** GET /health and /health_generate. */
export function healthRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/health", async (c) => {
    const { healthTimeoutMs } = service.options;
    const answer = service.readyEngine.ping().then(() => true, (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ApiError(503, `the engine does not answer: ${reason}`, { code: "engine_dead" });
    });
    if (await withDeadline(answer, healthTimeoutMs) === null) {
      throw new ApiError(503, `the engine has not answered for ${healthTimeoutMs} ms`, {
        code: "unresponsive",
      });
    }
    return c.json({ status: "ok" });
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
