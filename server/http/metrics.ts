// GET /metrics: Prometheus' text format with SGLang's names, so that dashboards, autoscalers and gateways made for
// SGLang (llm-d, the Gateway API inference extension) read it as it is.

import { Hono } from "hono";
import type { AppEnv } from "./answer.ts";
import type { Service } from "./service.ts";

/** GET /metrics. */
export function metricRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.get("/metrics", async (c) => {
    c.header("content-type", "text/plain; version=0.0.4; charset=utf-8");
    return c.body(await metricsText(service));
  });
  return app;
}

async function metricsText(service: Service): Promise<string> {
  const { model } = service.engine;
  const counters = await service.ask(service.engine.counters());
  const capacity = counters.totalPages * counters.pageSize;
  const labels = `model_name="${
    service.modelName.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`)
  }"`;
  const lines: string[] = [];
  const describe = (name: string, type: string, help: string) =>
    lines.push(`# HELP sglang:${name} ${help}`, `# TYPE sglang:${name} ${type}`);
  const single = (type: "gauge" | "counter") => (name: string, help: string, value: number) => {
    describe(name, type, help);
    lines.push(`sglang:${name}{${labels}} ${value}`);
  };
  const gauge = single("gauge"), counter = single("counter");

  gauge("num_running_reqs", "Requests being computed.", counters.runningRequests);
  gauge("num_queue_reqs", "Requests waiting.", counters.queuedRequests);
  gauge("num_used_tokens", "Tokens in pages of running requests.", counters.usedTokens);
  gauge("token_usage", "Share of the pages in use.", capacity > 0 ? counters.usedTokens / capacity : 0);
  gauge("max_total_num_tokens", "Tokens the pages can hold.", capacity);
  gauge("cached_tokens", "Tokens in the prefix cache.", counters.lockedTokens + counters.evictableTokens);
  const { promptTokensTotal: prompts, cachedTokensTotal: cached } = counters;
  gauge("cache_hit_rate", "Share of prompt tokens found in the cache.", prompts > 0 ? cached / prompts : 0);
  gauge("gen_throughput", "Generated tokens per second of late.", counters.generationThroughput);
  gauge("step_milliseconds", "Duration of a step of late.", counters.stepMilliseconds);
  gauge(
    "utilization",
    "Running requests over their limit.",
    counters.runningRequests / model.maxRunningRequests,
  );
  counter("prompt_tokens_total", "Prompt tokens.", prompts);
  counter("generation_tokens_total", "Generated tokens.", counters.generatedTokensTotal);
  counter("cached_tokens_total", "Prompt tokens found in the cache.", cached);
  counter("evicted_tokens_total", "Tokens evicted from the cache.", counters.evictedTokensTotal);
  counter("num_requests_total", "Requests.", counters.requestsTotal);
  counter("num_aborted_requests_total", "Aborted requests.", counters.abortedTotal);
  counter("num_retractions_total", "Requests put back for lack of pages.", counters.retractionsTotal);
  describe("cache_config_info", "gauge", "Shape of the key/value cache.");
  lines.push(
    `sglang:cache_config_info{${labels},page_size="${counters.pageSize}",num_pages="${counters.totalPages}"} 1`,
  );
  const { metrics } = service;
  for (
    const [name, help, histogram] of [
      ["time_to_first_token_seconds", "From request to first token.", metrics.timeToFirstToken],
      ["inter_token_latency_seconds", "From token to token.", metrics.interTokenLatency],
      ["e2e_request_latency_seconds", "From request to last token.", metrics.requestLatency],
    ] as const
  ) {
    describe(name, "histogram", help);
    lines.push(...histogram.lines(`sglang:${name}`, labels));
  }
  return lines.join("\n") + "\n";
}
