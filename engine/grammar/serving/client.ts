/**
 * The scheduler's end of the grammar worker, which is started when the first grammar comes. If it fails, or owes an
 * answer and gives none, the requests that it had fail, and the next grammar starts another one.
 */
import { noteChild } from "../../workers/children.ts";
import { WorkerHandle } from "../../workers/handle.ts";
import type { FromGrammar, Said, ToGrammar } from "./messages.ts";
import type { GrammarSetup } from "./worker.ts";

/** Milliseconds of a tick; a pause of this process is no silence, so silence is counted in ticks. */
const tick = 500;

/** Ticks without any answer, while one is owed, after which a worker is given up: no grammar may take as long. */
const patience = 6;

/** The first answer comes after the vocabulary has been read, which takes seconds where it is large. */
const firstPatience = 40;

/** Sends to a worker that may have to be started first. */
export class GrammarClient implements Disposable {
  readonly #setup: Omit<GrammarSetup, "type" | "modelDir"> & { readonly modelDir: string | null };
  readonly #onAnswer: (answer: FromGrammar) => void;
  readonly #open = new Set<number>();
  /** Of those, the ones that an answer is owed to. */
  readonly #owed = new Set<number>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #worker: WorkerHandle<Said<FromGrammar>> | null = null;
  /** Said since the scheduler last paused. */
  #unsent: ToGrammar[] = [];

  /** `modelDir`: null where there is no tokenizer. Nothing is started yet. */
  constructor(
    setup: Omit<GrammarSetup, "type" | "modelDir"> & { readonly modelDir: string | null },
    onAnswer: (answer: FromGrammar) => void,
  ) {
    this.#setup = setup;
    this.#onAnswer = onAnswer;
  }

  /** Sends; answers come to `onAnswer`. */
  send(message: ToGrammar): void {
    const { modelDir } = this.#setup;
    const { key } = message;
    if (modelDir === null) {
      const text = "structured output needs a tokenizer, and there is none";
      if (message.type === "open") {
        queueMicrotask(() => this.#onAnswer({ type: "refused", key, code: "invalid", message: text }));
      }
      return;
    }
    if (message.type === "open") this.#open.add(key);
    else if (!this.#open.has(key)) return; // lost with the worker before
    if (message.type === "close") {
      this.#open.delete(key);
      this.#owed.delete(key);
    } else this.#owed.add(key);
    this.#worker ??= this.#start({ ...this.#setup, type: "init", modelDir });
    if (this.#unsent.push(message) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const said: Said<ToGrammar> = { type: "said", messages: this.#unsent };
    this.#worker?.post(said);
    this.#unsent = [];
  }

  /** Ends the worker. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#open.clear();
    this.#worker?.[Symbol.dispose]();
    this.#worker = null;
  }

  #start(setup: GrammarSetup): WorkerHandle<Said<FromGrammar>> {
    const url = new URL("./worker.ts", import.meta.url);
    let silence = 0, most = firstPatience;
    const worker = new WorkerHandle<Said<FromGrammar>>(url, "grammar worker", ({ messages }) => {
      silence = 0;
      most = patience;
      for (const answer of messages) {
        this.#owed.delete(answer.key);
        this.#onAnswer(answer);
      }
    });
    noteChild(worker);
    this.#timer = setInterval(() => {
      silence = this.#owed.size > 0 ? silence + 1 : 0;
      if (silence >= most) worker.giveUp(`it has not answered for ${most * tick / 1000} s`);
    }, tick);
    void worker.dead.then((reason) => {
      clearInterval(this.#timer);
      this.#owed.clear();
      this.#worker = null;
      worker[Symbol.dispose]();
      for (const key of this.#open) {
        this.#onAnswer({ type: "refused", key, code: "unavailable", message: reason.message });
      }
      this.#open.clear();
    });
    worker.post(setup);
    return worker;
  }
}
