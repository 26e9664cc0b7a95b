// Tokenizer and detokenizer: the two workers without state worth keeping. One that fails, or stops answering, is
// ended and started again, with new channels; the scheduler is given its ends of them and says which requests are
// lost by it. Only a worker that cannot even start, several times in a row, ends the engine.

import type {
  DetokenizerAnswer,
  FromDetokenizer,
  FromTokenizer,
  RequestId,
  TextSetup,
  TokenizerAnswer,
  TokenizerReady,
  ToTokenizer,
} from "../messages.ts";
import type { Fault } from "./fault.ts";
import { WorkerHandle } from "./handle.ts";
import type { AttachQuestion, TextWorkerName } from "./protocol.ts";

/** Who reads what they send, and is told when one is lost. */
export interface TextListener {
  /** In order. */
  fromTokenizer(message: FromTokenizer): void;
  /** In order. */
  fromDetokenizer(message: FromDetokenizer): void;
  /** A worker is gone: nothing more comes of what it had. */
  lost(worker: TextWorkerName, reason: Error): void;
  /** Requests whose news the main process still waits for. */
  live(): readonly RequestId[];
  /** A new worker is there; those of `live` that were lost with the old one will bring no news. */
  restored(worker: TextWorkerName, lost: readonly RequestId[], reason: Error): void;
}

/** Hands the scheduler the new end of a channel; resolves with the requests that are lost. */
export type Attach = (
  worker: TextWorkerName,
  port: MessagePort,
  live: readonly RequestId[],
) => Promise<readonly RequestId[]>;

/** One of the two, as it is at the moment. */
interface Slot {
  readonly handle: WorkerHandle<TokenizerAnswer | DetokenizerAnswer>;
  /** To and from the main process. */
  readonly port: MessagePort;
  /** The scheduler's end. */
  readonly scheduler: MessagePort;
  /** Makes it ready; called once. */
  load(): Promise<TokenizerReady | null>;
}

const urls: Readonly<Record<TextWorkerName, string>> = {
  tokenizer: "../tokenizer/worker.ts",
  detokenizer: "../detokenizer/worker.ts",
};

/** Restarts in quick succession wait longer and longer, up to this. */
const longestWait = 8_000;

/** Attempts to start a worker again, each after a longer wait than the one before. */
const mostAttempts = 3;

/** Both workers, kept alive. */
export class TextWorkers implements Disposable {
  /** Resolves when one of them cannot be started; never rejects. */
  readonly dead: Promise<Error>;
  readonly #setup: TextSetup;
  readonly #slots: Record<TextWorkerName, Slot>;
  readonly #die: (reason: Error) => void;
  readonly #restarts: Record<TextWorkerName, number> = { tokenizer: 0, detokenizer: 0 };
  readonly #restarting = new Map<TextWorkerName, Promise<void>>();
  readonly #last = { tokenizer: -Infinity, detokenizer: -Infinity };
  readonly #wait = { tokenizer: 0, detokenizer: 0 };
  #listener: TextListener | null = null;
  #attach: Attach | null = null;
  #closed = false;

  /** Creates both; `start` loads them. */
  constructor(setup: TextSetup) {
    this.#setup = setup;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.dead = promise;
    this.#die = resolve;
    this.#slots = { tokenizer: this.#create("tokenizer"), detokenizer: this.#create("detokenizer") };
  }

