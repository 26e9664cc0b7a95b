// Which worker is watched how, and what is done about one that does not answer.
//
// Tokenizer and detokenizer are started again. A scheduler or an executor that is silent makes the engine
// unresponsive (for health), and after a longer while ends it: it may only be slow. Beside each worker's own answer a
// probe goes the whole way that requests go, because a worker can be well and its ports gone; and steps must be done
// while there is something to do.

import type { Launched } from "../launch.ts";
import type { Probe } from "./protocol.ts";
import type { SchedulerCounters } from "../scheduler/config.ts";
import type { ProbeProgress } from "./protocol.ts";
import type { TextWorkerName } from "./protocol.ts";
import { type Check, type Life, Watchdog } from "./watchdog.ts";

/** Milliseconds between two questions. */
const tick = 500;
/** Ticks that an idle worker may take to answer: short enough that it is replaced within 5 s on a busy machine. */
const patience = 5;
/** For a rank in the middle of a step, as long as no step has been measured: 30 s. */
const firstStepPatience = 60;
/** Of the last steps: a step may take so much longer than they did. */
const slowdown = 10;
/** Probes that may be lost in a row, each followed by a restart. */
const mostLostProbes = 3;

/** Settings of a guardian. */
export interface GuardianOptions {
  /** Silence of scheduler or executor that ends the engine, in seconds. */
  readonly stallSeconds: number;
  /** What the tokenizer may take for one prompt, in seconds; 0 while it has nothing to do. */
  tokenizerBudget(): number;
}

/** Watches over all workers of an engine. */
export class Guardian implements Disposable {
  readonly #launched: Launched;
  readonly #options: GuardianOptions;
  readonly #watchdog: Watchdog;
  #counters: SchedulerCounters | null = null;
  #progressed: PromiseWithResolvers<void> = Promise.withResolvers();
  #probe: PromiseWithResolvers<void> = Promise.withResolvers();
  #probes = 0;
  #progress: ProbeProgress = { received: 0, returned: 0 };
  #lostProbes = 0;

  /** Watches from now on. */
  constructor(launched: Launched, options: GuardianOptions) {
    this.#launched = launched;
    this.#options = options;
    const worker = (name: string, ask: () => Promise<unknown>, patience: () => number): Check => ({
      name,
      complaint: `the ${name} has not answered`,
      ask,
      patience,
    });
    const { text } = launched;
    const step = () => this.#stepPatience();
    this.#watchdog = new Watchdog(
      [
        worker("scheduler", () => this.#askScheduler(), () => patience),
        ...launched.ranks.map(({ name, ping }) => worker(name, ping, step)),
        worker("tokenizer", () => text.ping("tokenizer"), () => this.#tokenizerPatience()),
        worker("detokenizer", () => text.ping("detokenizer"), () => patience),
        { name: "steps", complaint: "no step has been done", ask: () => this.#awaitStep(), patience: step },
        {
          name: "probe",
          complaint: "messages have not got through",
          ask: () => this.#sendProbe(),
          patience: () => this.#broken() === "executor" ? step() : this.#tokenizerPatience(),
        },
      ],
      (late) => this.#late(late),
      tick,
    );
  }

  /** What is known of all workers. */
  get life(): Life {
    const { life } = this.#watchdog;
    if (life.state === "unresponsive" || this.#lostProbes === 0) return life;
    // What was replaced has yet to prove that it was at fault.
    return {
      state: "unresponsive",
      what: "messages have not got through",
      milliseconds: patience * tick,
    };
  }

  /** The scheduler's counters as they were last heard of. */
  get counters(): SchedulerCounters | null {
    return this.#counters;
  }

  /** A probe has come back. */
  returned({ probe }: Probe): void {
    if (probe !== this.#probes) return;
    this.#lostProbes = 0;
    this.#probe.resolve();
  }

  /** A worker has been replaced: a probe that was on its way is lost. */
  replaced(): void {
    this.#probe.resolve();
  }

  /** Stops watching. */
  [Symbol.dispose](): void {
    this.#watchdog[Symbol.dispose]();
  }

  async #askScheduler(): Promise<void> {
    const before = this.#counters;
    const { counters, probes } = await this.#launched.counters();
    this.#counters = counters;
    this.#progress = probes;
    const idle = counters.runningRequests + counters.queuedRequests === 0;
    if (idle || counters.stepsTotal !== before?.stepsTotal) this.#progressed.resolve();
  }

  /** Resolves when a step has been done from now on, or there is nothing to do. */
  #awaitStep(): Promise<void> {
    this.#progressed = Promise.withResolvers();
    return this.#progressed.promise;
  }

  #sendProbe(): Promise<void> {
    this.#probe = Promise.withResolvers();
    this.#launched.send({ type: "probe", probe: ++this.#probes });
    return this.#probe.promise;
  }

  /** Whose ports have swallowed the probe that is on its way, if any have. */
  #broken(): TextWorkerName | "executor" {
    if (this.#progress.received < this.#probes) return "tokenizer";
    return this.#progress.returned < this.#probes ? "executor" : "detokenizer";
  }

  #tokenizerPatience(): number {
    return patience + Math.ceil(this.#options.tokenizerBudget() * 1000 / tick);
  }

  /** A rank answers between two steps: how long that may take depends on how long steps take. */
  #stepPatience(): number {
    const counters = this.#counters;
    if (counters === null || counters.runningRequests === 0) return patience;
    if (counters.stepsTotal === 0) return firstStepPatience;
    return Math.max(patience, Math.ceil(slowdown * counters.stepMilliseconds / tick));
  }

  #late(late: readonly { readonly check: Check; readonly ticks: number }[]): void {
    const { text } = this.#launched;
    for (const { check: { name, complaint, patience }, ticks } of late) {
      const seconds = ticks * tick / 1000;
      if (name === "tokenizer" || name === "detokenizer") {
        if (ticks === patience()) text.restart(name, `it has not answered for ${seconds} s`);
        continue;
      }
      const broken = name === "probe" ? this.#broken() : null;
      if (broken === "tokenizer" || broken === "detokenizer") {
        if (ticks !== patience()) continue;
        if (++this.#lostProbes > mostLostProbes) {
          this.#launched.giveUp("messages between the workers are lost");
        } else text.restart(broken, "its messages do not get through");
      } else if (seconds >= this.#options.stallSeconds) {
        this.#launched.giveUp(`${complaint} for ${seconds} s`);
      }
    }
  }
}
