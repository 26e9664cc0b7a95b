// The engine as the rest of the program uses it: submit a request, iterate over its output. The CLI, the HTTP
// server and the benches all go through here; the model itself runs in the workers behind it.

import { basename } from "node:path";
import { type Completion, emptyDelta, Generation } from "./generation.ts";
import type { Delta, FromDetokenizer, FromTokenizer, PromptInput, RequestId } from "./messages.ts";
import { launch, type Launched } from "./launch.ts";
import { openModel } from "./model/open.ts";
import type { EngineOptions, ModelInfo, StartProgress } from "./options.ts";
import { EngineError, type FinishReason, type SamplingParams } from "./params.ts";
import type { SchedulerCounters } from "./scheduler/config.ts";
import { fewestTokens, tooLongMessage } from "./tokenizer/length_limit.ts";
import { type Job, type JobFailure, TokenizerQueue } from "./tokenizer/queue.ts";
import type { Fault } from "./workers/fault.ts";
import { Guardian } from "./workers/guardian.ts";
import type { TextWorkerName } from "./workers/text_workers.ts";
import type { Life } from "./workers/watchdog.ts";

export { type Completion, Generation };

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
  /** Silence of scheduler or executor that ends the engine, in seconds; 30 when absent. */
  readonly stallSeconds?: number;
  /** A start without any progress for so many seconds is given up; 600 when absent. */
  readonly startSilenceSeconds?: number;
  /** For tests: given what makes workers fail, as soon as there are workers. */
  readonly onWorkers?: (inject: (worker: string, fault: Fault) => void) => void;
}

/** What the engine has done about its workers and its queue since the start. */
export interface EngineStats {
  /** Times that a worker was started again. */
  readonly restarts: Readonly<Record<TextWorkerName, number>>;
  /** Requests and questions in front of the tokenizer. */
  readonly tokenizerQueue: number;
  /** What the tokenizer has done, and how long that took it. */
  readonly tokenized: number;
  /** Seconds. */
  readonly tokenizerSeconds: number;
}

/** Characters and ids that wait for the tokenizer at most. */
const mostWaitingText = 64 << 20;

/** A running engine. Dispose of it to end its workers. */
export class Engine implements AsyncDisposable {
  /** What was loaded, and onto what. */
  readonly model: ModelInfo;
  /** Why this device was chosen. */
  readonly deviceReason: string;
  /** Resolves with the reason when a worker has failed; never rejects. */
  readonly dead: Promise<Error>;
  readonly #launched: Launched;
  readonly #queue: TokenizerQueue;
  readonly #guardian: Guardian;
  readonly #mostRequests: number;
  readonly #budget: number;
  /** By the ids that the workers know. */
  readonly #generations = new Map<RequestId, Generation>();
  readonly #calls = new Map<number, (answer: FromTokenizer) => void>();
  #nextCall = 0;
  #failure: Error | null = null;

