// One request in progress, as its caller sees it: deltas to iterate over, or the whole at the end.

import type { Delta, PromptInput, RequestId } from "./messages.ts";
import type { FinishReason, SamplingParams } from "./params.ts";

/** One generation to do; parameters are complete and within bounds (checked at the edge). */
export interface GenerateRequest {
  /** What is to be continued. */
  readonly input: PromptInput;
  /** How to sample, and when to end. */
  readonly params: SamplingParams;
  /** Separates cached prefixes of tenants; requests with equal salts share. */
  readonly salt?: string;
  /** Whose request it is: clients get equal shares. Requests without one are one client's. */
  readonly client?: string;
  /** Unique; made up when absent. */
  readonly id?: RequestId;
  /** Aborts the request. */
  readonly signal?: AbortSignal;
}

/** A finished generation. */
export interface Completion {
  /** All of the output, without a stop string that ended it. */
  readonly text: string;
  /** The prompt's token ids. */
  readonly promptIds: Uint32Array;
  /** The output's token ids. */
  readonly tokens: readonly number[];
  /** Prompt tokens that came from the cache. */
  readonly cachedTokens: number;
  /** Why it ended. */
  readonly finish: FinishReason;
  /** When asked for, and nothing went wrong. */
  readonly embedding?: Float32Array;
}

/** A request in progress: iterate over its deltas, the last of which has a `finish`. Iterate once. */
export class Generation implements AsyncIterable<Delta> {
  /** The request's id, unique in the engine. */
  readonly id: RequestId;
  /** The prompt's token ids; rejects if the prompt was refused. */
  readonly promptIds: Promise<Uint32Array>;
  readonly #prompt = Promise.withResolvers<Uint32Array>();
  readonly #abort: () => void;
  /** @ignore By which the workers know it: another one when it has to be sent a second time. */
  wireId: RequestId;
  /** @ignore Whether its client has given it up. */
  aborted = false;
  /** @ignore Whether anything of it has come. */
  begun = false;
  #waiting: Delta[] = [];
  #wake: (() => void) | null = null;
  #listener: ((delta: Delta) => void) | null = null;
  /** @ignore Whether the tokenizer has passed it on. */
  accepted = false;
  #ended = false;

  /** @ignore Made by `Engine.submit`. */
  constructor(id: RequestId, abort: () => void) {
    this.id = id;
    this.wireId = id;
    this.#abort = abort;
    this.promptIds = this.#prompt.promise;
    this.promptIds.catch(() => {}); // asked for or not
  }

  /** Ends the request; a last delta with finish "abort" follows unless it has ended already. */
  abort(): void {
    if (this.#ended || this.aborted) return;
    this.aborted = true;
    this.#abort();
  }

  /** @ignore */
  accept(promptIds: Uint32Array): void {
    this.accepted = true;
    this.#prompt.resolve(promptIds);
  }

  /** @ignore Nothing more will come: prompt and end are known, or the request was refused. */
  get settled(): boolean {
    return this.#ended && this.accepted;
  }

  /** @ignore */
  push(delta: Delta): void {
    if (this.#ended) return;
    this.begun = true;
    if (delta.finish) {
      this.#ended = true;
      if (delta.finish.type === "error") {
        this.accepted = true;
        this.#prompt.reject(new Error(delta.finish.message)); // no effect once accepted
      }
    }
    if (this.#listener !== null) return this.#listener(delta);
    this.#waiting.push(delta);
    this.#wake?.();
    this.#wake = null;
  }

  /** Instead of iterating: every delta at the moment when it comes, without a promise between. Must not throw. */
  follow(listener: (delta: Delta) => void): void {
    this.#listener = listener;
    for (const delta of this.#waiting.splice(0)) listener(delta);
  }

  /** Deltas in order, the last with a `finish`. Leaving the loop early aborts the request. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Delta, void, void> {
    let finished = false;
    try {
      while (!finished) {
        if (this.#waiting.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
        const deltas = this.#waiting;
        this.#waiting = [];
        for (const delta of deltas) {
          finished = delta.finish !== null;
          yield delta;
        }
      }
    } finally {
      if (!finished) this.abort(); // the consumer stopped early
    }
  }

  /** Waits for the end and returns everything at once. */
  async complete(): Promise<Completion> {
    let text = "", cachedTokens = 0;
    let finish: FinishReason = { type: "abort" }, embedding: Float32Array | undefined;
    const tokens: number[] = [];
    for await (const delta of this) {
      text += delta.text;
      tokens.push(...delta.tokens);
      cachedTokens = delta.cachedTokens;
      if (delta.finish) finish = delta.finish;
      embedding = delta.embedding;
    }
    const promptIds = await this.promptIds.catch(() => new Uint32Array());
    return { text, promptIds, tokens, cachedTokens, finish, ...(embedding ? { embedding } : {}) };
  }
}

/** The end of a request, as a delta without output. */
export function emptyDelta(id: RequestId, finish: FinishReason): Delta {
  return { id, text: "", tokens: [], logprobs: null, promptLogprobs: null, cachedTokens: 0, finish };
}
