// The scheduler's settings and the counters it keeps.

/** Fixed at start; sizes come from the executor, which knows how much memory there is. */
export interface SchedulerConfig {
  readonly pageSize: number;
  readonly numPages: number;
  /** Rows of the page table: most requests that run at once. */
  readonly maxRunningRequests: number;
  /** Requests that wait beyond this are refused. */
  readonly maxQueuedRequests: number;
  /** Prompt tokens computed in one step at most; longer prompts are prefilled in chunks. */
  readonly maxPrefillTokens: number;
  /** Tokens (prefill and decode) and sampled rows the executor has room for in one step. */
  readonly maxStepTokens: number;
  readonly maxStepSamples: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly eosIds: readonly number[];
  readonly cache: "radix" | "naive";
  /** Plan a step while the one before it runs. */
  readonly overlap: boolean;
  /** Most decode forwards per result; the scheduler uses fewer when a request waits or could end. */
  readonly maxDecodeSteps: number;
  /** A mixed step's prompt chunk shrinks so that the step stays near this many milliseconds; 0 switches it off. */
  readonly targetStepMilliseconds: number;
  /** Share of the output still to come that admission reserves pages for, 0 … 1. */
  readonly outputReserve: number;
  /** For tests: tell the executors to poison freed pages. */
  readonly poisonFreedPages: boolean;
}

/** What the metrics endpoint and `Engine.counters()` report; totals count since the start. */
export interface SchedulerCounters {
  readonly runningRequests: number;
  readonly queuedRequests: number;
  readonly freePages: number;
  readonly totalPages: number;
  readonly pageSize: number;
  /** Tokens in pages that running requests hold. */
  readonly usedTokens: number;
  /** Tokens in the prefix cache: locked by a request, and free to evict. */
  readonly lockedTokens: number;
  readonly evictableTokens: number;
  readonly promptTokensTotal: number;
  readonly cachedTokensTotal: number;
  readonly generatedTokensTotal: number;
  readonly requestsTotal: number;
  readonly abortedTotal: number;
  readonly evictedTokensTotal: number;
  readonly retractionsTotal: number;
  readonly stepsTotal: number;
  readonly prefillStepsTotal: number;
  /** Forwards whose token was thrown away because the request had already ended. */
  readonly wastedTokensTotal: number;
  /** Time with a step on the device, from its submission to its result. */
  readonly busyMillisecondsTotal: number;
  /** Of the last finished steps: tokens per second, and milliseconds a step. */
  readonly generationThroughput: number;
  readonly stepMilliseconds: number;
}
