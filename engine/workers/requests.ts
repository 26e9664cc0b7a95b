// The requests of an engine, from submission to their last delta, and what becomes of them when a worker is lost.
//
// A request is with the tokenizer until it is accepted, then with the scheduler. What a lost tokenizer was busy with
// fails, what else it had is sent again; what a lost detokenizer had begun fails, the rest goes on. Every request
// gets exactly one end.

import { emptyDelta, type GenerateRequest, Generation } from "../generation.ts";
import type { Launched } from "../launch.ts";
import type { Delta, FromDetokenizer, FromTokenizer, PromptInput, RequestId } from "../messages.ts";
import type { FinishReason } from "../params.ts";
import type { SchedulerCounters } from "../scheduler/config.ts";
import { EngineError } from "./engine_error.ts";
import { Guardian } from "./guardian.ts";
import { fewestTokens, tooLongMessage } from "./length_limit.ts";
import type { TextWorkerName } from "./protocol.ts";
import { type Job, type JobFailure, TokenizerQueue } from "./tokenizer_queue.ts";
import type { Life } from "./watchdog.ts";

/** What the engine has done about its workers and its queue since the start. */
export interface EngineStats {
  /** Times that a worker was started again. */
  readonly restarts: Readonly<Record<TextWorkerName, number>>;
  /** Requests and questions in front of the tokenizer. */
  readonly tokenizerQueue: number;
  /** Prompts and questions that the tokenizer has done. */
  readonly tokenized: number;
  /** Seconds that this took. */
  readonly tokenizerSeconds: number;
  /** The scheduler's counters as they were last heard of, at most a second ago; those of a dead engine stay. */
  readonly counters: SchedulerCounters | null;
}

/** Sizes of an engine, as far as requests are concerned. */
export interface RequestLimits {
  /** Most tokens of prompt and output together. */
  readonly contextLength: number;
  /** Most requests at a time, waiting or running. */
  readonly mostRequests: number;
  /** Silence of scheduler or executor that ends the engine, in seconds. */
  readonly stallSeconds: number;
}

/** Characters and ids that wait for the tokenizer at most. */
const mostWaitingText = 64 << 20;

/** All requests that have not ended. */
export class Requests {
  /** Why the engine is dead; null while it lives. */
  failure: Error | null = null;
  readonly #launched: Launched;
  readonly #options: RequestLimits;
  readonly #queue: TokenizerQueue;
  readonly #guardian: Guardian;
  /** What the tokenizer may take for one prompt, in milliseconds. */
  readonly #budget: number;
  /** By the ids that the workers know. */
  readonly #generations = new Map<RequestId, Generation>();
  readonly #calls = new Map<number, (answer: FromTokenizer) => void>();
  #nextCall = 0;

