// What all handlers share: the engine (once it is there), the settings, the requests in flight, and whether the
// server is loading, ready, draining or dead.

import type { ServedEngine } from "./engine_api.ts";
import { EngineError } from "../../engine/workers/engine_error.ts";
import { ApiError, errorOfFinish } from "./errors.ts";
import { type ModelTask, modelTask } from "./model_task.ts";
import { ServerMetrics } from "./metrics_store.ts";
import type { ServerOptions } from "./options.ts";
import type { Listener } from "./listener.ts";
import { TurnEnd } from "./turn_end.ts";

/** The generations of a request, as long as they run. */
export interface ActiveRun {
  /** Who may end it. */
  readonly owner: string;
  /** Whether the client knows one of its generations by this id. */
  hasId(id: string): boolean;
  /** Ends the generations with this id, or all. */
  abort(id: string | null): void;
}

/** "draining" finishes what runs and takes nothing new. */
export type ServiceState = "loading" | "ready" | "draining" | "dead";

/** What all routes share: the engine once it is there, requests that run, the state. */
export class Service {
  /** How the server behaves. */
  readonly options: ServerOptions;
  /** Measurements for GET /metrics. */
  readonly metrics: ServerMetrics = new ServerMetrics();
  /** Seconds since 1970 at the start: the `created` of the model. */
  readonly started: number = Math.floor(Date.now() / 1000);
  /** When streams write what they have been given. */
  readonly turnEnd: TurnEnd = new TurnEnd();
  /** The sockets, where there are any. */
  listener: Listener | null = null;
  #engine: ServedEngine | null = null;
  #failure: Error | null = null;
  #draining = false;
  readonly #runs = new Set<ActiveRun>();
  #whenIdle: (() => void)[] = [];

  /**
   * Waits for the engine.
   * @param engine The engine, or its start; until that is done every request for it is a 503.
   */
  constructor(engine: ServedEngine | Promise<ServedEngine>, options: ServerOptions) {
    this.options = options;
    if (engine instanceof Promise) {
      engine.then((started) => this.#ready(started), (error: unknown) => this.#fail(error));
    } else {
      this.#ready(engine);
    }
  }

  #ready(engine: ServedEngine): void {
    this.#engine = engine;
    engine.dead.then((error) => this.#fail(error), (error: unknown) => this.#fail(error));
  }

  #fail(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(String(error));
  }

  /** What `/health` answers by. */
  get state(): ServiceState {
    if (this.#failure !== null || this.#engine?.health === "dead") return "dead";
    if (this.#engine === null) return "loading";
    return this.#draining ? "draining" : "ready";
  }

  /** The engine, for questions that make no new work. @throws {ApiError} 503 while loading or when dead. */
  get engine(): ServedEngine {
    const state = this.state;
    if (this.#engine === null || state === "dead") throw this.#unavailable(state);
    return this.#engine;
  }

  /** The engine, for new work. @throws {ApiError} 503 unless ready. */
  get readyEngine(): ServedEngine {
    const state = this.state;
    if (this.#engine === null || state !== "ready") throw this.#unavailable(state);
    return this.#engine;
  }

  #unavailable(state: ServiceState): ApiError {
    switch (state) {
      case "loading":
        return new ApiError(503, "the model is still loading", { code: "loading" });
      case "draining":
        return new ApiError(503, "the server is shutting down", { code: "draining" });
      case "dead": {
        const reason = this.#failure?.message ?? "a worker ended";
        return new ApiError(503, `the engine stopped: ${reason}`, { code: "engine_dead" });
      }
      case "ready":
        return new ApiError(503, "the server is not ready", { code: "unavailable" });
    }
  }

  /**
   * An answer of the engine to a question that a request asks.
   *
   * @throws {ApiError} with the status of what the engine says: 400 where the request is at fault.
   */
  async ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (this.state === "dead") throw this.#unavailable("dead");
      if (error instanceof EngineError) {
        throw errorOfFinish({ type: "error", code: error.code, message: error.message });
      }
      throw error;
    }
  }

  /** Names under which clients may ask for the model; the first is the one reported. */
  get modelNames(): readonly string[] {
    const { id, path } = this.engine.model;
    const own = this.options.servedModelName;
    return [...new Set(own === null ? [id, path, "default"] : [own, id, path, "default"])];
  }

  /** The served model's name. */
  get modelName(): string {
    return this.modelNames[0]!;
  }

  /** What the served model is for. */
  get task(): ModelTask {
    return modelTask(this.engine.model, this.options.task);
  }

  /** Requests that generate. */
  get runningRequests(): number {
    return this.#runs.size;
  }

  /** A request begins to generate. */
  enter(run: ActiveRun): void {
    this.#runs.add(run);
  }

  /** A request has ended. */
  leave(run: ActiveRun): void {
    this.#runs.delete(run);
    if (this.#runs.size > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Ends the owner's requests with this id, or all that are the owner's; returns how many there were. */
  abort(id: string | null, owner: string): number {
    const chosen = [...this.#runs].filter((run) => run.owner === owner && (id === null || run.hasId(id)));
    for (const run of chosen) run.abort(id);
    return chosen.length;
  }

  /** Ends all requests. */
  abortAll(): void {
    for (const run of [...this.#runs]) run.abort(null);
  }

  /** Refuses new work from now on; resolves when what runs has ended. */
  drain(): Promise<void> {
    this.#draining = true;
    if (this.#runs.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }
}