  /** The scheduler's ends of the first channels, to be transferred. */
  get schedulerPorts(): Record<TextWorkerName, MessagePort> {
    return { tokenizer: this.#slots.tokenizer.scheduler, detokenizer: this.#slots.detokenizer.scheduler };
  }

  /** Times that a worker was started again. */
  get restarts(): Readonly<Record<TextWorkerName, number>> {
    return this.#restarts;
  }

  /** Resolves when one of them fails before `connect`; never rejects. */
  get failedToStart(): Promise<Error> {
    return Promise.race([this.#slots.tokenizer.handle.dead, this.#slots.detokenizer.handle.dead]);
  }

  /** Loads both. Rejects with the first one's reason. */
  async start(): Promise<TokenizerReady> {
    const [ready] = await Promise.all([this.#slots.tokenizer.load(), this.#slots.detokenizer.load()]);
    return ready!;
  }

  /** From now on messages are read, and a lost worker is replaced. */
  connect(listener: TextListener, attach: Attach): void {
    this.#listener = listener;
    this.#attach = attach;
    this.#read("tokenizer");
    this.#read("detokenizer");
  }

  /** To the tokenizer; lost if there is none at the moment. */
  send(message: ToTokenizer): void {
    this.#slots.tokenizer.port.postMessage(message);
  }

  /** Resolves when the worker answers; while it is being started again, when that is done. */
  async ping(worker: TextWorkerName): Promise<void> {
    await this.#restarting.get(worker);
    await this.#slots[worker].handle.ask({ type: "ping" });
  }

  /** Ends a worker that does not do its work, and starts it again. */
  restart(worker: TextWorkerName, reason: string): void {
    if (!this.#restarting.has(worker)) this.#slots[worker].handle.giveUp(reason);
  }

  /** For tests. */
  inject(worker: TextWorkerName, fault: Fault): void {
    this.#slots[worker].handle.inject(fault);
  }

  /** Ends both. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const { port, handle } of Object.values(this.#slots)) {
      port.close();
      handle[Symbol.dispose]();
    }
  }

  #create(worker: TextWorkerName): Slot {
    const handle = new WorkerHandle<TokenizerAnswer | DetokenizerAnswer>(
      new URL(urls[worker], import.meta.url),
      worker,
    );
    const toMain = new MessageChannel(), toScheduler = new MessageChannel();
    const ports = { main: toMain.port2, scheduler: toScheduler.port2 };
    toMain.port1.onmessageerror = () => handle.giveUp("a message from it could not be read");
    const load = async () => {
      const question = { type: "init", ...this.#setup, ports };
      const answer = await handle.ask(question, [ports.main, ports.scheduler]);
      if (answer.type !== "ready") throw new Error(`the ${worker} answered its start with ${answer.type}`);
      return "ready" in answer ? answer.ready : null;
    };
    return { handle, port: toMain.port1, scheduler: toScheduler.port1, load };
  }

  #read(worker: TextWorkerName): void {
    const { handle, port } = this.#slots[worker];
    const listener = this.#listener!;
    port.onmessage = worker === "tokenizer"
      ? ({ data }: MessageEvent<FromTokenizer>) => listener.fromTokenizer(data)
      : ({ data }: MessageEvent<FromDetokenizer>) => listener.fromDetokenizer(data);
    void handle.dead.then((reason) => {
      if (!this.#closed) this.#restarting.set(worker, this.#replace(worker, reason));
    });
  }

  async #replace(worker: TextWorkerName, reason: Error, attempt = 1): Promise<void> {
    this.#restarts[worker]++;
    const before = this.#slots[worker];
    before.port.close();
    before.handle[Symbol.dispose]();
    this.#listener!.lost(worker, reason);
    try {
      await this.#pause(worker);
      if (this.#closed) return;
      const slot = this.#slots[worker] = this.#create(worker);
      await slot.load();
      const lost = await this.#attach!(worker, slot.scheduler, this.#listener!.live());
      if (this.#closed) return;
      this.#restarting.delete(worker);
      this.#read(worker);
      this.#listener!.restored(worker, lost, reason);
    } catch (error) {
      if (this.#closed) return;
      if (attempt < mostAttempts) return await this.#replace(worker, reason, attempt + 1);
      const why = error instanceof Error ? error.message : String(error);
      this.#die(new Error(`${reason.message}; it cannot be started again: ${why}`));
    }
  }

  /** The first restart is at once; one soon after another waits, so that a machine in trouble is not made busy by it. */
  async #pause(worker: TextWorkerName): Promise<void> {
    const now = performance.now();
    const soon = now - this.#last[worker] < 2 * longestWait;
    this.#last[worker] = now;
    const wait = this.#wait[worker] = soon ? Math.min(longestWait, Math.max(250, 2 * this.#wait[worker])) : 0;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** `Attach` by way of the scheduler's own channel. */
export function attachThrough(
  ask: (
    question: Omit<AttachQuestion, "call">,
    transfer: Transferable[],
  ) => Promise<{ readonly type: string; readonly lost?: readonly RequestId[] }>,
): Attach {
  return async (worker, port, live) => {
    const answer = await ask({ type: "attach", worker, port, live }, [port]);
    return answer.lost ?? [];
  };
}

/** For tests: makes a worker of that name fail, whichever it is. */
export function injector(
  text: TextWorkers,
  others: readonly { readonly name: string; inject(fault: Fault, inside?: string): void }[],
): (worker: string, fault: Fault) => void {
  return (worker, fault) => {
    if (worker === "tokenizer" || worker === "detokenizer") text.inject(worker, fault);
    else if (worker === "grammar worker") {
      others.find(({ name }) => name === "scheduler")?.inject(fault, worker);
    } else others.find(({ name }) => name === worker)?.inject(fault);
  };
}