  /** Reads what the workers send from now on, and watches over them. */
  constructor(launched: Launched, options: RequestLimits) {
    this.#launched = launched;
    this.#options = options;
    // Ten times what ordinary text of the context's length takes, and some for small contexts.
    this.#budget = 2_000 + options.contextLength / 25;
    this.#queue = new TokenizerQueue({
      mostWaiting: options.mostRequests,
      mostText: mostWaitingText,
      budgetMilliseconds: this.#budget,
      send: (message) => launched.send(message),
      overdue: (short) => launched.text.restart("tokenizer", short ? "it does not answer" : overdue),
    });
    launched.connect({
      fromTokenizer: (message) => this.#fromTokenizer(message),
      fromDetokenizer: (message) => this.#fromDetokenizer(message),
      lost: (worker, reason) => this.#lost(worker, reason),
      live: () => this.#live(),
      restored: (worker, lost, reason) => this.#restored(worker, lost, reason),
    });
    this.#guardian = new Guardian(launched, {
      stallSeconds: options.stallSeconds,
      tokenizerBudget: () => this.#queue.length > 0 ? this.#budget / 1000 : 0,
    });
    void launched.dead.then((error) => this.fail(error));
  }

  /** Whether all workers answer. */
  get life(): Life {
    return this.#guardian.life;
  }

  /** Restarts and the queue in front of the tokenizer. */
  get stats(): EngineStats {
    const { length, done, seconds } = this.#queue;
    const { restarts } = this.#launched.text;
    return {
      restarts,
      tokenizerQueue: length,
      tokenized: done,
      tokenizerSeconds: seconds,
      counters: this.#guardian.counters,
    };
  }

  /** Starts a generation. Faults of the request arrive as its finish; this never throws for them. */
  submit(request: GenerateRequest): Generation {
    const { input, params, signal, salt = "", client = "" } = request;
    const id = request.id ?? crypto.randomUUID();
    const generation = new Generation(id, () => this.#abort(generation));
    const problem = this.#problem(id, input);
    if (problem) {
      generation.push(emptyDelta(id, problem));
      return generation;
    }
    this.#generations.set(id, generation);
    const fail = (finish: JobFailure) => this.#end(generation, finish);
    this.#queue.add({ type: "generate", id, input, params, salt, client, fail });
    if (signal?.aborted) generation.abort();
    else signal?.addEventListener("abort", () => generation.abort(), { once: true });
    return generation;
  }

  #problem(id: RequestId, input: PromptInput): JobFailure | null {
    const refuse = (code: JobFailure["code"], message: string) => ({ type: "error", code, message }) as const;
    if (this.failure) return refuse("unavailable", this.failure.message);
    if (this.#generations.has(id)) return refuse("invalid", `request id ${id} is in use`);
    const count = this.#generations.size;
    if (count >= this.#options.mostRequests) {
      return refuse("queue_full", `${count} requests wait or run already; try again later`);
    }
    const { contextLength } = this.#options;
    const characters = textLength(input);
    const tokens = fewestTokens(characters, this.#launched.tokenizer.longestToken);
    if (tokens <= contextLength) return null;
    return refuse("too_long", tooLongMessage(`at least ${tokens} (${characters} characters)`, contextLength));
  }

  #abort(generation: Generation): void {
    if (this.failure) return;
    if (this.#queue.remove(generation.wireId)) this.#end(generation, { type: "abort" });
    else this.#launched.send({ type: "abort", id: generation.wireId });
  }

  /** A question to the tokenizer. Rejects with an `EngineError`. */
  ask(
    client: string,
    question: (call: number) => (Job & { type: "call" })["message"],
  ): Promise<FromTokenizer> {
    if (this.failure) return Promise.reject(new EngineError("unavailable", this.failure.message));
    const call = this.#nextCall++;
    const { promise, resolve, reject } = Promise.withResolvers<FromTokenizer>();
    this.#calls.set(call, resolve);
    const fail = ({ code, message }: JobFailure) => {
      this.#calls.delete(call);
      reject(new EngineError(code, message));
    };
    this.#queue.add({ type: "call", message: question(call), client, fail });
    return promise.then((answer) => {
      if (answer.type === "failed") throw new EngineError(answer.code, answer.message);
      return answer;
    });
  }

  #fromTokenizer(message: FromTokenizer): void {
    switch (message.type) {
      case "accepted": {
        // Usually before the first delta; but that comes another way, and may be faster.
        const generation = this.#generations.get(message.id);
        generation?.accept(message.promptIds);
        if (generation?.settled) this.#generations.delete(message.id);
        return this.#queue.answered(message.id);
      }
      case "rejected":
        this.#deliver(emptyDelta(message.id, message.finish));
        return this.#queue.answered(message.id);
      case "encoded":
      case "decoded":
      case "failed": {
        const resolve = this.#calls.get(message.call);
        this.#calls.delete(message.call);
        resolve?.(message);
        return this.#queue.answered(message.call);
      }
      default:
        return message satisfies never;
    }
  }

  #fromDetokenizer(message: FromDetokenizer): void {
    if (message.type === "probe") this.#guardian.returned(message);
    else for (const delta of message.deltas) this.#deliver(delta);
  }

  #deliver(delta: Delta): void {
    const generation = this.#generations.get(delta.id);
    generation?.push(delta);
    if (generation?.settled) this.#generations.delete(delta.id);
  }

  /** Ends a generation of which nothing more will come. */
  #end(generation: Generation, finish: FinishReason): void {
    this.#generations.delete(generation.wireId);
    generation.push(emptyDelta(generation.id, finish));
  }

  /**
   * A worker is gone. What the tokenizer was busy with fails; what else it had is sent again under another id, for it
   * may have passed some of it on.
   */
  #lost(worker: TextWorkerName, reason: Error): void {
    if (worker !== "tokenizer") return;
    const isOverdue = reason.message.endsWith(overdue);
    this.#queue.lost(
      isOverdue
        ? {
          type: "error",
          code: "invalid",
          message: `the prompt took more than ${this.#budget} ms to tokenize`,
        }
        : unavailable(reason),
      (id) => {
        const generation = this.#generations.get(id);
        if (generation?.aborted) this.#end(generation, { type: "abort" });
        if (generation === undefined || generation.begun) return null;
        this.#generations.delete(id);
        generation.wireId = crypto.randomUUID();
        this.#generations.set(generation.wireId, generation);
        return generation.wireId;
      },
    );
  }

  /** Requests that the scheduler should know. */
  #live(): RequestId[] {
    return [...this.#generations].flatMap(([id, { accepted, aborted }]) => accepted && !aborted ? [id] : []);
  }

  #restored(worker: TextWorkerName, lost: readonly RequestId[], reason: Error): void {
    for (const id of lost) {
      const generation = this.#generations.get(id);
      if (generation) this.#end(generation, unavailable(reason));
      // It may be on its way from the tokenizer to the scheduler.
      if (worker === "detokenizer") this.#launched.send({ type: "abort", id });
    }
    // Their abort may have been lost; the scheduler was not told that they live.
    for (const generation of [...this.#generations.values()]) {
      if (generation.aborted && generation.accepted) this.#end(generation, { type: "abort" });
    }
    this.#guardian.replaced();
    if (worker === "tokenizer") this.#queue.resume();
  }

  /** Nothing more will come: everything fails with this reason, now and from now on. */
  fail(error: Error): void {
    if (this.failure) return;
    this.failure = error;
    this.#guardian[Symbol.dispose]();
    const finish = { type: "error", code: "unavailable", message: error.message } as const;
    this.#queue.clear(finish);
    for (const generation of [...this.#generations.values()]) this.#end(generation, finish);
    for (const [call, resolve] of this.#calls) {
      resolve({ type: "failed", call, code: finish.code, message: finish.message });
    }
    this.#calls.clear();
  }
}

/** Reason of a restart because of a prompt, not of a fault. */
const overdue = "its prompt takes too long";

function unavailable(reason: Error): JobFailure {
  const message = `${reason.message}; it is being started again, send the request once more`;
  return { type: "error", code: "unavailable", message };
}

/** Characters that surely reach the tokenizer: a template may drop parts of the assistant's own messages. */
function textLength(input: PromptInput): number {
  switch (input.type) {
    case "ids":
      return 0;
    case "text":
      return input.text.length;
    case "chat":
      return input.messages.reduce(
        (sum, { role, content }) => role === "assistant" ? sum : sum + (content?.length ?? 0),
        0,
      );
  }
}
