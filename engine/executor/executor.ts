// Runs batch plans on a backend, one step behind: the overlap half that belongs to the device.
//
// On a plan: record it while the step before it still runs, then read that step's result (this blocks), submit the
// new one, and only then hand the result to the scheduler. The device idles only for the readback and the submit.
// "drain" reads what is in flight when no further plan will come. (SGLang's overlap loop, on a platform where a
// readback waits for everything submitted.)

import type { FromExecutor, ToExecutor } from "../messages.ts";
import type { Backend, Ops, RecordedStep } from "../../kernels/ops.ts";
import type { BatchPlan } from "../../kernels/plan.ts";

/** What `Executor` needs of the decoder. */
export interface Forward {
  /** Records one forward of the current plan. */
  forward(ops: Ops): void;
}

/** One rank's loop. Messages are handled strictly in order; the promise of `handle` rejects when a step fails. */
export class Executor {
  readonly #backend: Backend;
  /** One function for all plans, so that a backend may know it again. */
  readonly #forward: (ops: Ops) => void;
  readonly #post: (message: FromExecutor & { readonly type: "result" }) => void;
  readonly #onWork: () => void;
  #inFlight: RecordedStep | null = null;
  #last: Promise<void> = Promise.resolve();

  /**
   * `post` sends results to the scheduler; ranks other than 0 pass a function that drops them. `onWork` is called
   * when a plan comes after a time without any.
   */
  constructor(
    backend: Backend,
    decoder: Forward,
    post: (message: FromExecutor & { readonly type: "result" }) => void,
    onWork: () => void = () => {},
  ) {
    this.#backend = backend;
    this.#forward = (ops) => decoder.forward(ops);
    this.#post = post;
    this.#onWork = onWork;
  }

  /** Acts on a message after all those before it; rejects when a step fails. */
  handle(message: ToExecutor): Promise<void> {
    this.#last = this.#last.then(() => this.#handle(message));
    return this.#last;
  }

  /** Resolves when everything handled so far is done and read, or has failed; nothing is posted any more. */
  async idle(): Promise<void> {
    await this.#last.catch(() => {});
    const last = this.#inFlight;
    this.#inFlight = null;
    try {
      await last?.read();
    } catch {
      // Of no use to anyone now; with several ranks it fails as soon as one of them is closed.
    }
  }

  async #handle(message: ToExecutor): Promise<void> {
    switch (message.type) {
      case "plan":
        return await this.#run(message.plan);
      case "drain":
        return await this.#finish(null);
      case "poison":
        return this.#backend.poisonPages(message.pages);
    }
  }

  async #run(plan: BatchPlan): Promise<void> {
    if (this.#inFlight === null) this.#onWork();
    const recorded = this.#backend.record(plan, this.#forward);
    await this.#finish(recorded);
  }

  /** Reads the step in flight, puts `next` in its place, and posts the result. */
  async #finish(next: RecordedStep | null): Promise<void> {
    const result = await this.#inFlight?.read();
    next?.submit();
    this.#inFlight = next;
    if (result) this.#post({ type: "result", result });
  }
}
