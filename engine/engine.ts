// The engine as the rest of the program uses it: submit a request, iterate over its output. The CLI, the HTTP
// server and the benches all go through here; the model itself runs in the workers behind it.

import { basename } from "node:path";
import { launch, type Launched } from "./launch.ts";
import type {
  Delta,
  FromDetokenizer,
  FromTokenizer,
  PromptInput,
  RequestId,
  ToTokenizer,
} from "./messages.ts";
import { openModel } from "./model/open.ts";
import type { EngineOptions, ModelInfo, StartProgress } from "./options.ts";
import type { FinishReason, SamplingParams } from "./params.ts";
import type { SchedulerCounters } from "./scheduler/config.ts";

/** One generation to do; parameters are complete and within bounds (checked at the edge). */
export interface GenerateRequest {
  /** What is to be continued. */
  readonly input: PromptInput;
  /** How to sample, and when to end. */
  readonly params: SamplingParams;
  /** Separates cached prefixes of tenants; requests with equal salts share. */
  readonly salt?: string;
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
}

/** How an engine is started. */
export interface StartOptions {
  /** Name for clients; the directory's name when absent. */
  readonly modelId?: string;
  /** Compile everything before the first request (for a server). */
  readonly warmUp?: boolean;
  /** Told how far starting is. */
  readonly onProgress?: (progress: StartProgress) => void;
  /** The process exits when this engine is disposed of: devices are left to the exit (see `launch`). */
  readonly leaveDevices?: boolean;
}

/** A request in progress: iterate over its deltas, the last of which has a `finish`. Iterate once. */
export class Generation implements AsyncIterable<Delta> {
  /** The request's id, unique in the engine. */
  readonly id: RequestId;
  /** The prompt's token ids; rejects if the prompt was refused. */
  readonly promptIds: Promise<Uint32Array>;
  readonly #prompt = Promise.withResolvers<Uint32Array>();
  readonly #abort: () => void;
  #waiting: Delta[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  #accepted = false;

  /** @ignore Made by `Engine.submit`. */
  constructor(id: RequestId, abort: () => void) {
    this.id = id;
    this.#abort = abort;
    this.promptIds = this.#prompt.promise;
    this.promptIds.catch(() => {}); // asked for or not
  }

