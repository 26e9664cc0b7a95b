// The engine as the rest of the program uses it: submit a request, iterate over its output. The CLI, the HTTP
// server and the benches all go through here; the model itself runs in the workers behind it.

import { basename } from "node:path";
import type { Completion, GenerateRequest, Generation } from "./generation.ts";
import { launch, type Launched } from "./launch.ts";
import type { PromptInput } from "./messages.ts";
import { openModel } from "./model/open.ts";
import type { EngineOptions, ModelInfo, StartOptions } from "./options.ts";
import type { SamplingParams } from "./params.ts";
import type { SchedulerCounters, SchedulerState } from "./scheduler/config.ts";
import { spareRows } from "./workers/fairness.ts";
import { type EngineStats, Requests } from "./workers/requests.ts";
import type { Life } from "./workers/watchdog.ts";

export type { Completion, EngineStats, GenerateRequest, Generation, StartOptions };

/** A running engine. Dispose of it to end its workers. */
export class Engine implements AsyncDisposable {
  /** What was loaded, and onto what. */
  readonly model: ModelInfo;
  /** Why this device was chosen. */
  readonly deviceReason: string;
  /** Resolves with the reason when a worker has failed; never rejects. */
  readonly dead: Promise<Error>;
  readonly #launched: Launched;
  readonly #requests: Requests;

  private constructor(launched: Launched, model: ModelInfo, options: EngineOptions, stallSeconds: number) {
    this.#launched = launched;
    this.model = model;
    this.deviceReason = launched.executor.reason;
    this.dead = launched.dead;
    this.#requests = new Requests(launched, {
      contextLength: model.contextLength,
      mostRequests: options.maxQueuedRequests + launched.executor.maxRows,
      stallSeconds,
    });
  }

  /** Opens the model, starts the workers, loads the weights. Rejects with a one-line reason. */
  static async start(options: EngineOptions, start: StartOptions = {}): Promise<Engine> {
    const model = await openModel(options.modelDir, { dummy: options.dummyWeights });
    const launched = await launch(model, options, start);
    const { executor, tokenizer } = launched;
    const { eosIds, ...generationDefaults } = model.generation;
    const info: ModelInfo = {
      ...tokenizer,
      ...executor,
      id: start.modelId ?? basename(options.modelDir),
      path: options.modelDir,
      config: model.config,
      hasChatTemplate: tokenizer.chatTemplate !== null,
      eosIds,
      generationDefaults,
      embedding: model.embedding,
      rankWeightBytes: launched.rankWeightBytes,
      maxRunningRequests: executor.maxRows - spareRows,
      kvDType: options.kvDType,
      tp: options.tp,
    };
    return new Engine(launched, info, options, start.stallSeconds ?? 30);
  }

  /** "dead" once a worker has failed that is not started again. */
  get health(): "ready" | "dead" {
    return this.#requests.failure ? "dead" : "ready";
  }

  /** Whether all workers answer. */
  get life(): Life {
    return this.#requests.life;
  }

  /** Restarts and the queue in front of the tokenizer. */
  get stats(): EngineStats {
    return this.#requests.stats;
  }

  /** Starts a generation. Faults of the request arrive as its finish; this never throws for them. */
  submit(request: GenerateRequest): Generation {
    return this.#requests.submit(request);
  }

  /** Generates for several prompts at once; results in the order of the prompts. */
  generate(inputs: readonly PromptInput[], params: SamplingParams): Promise<Completion[]> {
    return Promise.all(inputs.map((input) => this.submit({ input, params }).complete()));
  }

  /** Renders and encodes without generating. Rejects with an `EngineError`. */
  async encode(input: PromptInput, client = ""): Promise<{ ids: Uint32Array; rendered: string | null }> {
    const answer = await this.#requests.ask(client, (call) => ({ type: "encode", call, input }));
    if (answer.type !== "encoded") throw new Error(`unexpected answer ${answer.type}`);
    return { ids: answer.ids, rendered: answer.rendered };
  }

  /** The text of token ids. Rejects with an `EngineError`. */
  async decode(ids: Uint32Array, skipSpecialTokens: boolean, client = ""): Promise<string> {
    const answer = await this.#requests.ask(
      client,
      (call) => ({ type: "decode", call, ids, skipSpecialTokens }),
    );
    if (answer.type !== "decoded") throw new Error(`unexpected answer ${answer.type}`);
    return answer.text;
  }

  /** The scheduler's counters; rejects when it is dead. */
  async counters(): Promise<SchedulerCounters> {
    const { failure } = this.#requests;
    if (failure) throw failure;
    return (await this.#launched.counters()).counters;
  }

  /** What each request is doing and which prefixes are shared, for people to look at. Rejects when it is dead. */
  inspect(): Promise<SchedulerState> {
    const { failure } = this.#requests;
    return failure ? Promise.reject(failure) : this.#launched.inspect();
  }

  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean> {
    return this.#launched.flush();
  }

  /** Ends the workers; what still runs finishes as "unavailable". */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#requests.fail(new Error("the engine has been shut down"));
    await this.#launched.close();
  }
}