  private constructor(launched: Launched, model: ModelInfo, options: EngineOptions, stallSeconds: number) {
    this.#launched = launched;
    this.model = model;
    this.deviceReason = launched.executor.reason;
    this.dead = launched.dead;
    this.#mostRequests = options.maxQueuedRequests + launched.executor.maxRows;
    // Ten times what ordinary text of the context's length takes, and some for small contexts.
    this.#budget = 2_000 + model.contextLength / 25;
    this.#queue = new TokenizerQueue({
      mostWaiting: this.#mostRequests,
      mostText: mostWaitingText,
      budgetMilliseconds: this.#budget,
      send: (message) => launched.send(message),
      overdue: () => launched.text.restart("tokenizer", overdue),
    });
    launched.connect({
      fromTokenizer: (message) => this.#fromTokenizer(message),
      fromDetokenizer: (message) => this.#fromDetokenizer(message),
      lost: (worker, reason) => this.#lost(worker, reason),
      live: () => this.#live(),
      restored: (worker, lost, reason) => this.#restored(worker, lost, reason),
    });
    this.#guardian = new Guardian(launched, {
      stallSeconds,
      tokenizerBudget: () => this.#queue.length > 0 ? this.#budget / 1000 : 0,
    });
    void launched.dead.then((error) => this.#fail(error));
  }

  /** Opens the model, starts the workers, loads the weights. Rejects with a one-line reason. */
  static async start(options: EngineOptions, start: StartOptions = {}): Promise<Engine> {
    const model = await openModel(options.modelDir, { dummy: options.dummyWeights });
    const launched = await launch(model, options, {
      warmUp: start.warmUp ?? false,
      leaveDevices: start.leaveDevices ?? false,
      silenceMilliseconds: (start.startSilenceSeconds ?? 600) * 1000,
      onProgress: start.onProgress ?? (() => {}),
      ...(start.onWorkers ? { onWorkers: start.onWorkers } : {}),
    });
    const { executor, tokenizer } = launched;
    const { eosIds, ...generationDefaults } = model.generation;
    return new Engine(
      launched,
      {
        id: start.modelId ?? basename(options.modelDir),
        path: options.modelDir,
        config: model.config,
        contextLength: executor.contextLength,
        hasTokenizer: tokenizer.hasTokenizer,
        hasChatTemplate: tokenizer.chatTemplate !== null,
        chatTemplate: tokenizer.chatTemplate,
        templateProblem: tokenizer.templateProblem,
        eosIds,
        generationDefaults,
        device: executor.device,
        weightBytes: executor.weightBytes,
        rankWeightBytes: launched.rankWeightBytes,
        numPages: executor.numPages,
        pageSize: options.pageSize,
        maxRunningRequests: executor.maxRows,
        tp: options.tp,
      },
      options,
      start.stallSeconds ?? 30,
    );
  }

  /** "dead" once a worker has failed. */
  get health(): "ready" | "dead" {
    return this.#failure ? "dead" : "ready";
  }

  /** Whether all workers answer. */
  get life(): Life {
    return this.#guardian.life;
  }

  /** Restarts and the queue in front of the tokenizer. */
  get stats(): EngineStats {
    const { length, done, seconds } = this.#queue;
    const { restarts } = this.#launched.text;
    return { restarts, tokenizerQueue: length, tokenized: done, tokenizerSeconds: seconds };
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

  /** Generates for several prompts at once; results in the order of the prompts. */
  generate(inputs: readonly PromptInput[], params: SamplingParams): Promise<Completion[]> {
    return Promise.all(inputs.map((input) => this.submit({ input, params }).complete()));
  }

  /** Renders and encodes without generating. Rejects with an `EngineError`. */
  async encode(input: PromptInput, client = ""): Promise<{ ids: Uint32Array; rendered: string | null }> {
    const answer = await this.#ask(client, (call) => ({ type: "encode", call, input }));
    if (answer.type !== "encoded") throw new Error(`unexpected answer ${answer.type}`);
    return { ids: answer.ids, rendered: answer.rendered };
  }

  /** The text of token ids. Rejects with an `EngineError`. */
  async decode(ids: Uint32Array, skipSpecialTokens: boolean, client = ""): Promise<string> {
    const answer = await this.#ask(client, (call) => ({ type: "decode", call, ids, skipSpecialTokens }));
    if (answer.type !== "decoded") throw new Error(`unexpected answer ${answer.type}`);
    return answer.text;
  }

  /** The scheduler's counters; rejects when it is dead. */
  counters(): Promise<SchedulerCounters> {
    return this.#failure ? Promise.reject(this.#failure) : this.#launched.counters();
  }

  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean> {
    return this.#launched.flush();
  }

  /** Ends the workers; what still runs finishes as "unavailable". */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new Error("the engine has been shut down"));
    await this.#launched.close();
  }

  #problem(id: RequestId, input: PromptInput): JobFailure | null {
    const refuse = (code: JobFailure["code"], message: string) => ({ type: "error", code, message }) as const;
    if (this.#failure) return refuse("unavailable", this.#failure.message);
    if (this.#generations.has(id)) return refuse("invalid", `request id ${id} is in use`);
    const count = this.#generations.size;
    if (count >= this.#mostRequests) {
      return refuse("queue_full", `${count} requests wait or run already; try again later`);
    }
    const { contextLength } = this.model;
    const characters = textLength(input);
    const tokens = fewestTokens(characters, this.#launched.tokenizer.longestToken);
    if (tokens <= contextLength) return null;
    return refuse("too_long", tooLongMessage(`at least ${tokens} (${characters} characters)`, contextLength));
  }

  #abort(generation: Generation): void {
    if (this.#failure) return;
    if (this.#queue.remove(generation.wireId)) this.#end(generation, { type: "abort" });
    else this.#launched.send({ type: "abort", id: generation.wireId });
  }

  #ask(
    client: string,
    question: (call: number) => (Job & { type: "call" })["message"],
  ): Promise<FromTokenizer> {
    if (this.#failure) return Promise.reject(new EngineError("unavailable", this.#failure.message));
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

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
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
