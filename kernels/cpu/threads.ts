// Threads: Web Workers that run the same program on the same memories, forked and joined through a few words of
// shared memory.
//
// A worker that is started by a worker takes a second to come up (Deno 2.9); runs do without it until then.
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
  /** How many threads the last fork takes. */
  Threads: 10,
  /** 1 after a worker has failed; then why, as UTF-8 with its length before it. */
  Failed: 7,
  FailureLength: 8,
  FailureText: 16,
  /** First of the words in which thread i says how many banks it has. */
  Attached: 64,
} as const;

/** Most bytes of a failure's text. */
export const failureBytes = (Control.Attached - Control.FailureText) * 4;

/** Sent once per bank. */
export interface AttachMessage {
  /** The control block. */
  readonly control: SharedArrayBuffer;
  /** Number of the thread, from 1. */
  readonly thread: number;
  /** To be run on the memory. */
  readonly module: WebAssembly.Module;
  /** Of the bank. */
  readonly memory: WebAssembly.Memory;
}

/** Milliseconds for a worker to start and to attach a memory. */
const attachPatience = 20_000;

/** A group of threads; dispose to end them. */
export class ThreadGroup implements Disposable {
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #workers: Worker[] = [];
  readonly #banks: Bank[] = [];
  readonly #module: WebAssembly.Module;
  #failure: string | null = null;
  #ready = false;
  #onNews = () => {};
  #attachedAt = performance.now();

  /** Starts the workers; `threads` includes the caller's own. */
  constructor(readonly threads: number, kernels: Kernels) {
    this.#module = kernels.module;
    this.#control = new Int32Array(new SharedArrayBuffer(4 * (Control.Attached + threads)));
    for (let thread = 1; thread < threads; thread++) {
      const url = new URL("./thread.ts", import.meta.url);
      const worker = new Worker(url, { type: "module", name: `kernel thread ${thread}` });
      worker.onerror = (event) => {
        event.preventDefault();
        this.#fail(`a kernel thread failed: ${event.message}`);
        this.#onNews();
      };
      // A worker posts an empty message when it has attached a memory or failed.
      worker.onmessage = () => this.#onNews();
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
        module: this.#module,
        memory: bank.memory,
      };
      worker.postMessage(message);
    });
    Atomics.store(this.#control, Control.Banks, this.#banks.length);
    this.#signal();
    this.#ready = false;
    this.#attachedAt = performance.now();
  }

  /**
   * Resolves when all threads have all memories, rejects when one has failed. Runs do not need it: until then they
   * do without the others.
   */
  async ready(): Promise<void> {
    while (!this.#allReady()) await new Promise<void>((resolve) => this.#onNews = resolve);
  }

  /**
   * Runs `count` operations at address `program` of a bank on so many threads, all of them by default, or on the
   * caller's alone while others are still starting; returns when all is done.
   */
  run(bank: Bank, program: number, count: number, threads = this.threads): void {
    if (this.#failure !== null) throw new Error(this.#failure);
    const taking = threads > 1 && this.#allReady() ? threads : 1;
    if (taking > 1) this.#fork(bank, program, count, taking);
    let finished = false;
    try {
      finished = bank.exports.run(program, count, 0, taking) !== 0;
    } catch (error) {
      this.#fail(`a kernel failed: ${error instanceof Error ? error.message : error}`);
      throw error;
    }
    if (!finished) {
      this.#fail(this.#workerFailure() ?? "a kernel thread ended while it was needed");
      throw new Error(this.#failure!);
    }
  }

  #fork(bank: Bank, program: number, count: number, threads: number): void {
    const control = this.#control;
    Atomics.store(control, Control.Threads, threads);
    Atomics.store(control, Control.Bank, bank.index);
    Atomics.store(control, Control.Program, program);
    Atomics.store(control, Control.Count, count);
    Atomics.add(control, Control.Forks, 1);
    this.#signal();
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

  /** Whether every worker has every bank. Throws when one has failed, or has had ample time. */
  #allReady(): boolean {
    if (this.#ready) return true;
    if (this.#failure !== null) throw new Error(this.#failure);
    for (let thread = 1; thread < this.threads; thread++) {
      const attached = Atomics.load(this.#control, Control.Attached + thread);
      if (attached === this.#banks.length) continue;
      if (attached >= 0 && performance.now() - this.#attachedAt < attachPatience) return false;
      this.#fail(this.#workerFailure() ?? `kernel thread ${thread} did not start`);
      throw new Error(this.#failure!);
    }
    return this.#ready = true;
  }

  /** Ends the threads. */
  [Symbol.dispose](): void {
    this.#failure ??= "the CPU backend has been disposed of";
    Atomics.store(this.#control, Control.Stop, 1);
    this.#signal();
    for (const bank of this.#banks) bank.exports.fail();
    for (const worker of this.#workers) worker.terminate();
  }
}
