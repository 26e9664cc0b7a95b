// How much work a step gets, from how long the last ones took.
//
// Two things are adapted. A prompt chunk that shares its step with running requests delays their next token, so it
// shrinks until the step stays near a target time; a chunk by itself only keeps new requests waiting, and those who
// want to leave, so it has more time, and on a GPU all it wants. And where a forward is short compared with the round
// trip for its result, several are run per result. Both come from two running averages: milliseconds of a forward that
// only decodes, and milliseconds that each prompt token adds.

import type { SchedulerConfig } from "./config.ts";

/** Weight of the newest measurement in a running average. */
const newest = 0.25;
/** A chunk is not cut below this: smaller ones waste the device on reading weights. */
const smallestChunk = 32;
/** A slow device's first chunk: enough tokens to learn its speed from. */
const firstChunk = 64;
/** Several forwards per result take about so long at most: tokens still seem to flow, and a new request waits little. */
const burstMilliseconds = 12;

/**
 * Milliseconds of a forward beside which the time between two steps does not count: on a GPU, and where the cores that
 * would plan ahead are those that compute.
 */
const slowStep = { gpu: 20, cpu: 4 };

/** Turns measured step times into the next step's size. */
export class Pace {
  readonly #config: SchedulerConfig;
  /** Milliseconds of one decoding forward, and per prompt token; null until measured. */
  #decode: number | null = null;
  #prefill: number | null = null;

  /** Limits come from `config`. */
  constructor(config: SchedulerConfig) {
    this.#config = config;
  }

  /** Takes in a finished step of `steps` forwards that computed `prefillTokens` prompt tokens. */
  observe(prefillTokens: number, steps: number, milliseconds: number): void {
    if (steps === 0 || !(milliseconds >= 0 && milliseconds < Infinity)) return;
    if (prefillTokens === 0) {
      this.#decode = average(this.#decode, milliseconds / steps);
    } else {
      const added = Math.max(0, milliseconds - (this.#decode ?? 0));
      this.#prefill = average(this.#prefill, added / prefillTokens);
    }
  }

  /** Steps are so long that working ahead gains nothing, and only keeps those waiting that arrive. */
  get slow(): boolean {
    return (this.#decode ?? 0) > (this.#config.prefillStepMilliseconds > 0 ? slowStep.cpu : slowStep.gpu);
  }

  /** Most prompt tokens in a step that also decodes `decodes` sequences. */
  chunk(decodes: number): number {
    const { maxPrefillTokens, targetStepMilliseconds, prefillStepMilliseconds } = this.#config;
    const target = decodes === 0 ? prefillStepMilliseconds : targetStepMilliseconds;
    if (target <= 0) return maxPrefillTokens;
    if (this.#prefill === null) {
      return prefillStepMilliseconds > 0 ? Math.min(maxPrefillTokens, firstChunk) : maxPrefillTokens;
    }
    const left = decodes === 0 ? target : target - (this.#decode ?? 0);
    const tokens = this.#prefill > 0 ? Math.floor(left / this.#prefill) : maxPrefillTokens;
    return Math.min(maxPrefillTokens, Math.max(smallestChunk, tokens));
  }

  /** Most forwards for one result, when nothing but decoding is to be done. */
  burst(): number {
    if (this.#decode === null) return 1;
    const fitting = Math.floor(burstMilliseconds / Math.max(this.#decode, 1e-3));
    return Math.max(1, Math.min(this.#config.maxDecodeSteps, fitting));
  }
}

function average(before: number | null, value: number): number {
  return before === null ? value : before + newest * (value - before);
}
