// GET /metrics: Prometheus' text format with SGLang's names, so that dashboards, autoscalers and gateways made for
// SGLang (llm-d, the Gateway API inference extension) read it as it is.

import { Hono } from "hono";
import type { SchedulerCounters } from "../../engine/scheduler/config.ts";
import type { AppEnv } from "./answer.ts";
import { descriptorLimit, openDescriptors } from "./descriptors.ts";
import type { Histogram } from "./metrics_store.ts";
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
  const counters = await service.ask(service.engine.counters());
  const page = new MetricsPage(`model_name="${escaped(service.modelName)}"`);
  engineMetrics(page, service, counters);
  serverMetrics(page, service);
  processMetrics(page);
  return page.text();
}

/** SGLang's names. */
function engineMetrics(page: MetricsPage, { engine, metrics }: Service, counters: SchedulerCounters): void {
  const { model, stats } = engine;
  const capacity = counters.totalPages * counters.pageSize;
  const { promptTokensTotal: prompts, cachedTokensTotal: cached } = counters;
  const queued = counters.queuedRequests + stats.tokenizerQueue;
  const gauge = page.gauge("sglang:"), counter = page.counter("sglang:");
  gauge("num_running_reqs", "Requests being computed.", counters.runningRequests);
  gauge("num_queue_reqs", "Requests waiting, for the tokenizer or for a row.", queued);
  gauge("num_used_tokens", "Tokens in pages of running requests.", counters.usedTokens);
  gauge("token_usage", "Share of the pages in use.", capacity > 0 ? counters.usedTokens / capacity : 0);
  gauge("max_total_num_tokens", "Tokens the pages can hold.", capacity);
  gauge("cached_tokens", "Tokens in the prefix cache.", counters.lockedTokens + counters.evictableTokens);
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
  counter(
    "num_retractions_total",
    "Requests put back for lack of pages or for another client.",
    counters.retractionsTotal,
  );
  gauge("tokenizer_queue_reqs", "Requests and questions in front of the tokenizer.", stats.tokenizerQueue);
  counter("tokenizer_jobs_total", "Prompts and questions the tokenizer has done.", stats.tokenized);
  counter("tokenizer_seconds_total", "Time that took it.", stats.tokenizerSeconds);
  page.describe("sglang:worker_restarts_total", "counter", "Times that a worker was started again.");
  for (const [worker, times] of Object.entries(stats.restarts)) {
    page.line("sglang:worker_restarts_total", times, `worker="${worker}"`);
  }
  page.describe("sglang:cache_config_info", "gauge", "Shape of the key/value cache.");
  page.line(
    "sglang:cache_config_info",
    1,
    `page_size="${counters.pageSize}",num_pages="${counters.totalPages}"`,
  );
  page.histogram(
    "sglang:time_to_first_token_seconds",
    "From request to first token.",
    metrics.timeToFirstToken,
  );
  page.histogram("sglang:inter_token_latency_seconds", "From token to token.", metrics.interTokenLatency);
  page.histogram("sglang:e2e_request_latency_seconds", "From request to last token.", metrics.requestLatency);
}

/** What HTTP has to tell. */
function serverMetrics(page: MetricsPage, { metrics, options, listener }: Service): void {
  const gauge = page.gauge("sglang:"), counter = page.counter("sglang:");
  page.describe(
    "sglang:num_refused_requests_total",
    "counter",
    "Requests answered with an error, by its code.",
  );
  for (const [reason, times] of [...metrics.refusals].sort()) {
    page.line("sglang:num_refused_requests_total", times, `reason="${reason}"`);
  }
  counter("dropped_log_lines_total", "Lines of the log that could not be written.", options.droppedLines());
  if (listener === null) return;
  gauge("num_connections", "Connections.", listener.connections);
  counter("accept_errors_total", "Failed attempts to accept a connection.", listener.acceptErrors);
  counter("evicted_connections_total", "Idle connections closed to make room.", listener.evicted);
  counter("refused_connections_total", "Connections that found no room.", listener.refused);
}

/** The names that every Prometheus client uses. */
function processMetrics(page: MetricsPage): void {
  const gauge = page.gauge("");
  gauge("process_resident_memory_bytes", "Memory in use.", Deno.memoryUsage().rss);
  const [open, most] = [openDescriptors(), descriptorLimit()];
  if (open !== null) gauge("process_open_fds", "Open files and sockets.", open);
  if (most !== null) gauge("process_max_fds", "Limit on open files and sockets.", most);
}

/** Lines of the exposition format, all with the same labels. */
class MetricsPage {
  readonly #labels: string;
  readonly #lines: string[] = [];

  constructor(labels: string) {
    this.#labels = labels;
  }

  /** For several metrics of one kind. */
  gauge(prefix: string): (name: string, help: string, value: number) => void {
    return (name, help, value) => this.#single(prefix + name, "gauge", help, value);
  }

  counter(prefix: string): (name: string, help: string, value: number) => void {
    return (name, help, value) => this.#single(prefix + name, "counter", help, value);
  }

  describe(name: string, type: string, help: string): void {
    this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  }

  line(name: string, value: number, labels = ""): void {
    this.#lines.push(`${name}{${[this.#labels, labels].filter((each) => each !== "").join(",")}} ${value}`);
  }

  histogram(name: string, help: string, histogram: Histogram): void {
    this.describe(name, "histogram", help);
    this.#lines.push(...histogram.lines(name, this.#labels));
  }

  text(): string {
    return this.#lines.join("\n") + "\n";
  }

  #single(name: string, type: string, help: string, value: number): void {
    this.describe(name, type, help);
    this.line(name, value);
  }
}

/** As a label's value. */
function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`);
}
