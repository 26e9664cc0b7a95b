// A worker and its ports, for tests: questions with one answer each, and messages to wait for in order.

/** Messages that arrive at a port or worker, to be taken one by one. */
export class Inbox<T> {
  readonly #arrived: T[] = [];
  #waiting: ((message: T) => void) | null = null;

  put(message: T): void {
    if (this.#waiting) {
      this.#waiting(message);
      this.#waiting = null;
    } else {
      this.#arrived.push(message);
    }
  }

  /** The next message, now or when it comes. */
  next(): Promise<T> {
    const message = this.#arrived.shift();
    if (message !== undefined) return Promise.resolve(message);
    return new Promise((resolve) => this.#waiting = resolve);
  }
}

/** One end of a channel; the other end is handed to the worker. */
export class PortClient<In, Out> implements Disposable {
  readonly remote: MessagePort;
  readonly inbox = new Inbox<In>();
  readonly #local: MessagePort;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#local = port1;
    this.remote = port2;
    port1.onmessage = ({ data }: MessageEvent<In>) => this.inbox.put(data);
  }

  post(message: Out): void {
    this.#local.postMessage(message);
  }

  [Symbol.dispose](): void {
    this.#local.close();
  }
}

export class WorkerClient<Answer, Question> implements Disposable {
  readonly inbox = new Inbox<Answer>();
  readonly #worker: Worker;

  /** `path` is relative to the repository's root. */
  constructor(path: string) {
    this.#worker = new Worker(new URL(`../../${path}`, import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => this.inbox.put(data);
  }

  /** Sends a question and returns the next answer. */
  ask(question: Question, transfer: Transferable[] = []): Promise<Answer> {
    this.#worker.postMessage(question, transfer);
    return this.inbox.next();
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