  /** Ends the request; a last delta with finish "abort" follows unless it has ended already. */
  abort(): void {
    if (!this.#ended) this.#abort();
  }

  /** @ignore */
  accept(promptIds: Uint32Array): void {
    this.#accepted = true;
    this.#prompt.resolve(promptIds);
  }

  /** @ignore Nothing more will come: prompt and end are known, or the request was refused. */
  get settled(): boolean {
    return this.#ended && this.#accepted;
  }

  /** @ignore */
  push(delta: Delta): void {
    if (this.#ended) return;
    if (delta.finish) {
      this.#ended = true;
      if (delta.finish.type === "error") {
        this.#accepted = true;
        this.#prompt.reject(new Error(delta.finish.message)); // no effect once accepted
      }
    }
    this.#waiting.push(delta);
    this.#wake?.();
    this.#wake = null;
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
    let finish: FinishReason = { type: "abort" };
    const tokens: number[] = [];
    for await (const delta of this) {
      text += delta.text;
      tokens.push(...delta.tokens);
      cachedTokens = delta.cachedTokens;
      if (delta.finish) finish = delta.finish;
    }
    const promptIds = await this.promptIds.catch(() => new Uint32Array());
    return { text, promptIds, tokens, cachedTokens, finish };
  }
}

/** An error's finish, as a delta without output. */
function failure(id: RequestId, finish: FinishReason & { type: "error" }): Delta {
  return { id, text: "", tokens: [], logprobs: null, promptLogprobs: null, cachedTokens: 0, finish };
}

/** A running engine. Dispose of it to end its workers. */
export class Engine implements AsyncDisposable {
  /** What was loaded, and onto what. */
  readonly model: ModelInfo;
  /** Why this device was chosen. */
  readonly deviceReason: string;
  /** Resolves with the reason when a worker has failed; never rejects. */
  readonly dead: Promise<Error>;
  readonly #launched: Launched;
  readonly #generations = new Map<RequestId, Generation>();
  readonly #calls = new Map<number, { resolve: (m: FromTokenizer) => void; reject: (e: Error) => void }>();
  #nextCall = 0;
  #failure: Error | null = null;

  private constructor(launched: Launched, model: ModelInfo) {
    this.#launched = launched;
    this.model = model;
    this.deviceReason = launched.executor.reason;
    this.dead = launched.dead;
    launched.toTokenizer.onmessage = ({ data }: MessageEvent<FromTokenizer>) => this.#fromTokenizer(data);
    launched.fromDetokenizer.onmessage = ({ data }: MessageEvent<FromDetokenizer>) => {
      for (const delta of data.deltas) this.#deliver(delta);
    };
    void launched.dead.then((error) => this.#fail(error));
  }

  /** Opens the model, starts the workers, loads the weights. Rejects with a one-line reason. */
  static async start(options: EngineOptions, start: StartOptions = {}): Promise<Engine> {
    const model = await openModel(options.modelDir, { dummy: options.dummyWeights });
    const launched = await launch(model, options, {
      warmUp: start.warmUp ?? false,
      leaveDevices: start.leaveDevices ?? false,
    }, start.onProgress ?? (() => {}));
    const { executor, tokenizer } = launched;
    const { eosIds, ...generationDefaults } = model.generation;
    return new Engine(launched, {
      id: start.modelId ?? basename(options.modelDir),
      path: options.modelDir,
      config: model.config,
      contextLength: executor.contextLength,
      hasTokenizer: tokenizer.hasTokenizer,
      hasChatTemplate: tokenizer.chatTemplate !== null,
      chatTemplate: tokenizer.chatTemplate,
      eosIds,
      generationDefaults,
      device: executor.device,
      weightBytes: executor.weightBytes,
      rankWeightBytes: launched.rankWeightBytes,
      numPages: executor.numPages,
      pageSize: options.pageSize,
      maxRunningRequests: executor.maxRows,
      tp: options.tp,
    });
  }

  /** "dead" once a worker has failed. */
  get health(): "ready" | "dead" {
    return this.#failure ? "dead" : "ready";
  }

  /** Starts a generation. Faults of the request arrive as its finish; this never throws for them. */
  submit(request: GenerateRequest): Generation {
    const id = request.id ?? crypto.randomUUID();
    const generation = new Generation(id, () => this.#send({ type: "abort", id }));
    if (this.#failure) {
      generation.push(failure(id, { type: "error", code: "unavailable", message: this.#failure.message }));
      return generation;
    }
    if (this.#generations.has(id)) {
      generation.push(failure(id, { type: "error", code: "invalid", message: `request id ${id} is in use` }));
      return generation;
    }
    this.#generations.set(id, generation);
    const { input, params, signal } = request;
    this.#send({ type: "generate", id, input, params, salt: request.salt ?? "" });
    if (signal?.aborted) generation.abort();
    else signal?.addEventListener("abort", () => generation.abort(), { once: true });
    return generation;
  }

  /** Generates for several prompts at once; results in the order of the prompts. */
  generate(inputs: readonly PromptInput[], params: SamplingParams): Promise<Completion[]> {
    return Promise.all(inputs.map((input) => this.submit({ input, params }).complete()));
  }

  /** Renders and encodes without generating. */
  async encode(input: PromptInput): Promise<{ ids: Uint32Array; rendered: string | null }> {
    const answer = await this.#ask((call) => ({ type: "encode", call, input }));
    if (answer.type !== "encoded") throw new Error(`unexpected answer ${answer.type}`);
    return { ids: answer.ids, rendered: answer.rendered };
  }

  /** The text of token ids. */
  async decode(ids: Uint32Array, skipSpecialTokens: boolean): Promise<string> {
    const answer = await this.#ask((call) => ({ type: "decode", call, ids, skipSpecialTokens }));
    if (answer.type !== "decoded") throw new Error(`unexpected answer ${answer.type}`);
    return answer.text;
  }

  /** The scheduler's counters; rejects when it is dead. */
  counters(): Promise<SchedulerCounters> {
    return this.#launched.counters();
  }

  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean> {
    return this.#launched.flush();
  }

  /** Resolves when scheduler and every rank have answered; rejects when one is dead. */
  async ping(): Promise<void> {
    await Promise.all([this.#launched.counters(), this.#launched.ping()]);
  }

  /** Ends the workers; what still runs finishes as "unavailable". */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new Error("the engine has been shut down"));
    await this.#launched.close();
  }

  #send(message: ToTokenizer): void {
    if (!this.#failure) this.#launched.toTokenizer.postMessage(message);
  }

  #ask(question: (call: number) => ToTokenizer): Promise<FromTokenizer> {
    if (this.#failure) return Promise.reject(this.#failure);
    const call = this.#nextCall++;
    const { promise, resolve, reject } = Promise.withResolvers<FromTokenizer>();
    this.#calls.set(call, { resolve, reject });
    this.#send(question(call));
    return promise;
  }

  #fromTokenizer(message: FromTokenizer): void {
    switch (message.type) {
      case "accepted": {
        // Usually before the first delta; but that comes another way, and may be faster.
        const generation = this.#generations.get(message.id);
        generation?.accept(message.promptIds);
        if (generation?.settled) this.#generations.delete(message.id);
        return;
      }
      case "rejected":
        this.#deliver(failure(message.id, message.finish));
        return;
      case "encoded":
      case "decoded":
      case "failed": {
        const waiting = this.#calls.get(message.call);
        this.#calls.delete(message.call);
        if (message.type === "failed") waiting?.reject(new Error(message.message));
        else waiting?.resolve(message);
      }
    }
  }

  #deliver(delta: Delta): void {
    const generation = this.#generations.get(delta.id);
    generation?.push(delta);
    if (generation?.settled) this.#generations.delete(delta.id);
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    const finish = { type: "error", code: "unavailable", message: error.message } as const;
    for (const generation of this.#generations.values()) generation.push(failure(generation.id, finish));
    this.#generations.clear();
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}
