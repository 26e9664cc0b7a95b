// Where the scheduler's messages come from and go to. The scheduler itself knows no ports, workers or timers, so that
// tests can drive it by hand; the worker gives it these interfaces over its `MessagePort`s.

import type { StepResult } from "../../kernels/plan.ts";
import type { FromExecutor, SchedulerPorts, ToDetokenizer, ToExecutor, ToScheduler } from "../messages.ts";

/** The scheduler's way out. */
export interface SchedulerIo {
  /** Every rank gets the same message. */
  toExecutors(message: ToExecutor): void;
  /** News of requests, in order. */
  toDetokenizer(message: ToDetokenizer): void;
}

/** Sends over message ports. */
export function portIo(ports: Pick<SchedulerPorts, "executors" | "detokenizer">): SchedulerIo {
  return {
    toExecutors(message) {
      for (const port of ports.executors) port.postMessage(message);
    },
    toDetokenizer(message) {
      ports.detokenizer.postMessage(message);
    },
  };
}

/** What has come in since the last time. */
export interface Received {
  /** From tokenizer and detokenizer, in order. */
  readonly messages: readonly ToScheduler[];
  /** From the executor, in order. */
  readonly results: readonly StepResult[];
}

/**
 * The scheduler's way in. A result is handed over at once, because the device waits for the next plan. Requests are
 * held until the message that the inbox sends to itself has come: those that arrive together are batched together.
 */
export class Inbox {
  #messages: ToScheduler[] = [];
  #results: StepResult[] = [];
  #wake = Promise.withResolvers<void>();
  readonly #later = new MessageChannel();

  /** Listens to the ports. */
  constructor(ports: SchedulerPorts) {
    this.#later.port2.onmessage = () => this.#wake.resolve();
    for (const port of [ports.tokenizer, ports.detokenizer]) {
      port.onmessage = ({ data }: MessageEvent<ToScheduler>) => {
        if (this.#messages.push(data) === 1) this.#later.port1.postMessage(null);
      };
    }
    for (const port of ports.executors) {
      port.onmessage = ({ data }: MessageEvent<FromExecutor>) => {
        this.#results.push(data.result);
        this.#wake.resolve();
      };
    }
  }

  /** Waits until there is something, and hands over all of it. One call at a time. */
  async receive(): Promise<Received> {
    await this.#wake.promise;
    this.#wake = Promise.withResolvers<void>();
    const received = { messages: this.#messages, results: this.#results };
    this.#messages = [];
    this.#results = [];
    return received;
  }
}
