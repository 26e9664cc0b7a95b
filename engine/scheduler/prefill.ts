// The queue, and getting prompts into the cache: by priority, then first come, first served, in chunks, up to a budget
// per step. So that nothing waits for ever, whoever has waited longest comes next once some others have passed it.
//
// A request is admitted when its known tokens and a share of the output still to come fit beside what running
// requests have been promised in the same way (SGLang's admission). Then it gets a row and pages for all it knows,
// and is computed chunk by chunk; the last chunk draws the first new token. A request that would compute what
// another one is computing at this moment waits for it and then shares it: of several equal prompts that arrive
// together, one is computed.

import { insertByPriority, removeRequest } from "./by_arrival.ts";
import type { SchedulerConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import type { CacheManager } from "./cache.ts";
import { Fairness } from "../workers/fairness.ts";
import type { ScheduleBatch } from "./schedule_batch.ts";
import type { Request } from "./request.ts";
import type { RowTable } from "./table.ts";

/** Most output that is promised to a request in advance: few use what their limit (or the context) allows. */
const mostPromised = 4096;

/** Admissions of others after which the request that has waited longest comes next, whatever its priority. */
const mostPassed = 8;

/** Tokens and sampled rows that a step has left for prompts. */
export interface PrefillBudget {
  /** Prompt tokens. */
  tokens: number;
  /** Sampled rows. */
  samples: number;
}

/** Requests that wait and requests whose prompt is being computed. */
export class PrefillManager {
  /** The request that found no pages in the last step; null if none did. */
  blocked: Request | null = null;
  /** By priority, then by arrival, so a retracted request comes back in front of those that arrived later. */
  readonly #queue: Request[] = [];
  /** Admissions since the request that has waited longest could have been one. */
  #passed = 0;
  /** Admitted, in order of admission. */
  readonly #active: Request[] = [];
  readonly #config: SchedulerConfig;
  readonly #counters: Counters;
  readonly #rows: RowTable;
  readonly #cache: CacheManager;
  readonly #fairness = new Fairness();

  /** Takes rows and pages from `rows` and `cache`. */
  constructor(config: SchedulerConfig, counters: Counters, rows: RowTable, cache: CacheManager) {
    this.#config = config;
    this.#counters = counters;
    this.#rows = rows;
    this.#cache = cache;
  }

  /** Requests that wait for admission. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Whether there is a prompt to compute, now or when there is room. */
  get busy(): boolean {
    return this.#queue.length + this.#active.length > 0;
  }

  /** Whether the next request should be computed without the decodes of a client that holds far more rows. */
  get favours(): boolean {
    return this.#fairness.favours(this.#queue, this.#rows);
  }

  /** The running request that has to make room for another's, if fairness demands it. */
  yielding(): Request | null {
    return this.#fairness.yielding(this.blocked, this.#rows);
  }

  /** Puts a request in its place. */
  enqueue(request: Request): void {
    insertByPriority(this.#queue, request);
  }

  /** Forgets a request wherever it is here. */
  remove(request: Request): void {
    if (this.blocked === request) this.blocked = null;
    removeRequest(this.#queue, request);
    removeRequest(this.#active, request);
  }

  /**
   * Adds chunks to the step, of admitted requests first, and returns the requests whose last chunk is among them: they
   * decode from now on.
   */
  schedule(builder: ScheduleBatch, budget: PrefillBudget): Request[] {
    const computing: Request[] = [];
    for (const request of this.#active) {
      if (this.#chunk(builder, request, budget)) computing.push(request);
    }
    this.#admit(builder, budget, computing);
    for (const request of computing) this.#cache.share(request, request.allocation!, builder.id);
    const finished = computing.filter((request) => request.launchedTokens > request.output.length);
    for (const request of finished) this.remove(request);
    return finished;
  }

  #admit(builder: ScheduleBatch, budget: PrefillBudget, computing: Request[]): void {
    this.blocked = null;
    if (this.#queue.length === 0) return;
    const oldest = this.#queue.reduce((a, b) => a.arrival < b.arrival ? a : b);
    const queue = this.#passed < mostPassed
      ? this.#queue
      : [oldest, ...this.#queue.filter((r) => r !== oldest)];
    for (const request of this.#fairness.order(queue, this.#rows)) {
      if (budget.tokens <= 0 || budget.samples <= 0) return;
      const prefix = this.#cache.match(request);
      const { shares, pageSize } = this.#cache;
      if (shares && computing.some((other) => worthWaiting(request, other, prefix.length, pageSize))) {
        prefix[Symbol.dispose]();
        continue;
      }
      if (this.#promised(request, prefix.pages.length) + this.#promisedToAll() > this.#cache.availablePages) {
        prefix[Symbol.dispose]();
        this.blocked = request;
        return;
      }
      removeRequest(this.#queue, request);
      this.#passed = request === oldest ? 0 : this.#passed + 1;
      this.#active.push(request);
      request.cachedLength = prefix.length;
      this.#fairness.charge(request);
      if (request.cachedTokens === null) {
        request.cachedTokens = prefix.length;
        prefix.count();
        this.#counters.totals.cachedTokensTotal += prefix.length;
      }
      request.allocation = {
        row: this.#rows.take(request),
        pages: [...prefix.pages],
        prefix,
        unwrittenPages: new Set(prefix.pages.keys()),
        idsWritten: false,
      };
      this.#cache.extend(request.allocation, request.deviceLength);
      if (this.#chunk(builder, request, budget)) computing.push(request);
    }
  }

  /** Launches as much of the request as the budget allows; false if that is nothing. */
  #chunk(builder: ScheduleBatch, request: Request, budget: PrefillBudget): boolean {
    const begin = request.cachedLength;
    let end = Math.min(request.deviceLength, begin + budget.tokens);
    // Positions in front of scored ones cost a sampled row each, and so does the draw behind the last position.
    const firstScore = Math.max(begin, request.nextScore - 1);
    const lastScore = request.prompt.length - 1;
    if (Math.min(end, lastScore) - firstScore > budget.samples) end = firstScore + budget.samples;
    const scores = Math.max(0, Math.min(end, lastScore) - firstScore);
    const cannotDraw = scores === budget.samples || request.mask === null;
    if (end === request.deviceLength && cannotDraw) end--;
    if (end <= begin) return false;
    const samplesBefore = builder.samples;
    builder.prefill(request, request.allocation!, end);
    budget.tokens -= end - begin;
    budget.samples -= builder.samples - samplesBefore;
    return true;
  }

  /** Pages that a request may come to need beyond those it has: for all it knows, and a share of its further output. */
  #promised(request: Request, pages: number): number {
    const likely = Math.floor(Math.min(request.remaining, mostPromised) * this.#config.newTokenRatio);
    const share = Math.min(request.remaining, Math.max(1, likely));
    return Math.max(0, this.#cache.pagesFor(request.deviceLength + share) - pages);
  }

  #promisedToAll(): number {
    let pages = 0;
    for (const request of this.#rows.holders()) {
      if (request.runnable) pages += this.#promised(request, request.allocation!.pages.length);
    }
    return pages;
  }
}

/**
 * Whether `other`, which is being computed, will leave at least half of what `request` would have to compute in the
 * cache; `cached` tokens are there already.
 */
function worthWaiting(request: Request, other: Request, cached: number, pageSize: number): boolean {
  if (request.salt !== other.salt) return false;
  const ids = request.ids(request.matchLimit), others = other.ids(other.deviceLength);
  const half = cached + Math.max(1, (request.deviceLength - cached) / 2);
  const least = Math.ceil(half / pageSize) * pageSize;
  if (Math.min(ids.length, others.length) < least) return false;
  for (let i = 0; i < least; i++) {
    if (ids[i] !== others[i]) return false;
  }
  return true;
}
