// What all handlers share: the engine (once it is there), the settings, the requests in flight, and whether the
// server is loading, ready, draining or dead.

import type { ServedEngine } from "./engine_api.ts";
import { ApiError } from "./errors.ts";
import { ServerMetrics } from "./metrics_store.ts";
import type { ServerOptions } from "./options.ts";
import type { Run } from "./run.ts";

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
  #engine: ServedEngine | null = null;
  #failure: Error | null = null;
  #draining = false;
  readonly #runs = new Set<Run>();
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
   * @throws {ApiError} 503 if the engine is dead; else 400, for what it refuses is the request's fault.
   */
  async ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (this.state === "dead") throw this.#unavailable("dead");
      throw new ApiError(400, error instanceof Error ? error.message : String(error), {
        code: "invalid_value",
      });
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

  /** Requests that generate. */
  get runningRequests(): number {
    return this.#runs.size;
  }

  /** A request begins to generate. */
  enter(run: Run): void {
    this.#runs.add(run);
  }

  /** A request has ended. */
  leave(run: Run): void {
    this.#runs.delete(run);
    if (this.#runs.size > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  /** Ends the requests with this id, or all of them; returns how many there were. */
  abort(id: string | null): number {
    const chosen = [...this.#runs].filter((run) => id === null || run.hasId(id));
    for (const run of chosen) run.abort(id);
    return chosen.length;
  }

  /** Refuses new work from now on; resolves when what runs has ended. */
  drain(): Promise<void> {
    this.#draining = true;
    if (this.#runs.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }
}
