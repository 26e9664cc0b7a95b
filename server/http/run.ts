// The generations of one HTTP request (prompts × choices): submitted together, merged into one stream of events,
// measured, and ended together. When a client goes away, or one generation fails, the others are aborted.
//
// Between the engine's message and the reader of these events there is no promise but the one that wakes the reader; who
// wants the answer whole is woken once.

import type { FinishReason, SamplingParams } from "../../engine/params.ts";
import type { Delta, PromptInput } from "../../engine/messages.ts";
import type { Generation, ServedEngine } from "./engine_api.ts";
import { errorOfFinish } from "./errors.ts";
import type { ActiveRun, Service } from "./service.ts";

/** One prompt and how often to continue it. */
export interface PromptRequest {
  /** What is to be continued. */
  readonly input: PromptInput;
  /** One per choice. */
  readonly params: readonly SamplingParams[];
  /** Separates cached prefixes. */
  readonly salt: string;
  /** The id by which the client can abort it. */
  readonly id: string;
}

/** A delta of the generation at `index` = prompt × choices + choice. */
export interface RunEvent {
  /** prompt × choices + choice */
  readonly index: number;
  /** What is new. */
  readonly delta: Delta;
}

/** Token counts of a finished or running request, as OpenAI reports them. */
export interface Usage {
  /** Tokens of all prompts, each counted once. */
  readonly prompt_tokens: number;
  /** Tokens of all choices. */
  readonly completion_tokens: number;
  /** The sum of both. */
  readonly total_tokens: number;
  /** Prompt tokens that came from the cache. */
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** What is counted about one generation while it runs. */
export interface GenerationState {
  /** By which the client can abort it. */
  readonly id: string;
  /** The engine's end. */
  readonly generation: Generation;
  /** Which prompt it continues. */
  readonly prompt: number;
  /** Known with the first delta. */
  promptTokens: number;
  /** So far. */
  completionTokens: number;
  /** Prompt tokens that came from the cache. */
  cachedTokens: number;
  /** Null while it runs. */
  finish: FinishReason | null;
  /** Milliseconds of `performance.now()`. */
  lastTokenAt: number | null;
  /** Milliseconds of `performance.now()`. */
  finishedAt: number | null;
}

/** Whose run it is. */
export interface RunOwner {
  /** Who may end it. */
  readonly owner: string;
  /** With whom it shares its part of the rows. */
  readonly client: string;
}

/** Generations that belong together. */
export class Run implements ActiveRun {
  /** Who may end it. */
  readonly owner: string;
  /** Milliseconds of `performance.now()`. */
  readonly startedAt: number = performance.now();
  /** In the order of prompts, then choices. */
  readonly states: readonly GenerationState[];
  readonly #service: Service;
  #queue: RunEvent[] = [];
  #open: number;
  #whole = false;
  #failed = false;
  #wake: (() => void) | null = null;
  #left = false;

  /** Submits everything at once. */
  constructor(
    service: Service,
    engine: ServedEngine,
    { owner, client }: RunOwner,
    prompts: readonly PromptRequest[],
  ) {
    this.#service = service;
    this.owner = owner;
    this.states = prompts.flatMap((prompt, index) =>
      prompt.params.map((params) => {
        const generation = engine.submit({ input: prompt.input, params, salt: prompt.salt, client });
        const state: GenerationState = {
          id: prompt.id,
          generation,
          prompt: index,
          promptTokens: 0,
          completionTokens: 0,
          cachedTokens: 0,
          finish: null,
          lastTokenAt: null,
          finishedAt: null,
        };
        generation.promptIds.then(
          (ids) => state.promptTokens = ids.length,
          () => {}, // The refusal also arrives as a finish, which is where it is handled.
        );
        return state;
      })
    );
    this.#open = this.states.length;
    service.enter(this);
    this.states.forEach((state, index) =>
      state.generation.follow((delta) => this.#receive(state, index, delta))
    );
  }

  /** Whether the client knows one of its generations by this id. */
  hasId(id: string): boolean {
    return this.states.some((state) => state.id === id);
  }

  /** Ends the generations with this id, or all; those that have ended stay as they are. */
  abort(id: string | null = null): void {
    for (const state of this.states) {
      if (state.finish === null && (id === null || state.id === id)) state.generation.abort();
    }
  }

  /**
   * Everything that comes, in order of arrival, until every generation has finished. `whole`: nothing before that.
   *
   * @throws {ApiError} when a generation fails; the others are aborted.
   */
  async *events(whole = false): AsyncGenerator<RunEvent> {
    this.#whole = whole;
    try {
      while (this.#open > 0 || this.#queue.length > 0) {
        if (!this.#readable) await new Promise<void>((resolve) => this.#wake = resolve);
        const events = this.#queue;
        this.#queue = [];
        for (const event of events) {
          if (event.delta.finish?.type === "error") throw errorOfFinish(event.delta.finish);
          yield event;
        }
      }
    } finally {
      this.abort();
      this.#leaveIfDone();
    }
  }

  /**
   * Prompt tokens count once per prompt, whatever the number of choices; a request that was aborted before its
   * prompt was encoded has none.
   *
   * @throws if a prompt was refused.
   */
  async usage(): Promise<Usage> {
    let promptTokens = 0, completionTokens = 0, cachedTokens = 0;
    let prompt = -1;
    for (const state of this.states) {
      completionTokens += state.completionTokens;
      if (state.prompt === prompt) continue;
      prompt = state.prompt;
      if (state.finish?.type !== "abort") state.promptTokens = (await state.generation.promptIds).length;
      promptTokens += state.promptTokens;
      cachedTokens += state.cachedTokens;
    }
    return {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      prompt_tokens_details: { cached_tokens: cachedTokens },
    };
  }

  #receive(state: GenerationState, index: number, delta: Delta): void {
    this.#measure(state, delta);
    this.#queue.push({ index, delta });
    if (delta.finish !== null) this.#open--;
    if (delta.finish?.type === "error") this.#failed = true;
    if (this.#wake !== null && this.#readable) {
      this.#wake();
      this.#wake = null;
    }
    if (delta.finish !== null) this.#leaveIfDone();
  }

  get #readable(): boolean {
    return this.#whole && !this.#failed ? this.#open === 0 : this.#queue.length > 0;
  }

  #measure(state: GenerationState, delta: Delta): void {
    const now = performance.now();
    const { metrics } = this.#service;
    const count = delta.tokens.length;
    state.cachedTokens = delta.cachedTokens;
    state.completionTokens += count;
    if (count > 0) {
      if (state.lastTokenAt === null) metrics.timeToFirstToken.observe((now - this.startedAt) / 1000);
      else metrics.interTokenLatency.observe((now - state.lastTokenAt) / 1000 / count, count);
      state.lastTokenAt = now;
    }
    if (delta.finish === null) return;
    state.finish = delta.finish;
    state.finishedAt = now;
    if (delta.finish.type !== "error") metrics.requestLatency.observe((now - this.startedAt) / 1000);
  }

  /** The request counts as running until the engine has let go of all of it. */
  #leaveIfDone(): void {
    if (this.#left || this.#open > 0) return;
    this.#left = true;
    this.#service.leave(this);
  }
}
