// GET /debug/scheduler: one moment of the scheduler, for the page's second tab and for whoever wants to see batching and
// prefix sharing at work; of all replicas together, or with ?dp_rank=n of one. It tells how busy others are, so pages of other origins are refused even where they may chat.

import { Hono } from "hono";
import { isForeign } from "./access.ts";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import { replicasOf, type ServedEngine } from "./engine_api.ts";
import type { Service } from "./service.ts";

/** GET /debug/scheduler. */
export function debugRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/debug/scheduler", async (c) => {
    if (isForeign(c)) {
      throw new ApiError(403, "only the server's own page may look at the scheduler", {
        code: "forbidden_origin",
      });
    }
    const engine = chosen(service.engine, c.req.query("dp_rank"));
    const { counters, requests, runs, runsTotal } = await service.ask(engine.inspect());
    return c.json({
      counters,
      requests: requests.map((request) => ({
        id: request.id,
        phase: request.phase,
        prompt_tokens: request.promptTokens,
        computed_tokens: request.computedTokens,
        cached_tokens: request.cachedTokens,
        output_tokens: request.outputTokens,
      })),
      runs,
      runs_total: runsTotal,
    });
  });
  return app;
}

/** The engine, or the replica of that number. */
function chosen(engine: ServedEngine, rank: string | undefined): ServedEngine {
  if (rank === undefined) return engine;
  const replicas = replicasOf(engine), found = /^\d+$/.test(rank) ? replicas[Number(rank)] : undefined;
  if (found !== undefined) return found;
  throw new ApiError(400, `dp_rank: must be 0 to ${replicas.length - 1}, not ${rank.slice(0, 20)}`, {
    param: "dp_rank",
  });
}
