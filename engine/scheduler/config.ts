// The scheduler's settings and the counters it keeps.

/** Fixed at start; sizes come from the executor, which knows how much memory there is. */
export interface SchedulerConfig {
  /** Tokens per page. */
  readonly pageSize: number;
  /** Pages in the pool. */
  readonly numPages: number;
  /** Rows of the page table: most requests that run at once. */
  readonly maxRunningRequests: number;
  /** Requests that wait beyond this are refused. */
  readonly maxQueuedRequests: number;
  /** Prompt tokens computed in one step at most; longer prompts are prefilled in chunks. */
  readonly maxPrefillTokens: number;
  /** Tokens (prefill and decode) and sampled rows the executor has room for in one step. */
  readonly maxStepTokens: number;
  /** Most sampled rows in one forward. */
  readonly maxStepSamples: number;
  /** Most tokens of prompt and output together. */
  readonly contextLength: number;
  /** Rows of the embedding table; ids are below it. */
  readonly vocabSize: number;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  /** Whether equal prefixes share pages. */
  readonly cache: "radix" | "naive";
  /** Plan a step while the one before it runs. */
  readonly overlap: boolean;
  /** Most decode forwards per result; the scheduler uses fewer when a request waits or could end. */
  readonly maxDecodeSteps: number;
  /** A mixed step's prompt chunk shrinks so that the step stays near this many milliseconds; 0 switches it off. */
  readonly targetStepMilliseconds: number;
  /** The same for a step of prompts alone; 0, for a device that is fast enough, switches it off. */
  readonly prefillStepMilliseconds: number;
  /** Share of the output still to come that admission reserves pages for, 0 … 1. */
  readonly outputReserve: number;
  /** For tests: tell the executors to poison freed pages. */
  readonly poisonFreedPages: boolean;
}

/** What the metrics endpoint and `Engine.counters()` report; totals count since the start. */
export interface SchedulerCounters {
  /** Requests that hold a row. */
  readonly runningRequests: number;
  /** Requests that wait for one. */
  readonly queuedRequests: number;
  /** Pages that belong to nobody. */
  readonly freePages: number;
  /** Pages in the pool. */
  readonly totalPages: number;
  /** Tokens per page. */
  readonly pageSize: number;
  /** Tokens in pages that running requests hold. */
  readonly usedTokens: number;
  /** Tokens in the prefix cache: locked by a request, and free to evict. */
  readonly lockedTokens: number;
  /** Cached tokens that nobody holds. */
  readonly evictableTokens: number;
  /** Tokens of all prompts accepted. */
  readonly promptTokensTotal: number;
  /** Of those, found in the cache. */
  readonly cachedTokensTotal: number;
  /** Output tokens told to clients. */
  readonly generatedTokensTotal: number;
  /** Requests that arrived. */
  readonly requestsTotal: number;
  /** Requests that their client gave up. */
  readonly abortedTotal: number;
  /** Cached tokens given up for others. */
  readonly evictedTokensTotal: number;
  /** Requests that gave up their pages to continue later. */
  readonly retractionsTotal: number;
  /** Forwards computed. */
  readonly stepsTotal: number;
  /** Steps with prompt tokens in them. */
  readonly prefillStepsTotal: number;
  /** Prompt tokens computed, those of retracted requests again. */
  readonly prefillTokensTotal: number;
  /** Forwards whose token was thrown away because the request had already ended. */
  readonly wastedTokensTotal: number;
  /** Time with a step on the device, from its submission to its result. */
  readonly busyMillisecondsTotal: number;
  /** Of the last finished steps: tokens per second, and milliseconds a step. */
  readonly generationThroughput: number;
  /** Average time of a forward lately. */
  readonly stepMilliseconds: number;
}
