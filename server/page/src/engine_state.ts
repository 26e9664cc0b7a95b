// The engine's figures, once a second while somebody looks: `/debug/scheduler` for this moment, `/metrics` for the
// latencies. A hidden page asks nothing.

import { signal } from "@preact/signals";
import { messageOf } from "./state.ts";

/** What a request is doing. */
export interface RequestState {
  readonly id: string;
  readonly phase: "waiting" | "prefill" | "decode";
  readonly prompt_tokens: number;
  readonly computed_tokens: number;
  readonly cached_tokens: number;
  readonly output_tokens: number;
}

/** A run of tokens in the prefix cache. */
export interface CachedRun {
  readonly depth: number;
  readonly tokens: number;
  readonly locks: number;
  readonly hits: number;
}

/** One moment of the scheduler. */
export interface SchedulerState {
  readonly counters: Readonly<Record<string, number>>;
  readonly requests: readonly RequestState[];
  readonly runs: readonly CachedRun[];
  readonly runs_total: number;
}

/** What is plotted. */
export interface Sample {
  /** Per second since the sample before. */
  readonly generated: number;
  readonly prefilled: number;
  readonly running: number;
  readonly queued: number;
  /** Share of the pages in use by requests, and in all. */
  readonly used: number;
  readonly filled: number;
  /** Milliseconds, mean since the sample before; null if nothing ended. */
  readonly firstToken: number | null;
  readonly interToken: number | null;
}

/** The last moment. */
export const state = signal<SchedulerState | null>(null);
/** The last two minutes. */
export const samples = signal<readonly Sample[]>([]);
/** Why there is nothing new. */
export const trouble = signal("");

const interval = 1000;
/** Samples that are kept and plotted. */
export const mostSamples = 120;

/** Totals of a moment, for differences. */
interface Totals {
  readonly at: number;
  readonly generated: number;
  readonly prefilled: number;
  readonly firstToken: readonly [sum: number, count: number];
  readonly interToken: readonly [sum: number, count: number];
}

/** Asks until the returned function is called. */
export function watch(): () => void {
  let ended = false;
  let before: Totals | null = null;
  const ask = async () => {
    if (!document.hidden) {
      try {
        before = await take(before);
        trouble.value = "";
      } catch (error) {
        trouble.value = messageOf(error);
      }
    }
    if (!ended) timer = setTimeout(ask, interval);
  };
  let timer = setTimeout(ask, 0);
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

async function take(before: Totals | null): Promise<Totals> {
  const [scheduler, metrics] = await Promise.all([fetch("/debug/scheduler"), fetch("/metrics")]);
  if (!scheduler.ok || !metrics.ok) {
    throw new Error(`the server answered ${Math.max(scheduler.status, metrics.status)}`);
  }
  const now: SchedulerState = await scheduler.json();
  const text = await metrics.text();
  state.value = now;
  const of = (name: string) => now.counters[name] ?? 0;
  const histogram = (name: string) => [value(text, `${name}_sum`), value(text, `${name}_count`)] as const;
  const totals: Totals = {
    at: performance.now(),
    generated: of("generatedTokensTotal"),
    prefilled: of("prefillTokensTotal"),
    firstToken: histogram("sglang:time_to_first_token_seconds"),
    interToken: histogram("sglang:inter_token_latency_seconds"),
  };
  if (before !== null) {
    const seconds = (totals.at - before.at) / 1000;
    const pages = Math.max(1, of("totalPages"));
    const mean = (key: "firstToken" | "interToken") => {
      const count = totals[key][1] - before[key][1];
      return count > 0 ? (totals[key][0] - before[key][0]) / count * 1000 : null;
    };
    const sample: Sample = {
      generated: (totals.generated - before.generated) / seconds,
      prefilled: (totals.prefilled - before.prefilled) / seconds,
      running: of("runningRequests"),
      queued: of("queuedRequests"),
      used: of("usedTokens") / (pages * of("pageSize")),
      filled: 1 - of("freePages") / pages,
      firstToken: mean("firstToken"),
      interToken: mean("interToken"),
    };
    samples.value = [...samples.value, sample].slice(-mostSamples);
  }
  return totals;
}

/** A value of Prometheus' text; 0 if it is missing. */
function value(text: string, name: string): number {
  const line = text.split("\n").find((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return Number(line?.slice(line.lastIndexOf(" ") + 1) ?? 0);
}
