// Sends requests when they are due and sums up what became of them.

import { mean, percentile } from "../common/statistics.ts";
import type { Arrival } from "./arrivals.ts";
import { type Outcome, request } from "./client.ts";

/** Milliseconds. */
export interface Latency {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** One run's figures. */
export interface ReplaySummary {
  readonly requests: number;
  readonly done: number;
  /** Answered with an error (429 when the queue is full, for example), with the first message. */
  readonly refused: number;
  readonly failed: number;
  /** Not done when the time was up. */
  readonly unfinished: number;
  readonly first_problem: string | null;
  /** From the first request until the last was done. */
  readonly seconds: number;
  /** As the requests were due. */
  readonly offered_requests_per_second: number;
  readonly requests_per_second: number;
  /** Of finished requests. */
  readonly input_tokens_per_second: number;
  readonly output_tokens_per_second: number;
  /** Share of the finished requests' prompt tokens that came from the prefix cache. */
  readonly cache_hit_rate: number;
  readonly time_to_first_token_ms: Latency;
  readonly inter_token_latency_ms: Latency;
  readonly end_to_end_ms: Latency;
}

/** The figures of {@link play}. */
export async function replay(
  url: string,
  arrivals: readonly Arrival[],
  limitSeconds: number,
): Promise<ReplaySummary> {
  const { outcomes, seconds } = await play(url, arrivals, limitSeconds);
  return summarize(outcomes, arrivals, seconds);
}

/**
 * Plays arrivals against a server, in order of their times. Requests that are not done after `limitSeconds` are
 * aborted and counted as unfinished. `began` is of `performance.now()`.
 */
export async function play(
  url: string,
  arrivals: readonly Arrival[],
  limitSeconds: number,
): Promise<{ readonly outcomes: Outcome[]; readonly began: number; readonly seconds: number }> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), limitSeconds * 1000);
  const began = performance.now();
  try {
    const outcomes = await Promise.all(arrivals.map(async (arrival): Promise<Outcome> => {
      const due = began + arrival.at * 1000;
      await until(due, stop.signal);
      return stop.signal.aborted ? { status: "unfinished" } : await request(url, arrival, due, stop.signal);
    }));
    return { outcomes, began, seconds: (performance.now() - began) / 1000 };
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves at a time of `performance.now()`, or when `signal` aborts. */
export function until(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, Math.max(0, time - performance.now()));
    signal.addEventListener("abort", finish);
    if (signal.aborted) finish();
  });
}

/** The figures of a run that took `seconds`. */
export function summarize(
  outcomes: readonly Outcome[],
  arrivals: readonly Arrival[],
  seconds: number,
): ReplaySummary {
  const done = outcomes.filter((outcome) => outcome.status === "done");
  const count = (status: Outcome["status"]) => outcomes.filter((outcome) => outcome.status === status).length;
  const sum = (of: (outcome: (typeof done)[number]) => number) =>
    done.reduce((total, outcome) => total + of(outcome), 0);
  const input = sum(({ inputTokens }) => inputTokens);
  const problem = outcomes.find((outcome) => "message" in outcome);
  const lastArrival = arrivals.at(-1)?.at ?? 0;
  return {
    requests: outcomes.length,
    done: done.length,
    refused: count("refused"),
    failed: count("failed"),
    unfinished: count("unfinished"),
    first_problem: problem !== undefined && "message" in problem ? problem.message : null,
    seconds,
    offered_requests_per_second: lastArrival > 0 ? outcomes.length / lastArrival : outcomes.length,
    requests_per_second: done.length / seconds,
    input_tokens_per_second: input / seconds,
    output_tokens_per_second: sum(({ outputTokens }) => outputTokens) / seconds,
    cache_hit_rate: input > 0 ? sum(({ cachedTokens }) => cachedTokens) / input : 0,
    time_to_first_token_ms: latency(done.map(({ firstToken }) => firstToken)),
    inter_token_latency_ms: latency(done.flatMap(({ betweenTokens }) => betweenTokens)),
    end_to_end_ms: latency(done.map(({ total }) => total)),
  };
}

function latency(values: readonly number[]): Latency {
  return {
    mean: mean(values),
    p50: percentile(values, 0.5),
    p90: percentile(values, 0.9),
    p99: percentile(values, 0.99),
  };
}
