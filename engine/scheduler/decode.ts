// The running requests: one token each per forward, and who must go when pages run out.
//
// Every running request takes part in every step. When nothing else is to be done, a plan may hold several forwards,
// as many as no request can end in by length. When a page is needed and none is free or evictable, the youngest
// request is retracted: it gives up its pages and later continues as if nothing had happened. The oldest one always
// advances, so every request's turn comes.

import { insertByArrival, removeRequest } from "./by_arrival.ts";
import type { CacheManager } from "./cache.ts";
import type { ScheduleBatch } from "./schedule_batch.ts";
import type { Request } from "./request.ts";

/** Requests whose prompt is computed. */
export class DecodeManager {
  /** Ascending by arrival. */
  readonly #running: Request[] = [];
  readonly #cache: CacheManager;

  /** Takes pages from `cache`. */
  constructor(cache: CacheManager) {
    this.#cache = cache;
  }

  /** A request whose prompt is computed, or about to be. */
  add(request: Request): void {
    insertByArrival(this.#running, request);
  }

  /** Forgets the request, if it is here. */
  remove(request: Request): void {
    removeRequest(this.#running, request);
  }

  /**
   * Those that the next forward can advance, oldest first; without a mask only where their draw can wait for it.
   * Elsewhere a constrained request is in one plan at a time, and waits for those in the plan in flight unless they are
   * fewer: two sets that take turns would make every plan smaller for good.
   */
  ready(later: boolean): Request[] {
    const ready = this.#running.filter((r) => r.runnable && !r.kept && (later || r.mask !== null));
    if (later) return ready;
    const away = this.#running.filter((r) => r.runnable && r.mask === null && r.inFlight > 0).length;
    const masked = ready.filter((r) => r.mask !== undefined).length;
    return masked <= away ? ready.filter((r) => r.mask === undefined) : ready;
  }

  /** Those whose next token can be drawn from the logits that are kept. */
  drawable(): Request[] {
    return this.#running.filter((request) => request.runnable && request.kept && request.mask !== null);
  }

  /**
   * Number of forwards, `most` or fewer, that no request can end in by length, that change no request's sampling
   * parameters, and for which there are pages.
   */
  steps(ready: readonly Request[], most: number): number {
    let steps = most;
    for (const { remaining, launchedTokens, params } of ready) {
      steps = Math.min(steps, remaining);
      if (launchedTokens < params.minTokens) steps = Math.min(steps, params.minTokens - launchedTokens);
    }
    while (steps > 1 && this.#missing(ready, steps) > this.#cache.availablePages) steps--;
    return steps;
  }

  /**
   * Adds one decoding sequence per request to the step. `retractDecode` is asked for pages when there are none; false
   * means that the request sits this step out.
   */
  schedule(
    builder: ScheduleBatch,
    ready: readonly Request[],
    steps: number,
    retractDecode: () => boolean,
  ): void {
    for (const request of ready) {
      // An older request may have taken its pages in the meantime.
      while (request.runnable && request.allocation !== null) {
        if (this.#cache.extend(request.allocation, request.cachedLength + steps)) {
          builder.decode(request, request.allocation);
          break;
        }
        if (!retractDecode()) break;
      }
    }
  }

  #missing(ready: readonly Request[], steps: number): number {
    let pages = 0;
    for (const { cachedLength, allocation } of ready) {
      pages += Math.max(0, this.#cache.pagesFor(cachedLength + steps) - allocation!.pages.length);
    }
    return pages;
  }
}
