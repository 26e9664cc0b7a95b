// Runs batch plans on a backend, one step behind: the overlap half that belongs to the device.
//
// On a plan: record it while the step before it still runs, then read that step's result (this blocks), submit the
// new one, and only then hand the result to the scheduler. The device idles only for the readback and the submit.
// "drain" reads what is in flight when no further plan will come. (SGLang's overlap loop, on a platform where a
// readback waits for everything submitted.) A plan that only draws is not worth a wait: it is recorded, and the one
// that follows it, too, before anything is read.

import type { FromExecutor, ToExecutor } from "../messages.ts";
import type { Backend, Ops, RecordedStep } from "../../kernels/ops.ts";
import type { BatchPlan, StepResult } from "../../kernels/plan.ts";

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
  /** Recorded and not read, oldest first; the first one has been submitted. */
  readonly #steps: RecordedStep[] = [];
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
    try {
      while (this.#steps.length > 0) await this.#readOldest();
    } catch {
      // Of no use to anyone now; with several ranks it fails as soon as one of them is closed.
    }
  }

  async #handle(message: ToExecutor): Promise<void> {
    switch (message.type) {
      case "plan":
        return await this.#run(message.plan);
      case "drain":
        return await this.#finish(0);
      case "poison":
        return this.#backend.poisonPages(message.pages);
    }
  }

  async #run(plan: BatchPlan): Promise<void> {
    if (this.#steps.length === 0) this.#onWork();
    this.#steps.push(this.#backend.record(plan, this.#forward));
    if (this.#steps.length === 1) this.#steps[0]!.submit();
    else if (!plan.draws) await this.#finish(1);
  }

  /** Reads and posts until so many steps are left. */
  async #finish(left: number): Promise<void> {
    while (this.#steps.length > left) this.#post({ type: "result", result: await this.#readOldest() });
  }

  /** Reads the step in flight, and submits the next. */
  async #readOldest(): Promise<StepResult> {
    const result = await this.#steps[0]!.read();
    this.#steps.shift();
    this.#steps[0]?.submit();
    return result;
  }
}
