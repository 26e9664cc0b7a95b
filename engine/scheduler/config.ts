// The scheduler's settings and the counters it keeps.

import type { CachedRun } from "../kvcache/cache.ts";
import type { StateSizes } from "../model/decoder.ts";
import type { EngineOptions } from "../options.ts";

/** Settings that are the engine's own options. */
export type SharedOptions =
  | "pageSize"
  | "maxQueuedRequests"
  | "cache"
  | "overlap"
  | "maxDecodeSteps"
  | "targetStepMilliseconds"
  | "newTokenRatio"
  | "drawLater"
  | "poisonFreedPages";

/** Fixed at start; sizes come from the executor, which knows how much memory there is. */
export interface SchedulerConfig
  extends Required<Pick<EngineOptions, SharedOptions>>, Pick<StateSizes, "numPages" | "contextLength"> {
  /** Rows of the page table: most requests that run at once. */
  readonly maxRunningRequests: number;
  /** Prompt tokens computed in one step at most; longer prompts are prefilled in chunks. */
  readonly maxPrefillTokens: number;
  /** Tokens (prefill and decode) the executor has room for in one step. */
  readonly maxStepTokens: number;
  /** Most sampled rows in one forward. */
  readonly maxStepSamples: number;
  /** Rows of the embedding table; ids are below it. */
  readonly vocabSize: number;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  /** Where the tokenizer is that grammars need; null for none. */
  readonly tokenizerDir: string | null;
  /** A step of prompts alone stays near this many milliseconds; 0, for a device that is fast enough, sets no limit. */
  readonly prefillStepMilliseconds: number;
}

/** What is counted from the start on, from zero. */
export const zeroTotals = {
  /** Tokens of all prompts accepted. */
  promptTokensTotal: 0,
  /** Of those, found in the cache; a retracted request counts once. */
  cachedTokensTotal: 0,
  /** Output tokens told to clients. */
  generatedTokensTotal: 0,
  /** Requests that arrived. */
  requestsTotal: 0,
  /** Requests that their client gave up. */
  abortedTotal: 0,
  /** Cached tokens given up for others. */
  evictedTokensTotal: 0,
  /** Requests that gave up their pages to continue later. */
  retractionsTotal: 0,
  /** Forwards computed. */
  stepsTotal: 0,
  /** Steps with prompt tokens in them. */
  prefillStepsTotal: 0,
  /** Prompt tokens computed, those of retracted requests again. */
  prefillTokensTotal: 0,
  /** Forwards whose token was thrown away because the request had already ended. */
  wastedTokensTotal: 0,
  /** Time with a step on the device, from its submission to its result. */
  busyMillisecondsTotal: 0,
};

/** What has been counted since the start. */
export type SchedulerTotals = Readonly<typeof zeroTotals>;

/** What the metrics endpoint and `Engine.counters()` report. */
export interface SchedulerCounters extends SchedulerTotals {
  /** Requests that hold a row. */
  readonly runningRequests: number;
  /** Requests that wait for one. */
  readonly queuedRequests: number;
  /** Pages that belong to no one. */
  readonly freePages: number;
  /** Pages in the pool. */
  readonly totalPages: number;
  /** Tokens per page. */
  readonly pageSize: number;
  /** Tokens in pages that running requests hold. */
  readonly usedTokens: number;
  /** Cached tokens that a request holds. */
  readonly lockedTokens: number;
  /** Cached tokens that no request holds. */
  readonly evictableTokens: number;
  /** Generated tokens per second, over the last finished steps. */
  readonly generationThroughput: number;
  /** Mean milliseconds of a forward, over the last finished steps. */
  readonly stepMilliseconds: number;
}

/** What a request is doing. */
export interface RequestState {
  /** Unique in the engine. */
  readonly id: string;
  /** Waits for room, has its prompt computed, or makes tokens. */
  readonly phase: "waiting" | "prefill" | "decode";
  /** Tokens of its prompt. */
  readonly promptTokens: number;
  /** Tokens whose keys and values are there, or about to be. */
  readonly computedTokens: number;
  /** Prompt tokens that came from the cache. */
  readonly cachedTokens: number;
  /** Tokens it has made. */
  readonly outputTokens: number;
}

/** One moment of the scheduler. */
export interface SchedulerState {
  /** Totals and sizes. */
  readonly counters: SchedulerCounters;
  /** In the order they arrived, up to a limit. */
  readonly requests: readonly RequestState[];
  /** Cached runs, each behind the one it continues, up to a limit. */
  readonly runs: readonly CachedRun[];
  /** How many there are in all. */
  readonly runsTotal: number;
}
