// Totals since the start, and the speed of the last steps.

import { zeroTotals } from "./config.ts";

/** Finished steps that speeds are averaged over. */
const window = 64;

/** Counts what the scheduler does; what it holds at this moment is asked of its owners. */
export class Counters {
  /** Each total. */
  readonly totals = { ...zeroTotals };
  readonly #last: { readonly tokens: number; readonly steps: number; readonly milliseconds: number }[] = [];

  /** A plan of `steps` forwards over `prefillTokens` prompt tokens has come back with `tokens` new ones. */
  finishStep(tokens: number, steps: number, prefillTokens: number, milliseconds: number): void {
    this.totals.stepsTotal += steps;
    if (prefillTokens > 0) this.totals.prefillStepsTotal++;
    this.totals.prefillTokensTotal += prefillTokens;
    this.totals.generatedTokensTotal += tokens;
    this.totals.busyMillisecondsTotal += milliseconds;
    this.#last.push({ tokens, steps, milliseconds });
    if (this.#last.length > window) this.#last.shift();
  }

  /** Generated tokens per second of device time. */
  get throughput(): number {
    const milliseconds = this.#sum("milliseconds");
    return milliseconds > 0 ? this.#sum("tokens") / milliseconds * 1000 : 0;
  }

  /** Mean duration of a forward. */
  get stepMilliseconds(): number {
    const steps = this.#sum("steps");
    return steps > 0 ? this.#sum("milliseconds") / steps : 0;
  }

  #sum(field: "tokens" | "steps" | "milliseconds"): number {
    return this.#last.reduce((total, step) => total + step[field], 0);
  }
}
