// GET /metrics: Prometheus' text format with SGLang's names, so that dashboards, autoscalers and gateways made for
// SGLang (llm-d, the Gateway API inference extension) read it as it is.

import { Hono } from "hono";
import type { EngineStats } from "../../engine/engine.ts";
import type { ModelInfo } from "../../engine/options.ts";
import type { AppEnv } from "./answer.ts";
import { descriptorLimit, openDescriptors } from "./descriptors.ts";
import type { ServedEngine } from "./engine_api.ts";
import type { Histogram } from "./metrics_store.ts";
import { scrape, type Scraped } from "./scrape.ts";
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
  const scraped = await scrape(service);
  const page = new MetricsPage(`model_name="${escaped(service.modelName)}"`);
  engineMetrics(page, scraped, service.engine);
  latencyMetrics(page, service);
  serverMetrics(page, service);
  processMetrics(page);
  return page.text();
}

/** What a metric of an engine is made of. */
interface Figures extends Pick<Scraped, "counters"> {
  readonly model: ModelInfo;
  readonly stats: EngineStats;
  /** Tokens that the pages hold. */
  readonly capacity: number;
}

type Row = readonly [name: string, type: "gauge" | "counter", help: string, value: (of: Figures) => number];

/** SGLang's names; each engine has a line of each. */
const engineRows: readonly Row[] = [
  ["num_running_reqs", "gauge", "Requests being computed.", ({ counters }) => counters.runningRequests],
  [
    "num_queue_reqs",
    "gauge",
    "Requests waiting, for the tokenizer or for a row.",
    ({ counters, stats }) => counters.queuedRequests + stats.tokenizerQueue,
  ],
  ["num_used_tokens", "gauge", "Tokens in pages of running requests.", ({ counters }) => counters.usedTokens],
  [
    "token_usage",
    "gauge",
    "Share of the pages in use.",
    ({ counters, capacity }) => share(counters.usedTokens, capacity),
  ],
  ["max_total_num_tokens", "gauge", "Tokens the pages can hold.", ({ capacity }) => capacity],
  [
    "cached_tokens",
    "gauge",
    "Tokens in the prefix cache.",
    ({ counters }) => counters.lockedTokens + counters.evictableTokens,
  ],
  [
    "cache_hit_rate",
    "gauge",
    "Share of prompt tokens found in the cache.",
    ({ counters }) => share(counters.cachedTokensTotal, counters.promptTokensTotal),
  ],
  [
    "gen_throughput",
    "gauge",
    "Generated tokens per second of late.",
    ({ counters }) => counters.generationThroughput,
  ],
  ["step_milliseconds", "gauge", "Duration of a step of late.", ({ counters }) => counters.stepMilliseconds],
  [
    "utilization",
    "gauge",
    "Running requests over their limit.",
    ({ counters, model }) => share(counters.runningRequests, model.maxRunningRequests),
  ],
  ["prompt_tokens_total", "counter", "Prompt tokens.", ({ counters }) => counters.promptTokensTotal],
  [
    "generation_tokens_total",
    "counter",
    "Generated tokens.",
    ({ counters }) => counters.generatedTokensTotal,
  ],
  [
    "cached_tokens_total",
    "counter",
    "Prompt tokens found in the cache.",
    ({ counters }) => counters.cachedTokensTotal,
  ],
  [
    "evicted_tokens_total",
    "counter",
    "Tokens evicted from the cache.",
    ({ counters }) => counters.evictedTokensTotal,
  ],
  ["num_requests_total", "counter", "Requests.", ({ counters }) => counters.requestsTotal],
  ["num_aborted_requests_total", "counter", "Aborted requests.", ({ counters }) => counters.abortedTotal],
  [
    "num_retractions_total",
    "counter",
    "Requests put back for lack of pages or for another client.",
    ({ counters }) => counters.retractionsTotal,
  ],
  [
    "tokenizer_queue_reqs",
    "gauge",
    "Requests and questions in front of the tokenizer.",
    ({ stats }) => stats.tokenizerQueue,
  ],
  [
    "tokenizer_jobs_total",
    "counter",
    "Prompts and questions the tokenizer has done.",
    ({ stats }) => stats.tokenized,
  ],
  ["tokenizer_seconds_total", "counter", "Time that took it.", ({ stats }) => stats.tokenizerSeconds],
];

/** Where there are replicas, each has its own lines, with SGLang's label dp_rank. */
function engineMetrics(page: MetricsPage, scraped: readonly Scraped[], { replicas }: ServedEngine): void {
  const label = (rank: number) => replicas === undefined ? "" : `dp_rank="${rank}"`;
  for (const [name, type, help, value] of engineRows) {
    page.describe(`sglang:${name}`, type, help);
    for (const { rank, engine: { model, stats }, counters } of scraped) {
      const capacity = counters.totalPages * counters.pageSize;
      page.line(`sglang:${name}`, value({ counters, model, stats, capacity }), label(rank));
    }
  }
  page.describe("sglang:worker_restarts_total", "counter", "Times that a worker was started again.");
  for (const { rank, engine: { stats } } of scraped) {
    for (const [worker, times] of Object.entries(stats.restarts)) {
      page.line("sglang:worker_restarts_total", times, label(rank), `worker="${worker}"`);
    }
  }
  page.describe("sglang:cache_config_info", "gauge", "Shape of the key/value cache.");
  for (const { rank, counters: { pageSize, totalPages } } of scraped) {
    const shape = `page_size="${pageSize}",num_pages="${totalPages}"`;
    page.line("sglang:cache_config_info", 1, label(rank), shape);
  }
  if (replicas === undefined) return;
  page.describe(
    "sglang:replica_restarts_total",
    "counter",
    "Times that a replica's engine was started again.",
  );
  for (const [rank, { restarts }] of replicas.entries()) {
    page.line("sglang:replica_restarts_total", restarts, label(rank));
  }
  page.describe("sglang:replica_up", "gauge", "1 for a replica that lives, 0 for one that is dead.");
  for (const [rank, { health }] of replicas.entries()) {
    page.line("sglang:replica_up", health === "dead" ? 0 : 1, label(rank));
  }
}

/** Measured where tokens leave the server, whichever engine made them. */
function latencyMetrics(page: MetricsPage, { metrics }: Service): void {
  const { timeToFirstToken, interTokenLatency, requestLatency } = metrics;
  page.histogram("sglang:time_to_first_token_seconds", "From request to first token.", timeToFirstToken);
  page.histogram("sglang:inter_token_latency_seconds", "From token to token.", interTokenLatency);
  page.histogram("sglang:e2e_request_latency_seconds", "From request to last token.", requestLatency);
}

function share(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
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

  line(name: string, value: number, ...labels: readonly string[]): void {
    const all = [this.#labels, ...labels].filter((each) => each !== "");
    this.#lines.push(`${name}{${all.join(",")}} ${value}`);
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
