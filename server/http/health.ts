// GET /health: is the engine alive? The scheduler must answer now, and if requests run, steps must come out of the
// executors: a server that answers 200 while its engine is dead is worse than none. GET /health_generate goes all
// the way through and makes one token.

import { Hono } from "hono";
import { defaultSamplingParams } from "../../engine/params.ts";
import type { AppEnv } from "./answer.ts";
import { withDeadline } from "./deadline.ts";
import { ApiError } from "./errors.ts";
import { Run } from "./run.ts";
import type { Service } from "./service.ts";

export function healthRoutes(service: Service): Hono<AppEnv> {
  const progress = new Progress(service.options.stallMs);
  const app = new Hono<AppEnv>();
  app.get("/health", async (c) => {
    const answer = service.readyEngine.counters().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ApiError(503, `the engine does not answer: ${reason}`, { code: "engine_dead" });
    });
    const counters = await withDeadline(answer, service.options.healthTimeoutMs);
    if (counters === null) {
      throw new ApiError(503, `the scheduler has not answered for ${service.options.healthTimeoutMs} ms`, {
        code: "unresponsive",
      });
    }
    const stalled = progress.stalledFor(counters.stepsTotal, counters.runningRequests > 0);
    if (stalled !== null) {
      throw new ApiError(503, `requests run, but no step has finished for ${Math.round(stalled / 1000)} s`, {
        code: "stalled",
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

/** Notices that the number of steps stands still although there is something to do. */
class Progress {
  readonly #limit: number;
  #steps = -1;
  #since = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Milliseconds without a step, if they are more than the limit. */
  stalledFor(steps: number, busy: boolean): number | null {
    const now = performance.now();
    if (!busy || steps !== this.#steps) {
      this.#steps = steps;
      this.#since = now;
    }
    const still = now - this.#since;
    return still > this.#limit ? still : null;
  }
}
