// A worker as its owner sees it: questions with one answer each, and a death that cannot go unnoticed.
//
// Every question carries a `call` number that its answer repeats. When the worker throws, all open questions are
// rejected and `dead` resolves with the reason; nothing waits for a worker that is gone.

import type { Died } from "./death.ts";
import type { Fault, FaultOrder } from "./fault.ts";

/** What every answer of a worker has; `call` is absent from notices. */
export interface Answer {
  /** Tells the answers of a union apart. */
  readonly type: string;
  /** Which question it answers. */
  readonly call?: number;
  /** Of an answer of type "failed": why. */
  readonly message?: string;
}

/** Owner's end of a worker. `A` is the union of its answers. */
export class WorkerHandle<A extends Answer> implements Disposable {
  /** For messages. */
  readonly name: string;
  /** Resolves with the reason when the worker has failed; never rejects. */
  readonly dead: Promise<Error>;
  readonly #worker: Worker;
  readonly #fail: (reason: string) => void;
  readonly #open = new Map<number, { resolve: (answer: A) => void; reject: (error: Error) => void }>();
  readonly #onNotice: (notice: A) => void;
  #calls = 0;
  #failure: Error | null = null;
  #ended = false;

  /** `onNotice` gets messages that answer no question, such as progress. */
  constructor(url: URL, name: string, onNotice: (notice: A) => void = () => {}) {
    this.name = name;
    this.#onNotice = onNotice;
    this.#worker = new Worker(url, { type: "module", name });
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.dead = promise;
    this.#fail = (reason) => {
      this.#failure ??= new Error(`the ${name} has failed: ${reason}`);
      for (const { reject } of this.#open.values()) reject(this.#failure);
      this.#open.clear();
      resolve(this.#failure);
    };
    this.#worker.onmessage = ({ data }: MessageEvent<A | Died>) => this.#receive(data);
    this.#worker.onmessageerror = () => this.#fail("a message could not be read");
    this.#worker.onerror = (event) => {
      event.preventDefault(); // otherwise it ends the whole program
      this.#fail(event.message.replace(/^Uncaught (\(in promise\) )?(Error: )?/, ""));
    };
  }

  /**
   * Sends a question (its `call` is filled in) and waits for the answer; an answer of type "failed" rejects. A worker
   * that has failed is still asked to "close": it may hold a device, and need not answer.
   */
  ask(
    question: { readonly type: string } & Record<string, unknown>,
    transfer: Transferable[] = [],
  ): Promise<A> {
    if (this.#failure && (this.#ended || question.type !== "close")) return Promise.reject(this.#failure);
    const call = this.#calls++;
    const { promise, resolve, reject } = Promise.withResolvers<A>();
    this.#open.set(call, { resolve, reject });
    this.#worker.postMessage({ ...question, call }, transfer);
    return promise;
  }

  /** Sends what is not answered, or answered by notices. */
  post(message: { readonly type: string }): void {
    if (!this.#failure) this.#worker.postMessage(message);
  }

  /** Declares the worker dead for a reason that it cannot tell itself. */
  giveUp(reason: string): void {
    this.#fail(reason);
  }

  /** For tests: makes something go wrong in the worker, or in one that it has started. */
  inject(fault: Fault, inside?: string): void {
    this.#worker.postMessage({ type: "fault", fault, ...(inside ? { inside } : {}) } satisfies FaultOrder);
  }

  /** Ends the worker; open questions are rejected. */
  [Symbol.dispose](): void {
    const closed = new Error(`the ${this.name} has been closed`);
    for (const { reject } of this.#open.values()) reject(closed);
    this.#open.clear();
    this.#failure ??= closed;
    this.#ended = true;
    this.#worker.terminate();
  }

  #receive(message: A | Died): void {
    if (message.type === "died") return this.#fail((message as Died).message);
    const answer = message as A;
    const waiting = answer.call === undefined ? undefined : this.#open.get(answer.call);
    if (answer.call === undefined || !waiting) return this.#onNotice(answer);
    this.#open.delete(answer.call);
    if (answer.type === "failed") waiting.reject(new Error(answer.message));
    else waiting.resolve(answer);
  }
}
