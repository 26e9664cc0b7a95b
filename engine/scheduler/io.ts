// Where the scheduler's messages come from and go to. The scheduler itself knows no ports, workers or timers, so that
// tests can drive it by hand; the worker gives it these interfaces over its `MessagePort`s.

import type { StepResult } from "../../kernels/plan.ts";
import type { FromGrammar, ToGrammar } from "../grammar/serving/messages.ts";
import type { FromExecutor, SchedulerPorts, ToDetokenizer, ToExecutor, ToScheduler } from "../messages.ts";
import type { Probe } from "../workers/protocol.ts";
import { guardPort, notePort } from "../workers/death.ts";
import { ProbeRelay } from "../workers/probe_relay.ts";

/** What concerns requests. */
export type SchedulerInput = Exclude<ToScheduler, Probe> | FromGrammar;

/** Ports of which those of the text workers are replaced when such a worker is started again. */
export type ReplaceablePorts = SchedulerPorts & { tokenizer: MessagePort; detokenizer: MessagePort };

/** The scheduler's way out. */
export interface SchedulerIo {
  /** Every rank gets the same message. */
  toExecutors(message: ToExecutor): void;
  /** News of requests, in order. */
  toDetokenizer(message: Exclude<ToDetokenizer, Probe>): void;
  /** Answers come in as input. */
  toGrammar(message: ToGrammar): void;
}

/** What has come in since the last time. */
export interface Received {
  /** From tokenizer and detokenizer, in order. */
  readonly messages: readonly SchedulerInput[];
  /** From the executor, in order. */
  readonly results: readonly StepResult[];
}

/**
 * The scheduler's way in. A result is handed over at once, because the device waits for the next plan. Requests are
 * held until the message that the inbox sends to itself has come: those that arrive together are batched together.
 */
export class Inbox {
  readonly #ports: ReplaceablePorts;
  #messages: SchedulerInput[] = [];
  #results: StepResult[] = [];
  #wake = Promise.withResolvers<void>();
  readonly #later = new MessageChannel();
  /** What passes by on its way through the workers. */
  readonly probes: ProbeRelay;

  /** Listens to the ports. */
  constructor(ports: ReplaceablePorts) {
    this.#ports = ports;
    this.probes = new ProbeRelay(ports.executors);
    this.#later.port2.onmessage = () => this.#wake.resolve();
    this.#listen(ports.tokenizer);
    this.#listen(ports.detokenizer);
    for (const port of ports.executors) {
      guardPort(port).onmessage = ({ data }: MessageEvent<FromExecutor>) => {
        if (data.type === "probe") {
          if (this.probes.back(port, data)) this.#ports.detokenizer.postMessage(data satisfies ToDetokenizer);
          return;
        }
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

  /** Takes a message in, to be handed over with those that come with it; `now`: at once, as results are. */
  take(message: SchedulerInput, now = false): void {
    if (this.#messages.push(message) === 1 && !now) this.#later.port1.postMessage(null);
    if (now) this.#wake.resolve();
  }

  /** A text worker was started again: what lies in its old port is lost. Returns the messages that had arrived. */
  replace(worker: "tokenizer" | "detokenizer", port: MessagePort): readonly SchedulerInput[] {
    this.#ports[worker].close();
    this.#ports[worker] = port;
    this.#listen(port);
    return this.#messages.splice(0);
  }

  #listen(port: MessagePort): void {
    notePort(port).onmessage = ({ data }: MessageEvent<ToScheduler>) => {
      if (data.type === "probe") this.probes.forward(data);
      else this.take(data);
    };
  }
}
