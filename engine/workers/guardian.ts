// Which worker is watched how, and what is done about one that does not answer.
//
// Tokenizer and detokenizer are started again. A scheduler or an executor that is silent makes the engine
// unresponsive (for health), and after a longer while ends it: it may only be slow. Beside each worker's own answer a
// probe goes the whole way that requests go, because a worker can be well and its ports gone.

import type { Launched } from "../launch.ts";
import type { Probe } from "../messages.ts";
import type { SchedulerCounters } from "../scheduler/config.ts";
import { type Check, type Life, Watchdog } from "./watchdog.ts";

/** Ticks that an idle worker may take to answer. */
const patience = 3;
/** For a rank in the middle of a step, as long as no step has been measured. */
const firstStepPatience = 30;
/** Of the last steps: a step may take so much longer than they did. */
const slowdown = 10;

/** Settings of a guardian. */
export interface GuardianOptions {
  /** Silence of scheduler or executor that ends the engine, in seconds. */
  readonly stallSeconds: number;
  /** What the tokenizer may take for one prompt, in seconds; 0 while it has nothing to do. */
  tokenizerBudget(): number;
  /** For tests: milliseconds of a tick. */
  readonly tickMilliseconds?: number;
}

/** Watches over all workers of an engine. */
export class Guardian implements Disposable {
  readonly #launched: Launched;
  readonly #options: GuardianOptions;
  readonly #watchdog: Watchdog;
  #counters: SchedulerCounters | null = null;
  #probe: { readonly number: number; readonly answered: () => void } | null = null;
  #probes = 0;
  /** Times in a row that probes were lost. */
  #lostProbes = 0;

  /** Watches from now on. */
  constructor(launched: Launched, options: GuardianOptions) {
    this.#launched = launched;
    this.#options = options;
    const { text } = launched;
    const tick = options.tickMilliseconds ?? 1000;
    const budget = () => Math.ceil(options.tokenizerBudget() * 1000 / tick);
    const checks: Check[] = [
      { name: "scheduler", patience: () => patience, ask: () => this.#askScheduler() },
      ...launched.ranks.map(({ name, ping }) => ({
        name,
        patience: () => this.#stepPatience(tick),
        ask: ping,
      })),
      { name: "tokenizer", patience: () => patience + budget(), ask: () => text.ping("tokenizer") },
      { name: "detokenizer", patience: () => patience, ask: () => text.ping("detokenizer") },
      { name: "way of requests", patience: () => patience + 1 + budget(), ask: () => this.#sendProbe() },
    ];
    this.#watchdog = new Watchdog(checks, (late) => {
      for (const { check, ticks } of late) this.#late(check, ticks, ticks * tick / 1000);
    }, tick);
  }

  /** What is known of all workers. */
  get life(): Life {
    return this.#watchdog.life;
  }

  /** A probe has come back. */
  returned({ probe }: Probe): void {
    if (this.#probe?.number !== probe) return;
    this.#lostProbes = 0;
    this.#probe.answered();
  }

  /** A worker has been replaced: a probe that was on its way is lost. */
  replaced(): void {
    this.#probe?.answered();
  }

  /** Stops watching. */
  [Symbol.dispose](): void {
    this.#watchdog[Symbol.dispose]();
  }

  async #askScheduler(): Promise<void> {
    this.#counters = await this.#launched.counters();
  }

  #sendProbe(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#probe = { number: ++this.#probes, answered: resolve };
    this.#launched.send({ type: "probe", probe: this.#probes });
    return promise;
  }

  /** A rank answers between two steps: how long that may take depends on how long steps take. */
  #stepPatience(tick: number): number {
    const counters = this.#counters;
    if (counters === null || counters.runningRequests === 0) return patience;
    if (counters.stepsTotal === 0) return Math.ceil(firstStepPatience * 1000 / tick);
    return Math.max(patience, Math.ceil(slowdown * counters.stepMilliseconds / tick));
  }

  #late({ name, patience }: Check, ticks: number, seconds: number): void {
    const { text } = this.#launched;
    const silent = `has not answered for ${seconds} s`;
    switch (name) {
      case "tokenizer":
      case "detokenizer":
        if (ticks === patience()) text.restart(name, `it ${silent}`);
        return;
      case "way of requests":
        if (ticks !== patience()) return;
        if (++this.#lostProbes > 2) return this.#launched.giveUp("messages between the workers are lost");
        text.restart("tokenizer", "its messages no longer get through");
        text.restart("detokenizer", "its messages no longer get through");
        return;
      default:
        if (seconds >= this.#options.stallSeconds) this.#launched.giveUp(`the ${name} ${silent}`);
    }
  }
}
