// Threads: Web Workers that run the same program on the same memories, forked and joined through a few words of
// shared memory.
//
// The executor's own thread is thread 0. A fork writes what to run and raises a signal; workers spin on it for
// some tens of microseconds after their last work and then sleep in `Atomics.wait`, so an idle engine burns
// nothing. The join is the barrier behind the program's last operation (`assembly/program.ts`). A worker that
// throws leaves its reason in shared memory and makes every barrier fail; one that is gone without a word is
// noticed by a barrier that sees no progress for ten seconds. Either way the fork throws, and so does every later
// one.

import type { Bank } from "./bank.ts";
import type { Kernels } from "./module.ts";

/** Words of the control block. */
export const Control = {
  /** Raised by everything that a sleeping worker must look at. */
  Signal: 0,
  /** Number of forks so far, and what the last one runs. */
  Forks: 1,
  Bank: 2,
  Program: 3,
  Count: 4,
  /** How many banks there are; a worker that has fewer fetches one from its messages. */
  Banks: 5,
  /** 1: leave. */
  Stop: 6,
  /** 1 after a worker has failed; then why, as UTF-8 with its length before it. */
  Failed: 7,
  FailureLength: 8,
  FailureText: 9,
  /** First of the words in which thread i says how many banks it has. */
  Attached: 64,
} as const;

/** Most bytes of a failure's text. */
export const failureBytes = (Control.Attached - Control.FailureText) * 4;

/** Sent once per bank. */
export interface AttachMessage {
  readonly control: SharedArrayBuffer;
  readonly thread: number;
  readonly threads: number;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

/** Milliseconds for a worker to start or to attach a memory. */
const startPatience = 20_000;

/** A group of threads; dispose to end them. */
export class ThreadGroup implements Disposable {
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #workers: Worker[] = [];
  readonly #banks: Bank[] = [];
  readonly #module: WebAssembly.Module;
  #failure: string | null = null;
  #ready = true;

  /** @param threads including the caller's own */
  constructor(readonly threads: number, kernels: Kernels) {
    this.#module = kernels.module;
    this.#control = new Int32Array(new SharedArrayBuffer(4 * (Control.Attached + threads)));
    for (let thread = 1; thread < threads; thread++) {
      const worker = new Worker(new URL("./thread.ts", import.meta.url), {
        type: "module",
        name: `kernel thread ${thread}`,
      });
      worker.onerror = (event) => {
        event.preventDefault();
        this.#fail(`a kernel thread failed: ${event.message}`);
      };
      this.#workers.push(worker);
    }
  }

  /** Gives the threads a further memory; programs name it by its index. */
  attach(bank: Bank): void {
    this.#banks.push(bank);
    this.#workers.forEach((worker, i) => {
      const message: AttachMessage = {
        control: this.#control.buffer,
        thread: i + 1,
        threads: this.threads,
        module: this.#module,
        memory: bank.memory,
      };
      worker.postMessage(message);
    });
    Atomics.store(this.#control, Control.Banks, this.#banks.length);
    this.#signal();
    this.#ready = this.#workers.length === 0;
  }

  /** Runs `count` operations at address `program` of a bank on all threads; returns when all are done. */
  run(bank: Bank, program: number, count: number): void {
    if (this.#failure !== null) throw new Error(this.#failure);
    if (!this.#ready) this.#awaitWorkers();
    const control = this.#control;
    Atomics.store(control, Control.Bank, bank.index);
    Atomics.store(control, Control.Program, program);
    Atomics.store(control, Control.Count, count);
    Atomics.add(control, Control.Forks, 1);
    this.#signal();
    let finished = false;
    try {
      finished = bank.exports.run(program, count, 0, this.threads) !== 0;
    } catch (error) {
      this.#fail(`a kernel failed: ${error instanceof Error ? error.message : error}`);
      throw error;
    }
    if (!finished) {
      this.#fail(this.#workerFailure() ?? "a kernel thread ended while it was needed");
      throw new Error(this.#failure!);
    }
  }

  #workerFailure(): string | null {
    if (Atomics.load(this.#control, Control.Failed) === 0) return null;
    const length = Atomics.load(this.#control, Control.FailureLength);
    const text = new Uint8Array(this.#control.buffer, Control.FailureText * 4, length).slice();
    return `a kernel thread failed: ${new TextDecoder().decode(text)}`;
  }

  #signal(): void {
    Atomics.add(this.#control, Control.Signal, 1);
    Atomics.notify(this.#control, Control.Signal);
  }

  #fail(message: string): void {
    this.#failure ??= message;
    for (const bank of this.#banks) bank.exports.fail();
  }

  #awaitWorkers(): void {
    const deadline = performance.now() + startPatience;
    for (let thread = 1; thread < this.threads; thread++) {
      for (;;) {
        const attached = Atomics.load(this.#control, Control.Attached + thread);
        if (attached === this.#banks.length) break;
        const left = deadline - performance.now();
        if (left <= 0 || attached < 0) {
          this.#fail(this.#workerFailure() ?? `kernel thread ${thread} did not start`);
          throw new Error(this.#failure!);
        }
        Atomics.wait(this.#control, Control.Attached + thread, attached, left);
      }
    }
    this.#ready = true;
  }

  [Symbol.dispose](): void {
    this.#failure ??= "the CPU backend has been disposed of";
    Atomics.store(this.#control, Control.Stop, 1);
    this.#signal();
    for (const bank of this.#banks) bank.exports.fail();
    for (const worker of this.#workers) worker.terminate();
  }
}
