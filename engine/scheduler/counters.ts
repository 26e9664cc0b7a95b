// Totals since the start, and the speed of the last steps.

/** Finished steps that speeds are averaged over. */
const window = 64;

/** Counts what the scheduler does; what it holds at this moment is asked of its owners. */
export class Counters {
  /** Tokens of all prompts accepted. */
  promptTokens = 0;
  /** Output tokens told to clients. */
  generatedTokens = 0;
  /** Requests that arrived. */
  requests = 0;
  /** Requests that their client gave up. */
  aborted = 0;
  /** Requests that gave up their pages to continue later. */
  retractions = 0;
  /** Forwards computed. */
  steps = 0;
  /** Steps with prompt tokens in them. */
  prefillSteps = 0;
  /** Prompt tokens computed. */
  prefillTokens = 0;
  /** Tokens computed for requests that had ended. */
  wastedTokens = 0;
  /** Time that steps have taken. */
  busyMilliseconds = 0;
  readonly #last: { readonly tokens: number; readonly steps: number; readonly milliseconds: number }[] = [];

  /** A plan of `steps` forwards over so many prompt tokens has come back with so many new tokens. */
  finishStep(tokens: number, steps: number, prefillTokens: number, milliseconds: number): void {
    this.steps += steps;
    if (prefillTokens > 0) this.prefillSteps++;
    this.prefillTokens += prefillTokens;
    this.generatedTokens += tokens;
    this.busyMilliseconds += milliseconds;
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
