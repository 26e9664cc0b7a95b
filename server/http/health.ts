// GET /health: is the engine alive? Every worker is asked twice a second (engine/workers/guardian.ts), and a probe goes
// the way of a request through all of them; one that is silent for three makes the answer 503. A rank in the middle of
// a step may take longer: a server that is restarted because it is busy is as bad as one that says 200 when dead.
// With several replicas it is 200 while one of them can serve, and says how each of them is; "degraded" while one is down.
// GET /health_generate goes all the way through and makes one token.

import { Hono } from "hono";
import { defaultSamplingParams } from "../../engine/params.ts";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import { Run } from "./run.ts";
import type { Service } from "./service.ts";

/** GET /health and /health_generate. */
export function healthRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/health", (c) => {
    const { life, replicas } = service.readyEngine;
    if (life.state === "unresponsive") {
      throw new ApiError(503, `${life.what} for ${life.milliseconds} ms`, {
        code: "unresponsive",
      });
    }
    if (replicas === undefined) return c.json({ status: life.state });
    const each = replicas.map(({ state, life }, dp_rank) => ({
      dp_rank,
      status: state === "up" ? life.state : state,
    }));
    const isWhole = replicas.every(({ state }) => state === "up");
    return c.json({ status: isWhole ? life.state : "degraded", replicas: each });
  });
  app.get("/health_generate", async (c) => {
    const run = new Run(service, service.readyEngine, c.var, [{
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
