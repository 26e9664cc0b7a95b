// Latencies as clients see them, gathered where tokens leave the server. Cumulative histograms in Prometheus'
// sense; the engine's own counters are asked for when a scrape comes.

import type { ApiError } from "./errors.ts";

/** Upper bounds in seconds, as in SGLang. */
const secondsBuckets = [
  0.001,
  0.005,
  0.01,
  0.02,
  0.04,
  0.06,
  0.08,
  0.1,
  0.25,
  0.5,
  0.75,
  1,
  2.5,
  5,
  7.5,
  10,
  15,
  20,
  30,
  60,
  120,
  300,
];
const tokenBuckets = [
  0.0005,
  0.001,
  0.002,
  0.004,
  0.006,
  0.008,
  0.01,
  0.015,
  0.02,
  0.025,
  0.03,
  0.04,
  0.05,
  0.075,
  0.1,
  0.15,
  0.2,
  0.3,
  0.5,
  1,
  2,
];

/** Counts of observations at or below each bound. */
export class Histogram {
  /** Upper ends of the buckets, ascending. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  /** Empty buckets; one more takes what is above the last bound. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  /** Counts a value, `times` over. */
  observe(value: number, times = 1): void {
    this.#sum += value * times;
    this.#count += times;
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket]! += times;
  }

  /** Lines of the exposition format. */
  lines(name: string, labels: string): string[] {
    let below = 0;
    const buckets = this.bounds.map((bound, i) => {
      below += this.#counts[i]!;
      return `${name}_bucket{${labels},le="${bound}"} ${below}`;
    });
    return [
      ...buckets,
      `${name}_bucket{${labels},le="+Inf"} ${this.#count}`,
      `${name}_sum{${labels}} ${this.#sum}`,
      `${name}_count{${labels}} ${this.#count}`,
    ];
  }
}

/** What is measured per request, for GET /metrics. */
export class ServerMetrics {
  /** Seconds from a request to its first token. */
  readonly timeToFirstToken: Histogram = new Histogram(secondsBuckets);
  /** Seconds between two tokens. */
  readonly interTokenLatency: Histogram = new Histogram(tokenBuckets);
  /** Seconds from a request to its end. */
  readonly requestLatency: Histogram = new Histogram(secondsBuckets);
  /** Requests that were refused, by the code of the refusal. */
  readonly refusals: Map<string, number> = new Map();

  /** Counts a refusal. */
  rejected({ status, code }: ApiError): void {
    const reason = code ?? String(status); // one of those in the program, so there are few
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }
}
