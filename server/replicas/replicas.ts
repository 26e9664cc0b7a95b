// Several engines with one face: what `radish serve --dp n` serves. Each engine is whole — tokenizer, scheduler, ranks,
// cache — and knows nothing of the others. A request goes to the one that has probably cached most of its prompt
// (policy.ts); a dead engine gets none, and is missed by none but the requests that it had begun to answer.

import type { EngineStats, GenerateRequest } from "../../engine/engine.ts";
import type { PromptInput } from "../../engine/messages.ts";
import type { ModelInfo } from "../../engine/options.ts";
import type { SchedulerCounters, SchedulerState } from "../../engine/scheduler/config.ts";
import type { Life } from "../../engine/workers/watchdog.ts";
import type { Generation, ServedEngine } from "../http/engine_api.ts";
import { joinStates, sumCounters, sumStats } from "./counters.ts";
import { type Attempt, RoutedGeneration } from "./generation.ts";
import { chooseReplica, defaultRouting, type RoutingOptions } from "./policy.ts";
import { blockTokens, prefixKey } from "./prefix_key.ts";
import { RoutingTree } from "./routing_tree.ts";

/** An engine that can be ended. */
export interface ReplicaEngine extends ServedEngine, AsyncDisposable {
  /** Why this device was chosen. */
  readonly deviceReason: string;
}

interface Replica {
  readonly rank: number;
  readonly engine: ReplicaEngine;
  readonly tree: RoutingTree;
  /** Requests that have not ended. */
  load: number;
}

/** Blocks that a routing tree remembers for every block of tokens in the cache: text has more of them. */
export const treeBlocksPerCached = 4;

/** Engines that share the work. Disposing of it ends them all. */
export class Replicas implements ServedEngine, AsyncDisposable {
  /** The engines, in the order of their dp_rank. */
  readonly replicas: readonly ReplicaEngine[];
  /** Resolves when all are dead, with the last one's reason; never rejects. */
  readonly dead: Promise<Error>;
  readonly #replicas: readonly Replica[];
  readonly #routing: RoutingOptions;

  /** Takes over running engines of one model, at least one. */
  constructor(engines: readonly ReplicaEngine[], routing: Partial<RoutingOptions> = {}) {
    this.replicas = engines;
    this.#routing = { ...defaultRouting, ...routing };
    this.#replicas = engines.map((engine, rank) => {
      const cachedBlocks = Math.ceil(engine.model.numPages * engine.model.pageSize / blockTokens);
      return { rank, engine, tree: new RoutingTree(treeBlocksPerCached * cachedBlocks), load: 0 };
    });
    const deaths = engines.map((engine, rank) =>
      engine.dead.then((reason) => new Error(`replica ${rank}, the last: ${reason.message}`))
    );
    this.dead = lastOf(deaths);
  }

  /** What each of them serves. */
  get model(): ModelInfo {
    return this.replicas[0]!.model;
  }

  /** The first one's. */
  get deviceReason(): string {
    return this.replicas[0]!.deviceReason;
  }

  /** "dead" once all are. */
  get health(): "ready" | "dead" {
    return this.replicas.some(({ health }) => health === "ready") ? "ready" : "dead";
  }

  /** The best of the living: as long as one answers, requests can be served. */
  get life(): Life {
    const lives = this.#living().map(({ engine }) => engine.life);
    return lives.find(({ state }) => state === "ok") ?? lives.find(({ state }) => state === "busy") ??
      lives[0] ?? this.replicas[0]!.life;
  }

  /** Of all together. */
  get stats(): EngineStats {
    return sumStats(this.replicas.map(({ stats }) => stats));
  }

  /** Starts a generation where its prefix is cached. */
  submit(request: GenerateRequest): Generation {
    const id = request.id ?? crypto.randomUUID();
    const key = prefixKey(request.input, request.salt);
    const start = (replica: Replica) => this.#start(replica, { ...request, id }, key);
    const chosen = this.#choose(this.#usable(), key);
    return new RoutedGeneration(id, start(chosen), () => {
      const others = this.#usable().filter((replica) => replica !== chosen);
      return others.length > 0 ? start(this.#choose(others, key)) : null;
    });
  }

  /** By the tokenizer with the shortest queue. */
  encode(
    input: PromptInput,
    client?: string,
  ): Promise<{ readonly ids: Uint32Array; readonly rendered: string | null }> {
    return this.#ask((engine) => engine.encode(input, client));
  }

  /** By the tokenizer with the shortest queue. */
  decode(ids: Uint32Array, skipSpecialTokens: boolean, client?: string): Promise<string> {
    return this.#ask((engine) => engine.decode(ids, skipSpecialTokens, client));
  }

  /** Of all that live; rejects if none does. */
  async counters(): Promise<SchedulerCounters> {
    return sumCounters(await this.#each((engine) => engine.counters()));
  }

  /** Of all that live; rejects if none does. */
  async inspect(): Promise<SchedulerState> {
    return joinStates(await this.#each((engine) => engine.inspect()));
  }

  /** False while one of them has requests; the others are emptied all the same. */
  async flush(): Promise<boolean> {
    return (await this.#each((engine) => engine.flush())).every((done) => done);
  }

  /** Ends all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map((engine) => engine[Symbol.asyncDispose]()));
  }

  #start(replica: Replica, request: GenerateRequest, key: Uint32Array): Attempt {
    replica.tree.insert(key);
    replica.load++;
    return {
      generation: replica.engine.submit(request),
      failed: (finish) =>
        finish.type === "error" && (finish.code === "queue_full" || replica.engine.health === "dead"),
      ended: () => replica.load--,
    };
  }

  #choose(from: readonly Replica[], key: Uint32Array): Replica {
    const candidates = from.map(({ rank, load, tree }) => ({
      rank,
      load,
      matched: tree.match(key),
      size: tree.size,
    }));
    return this.#replicas[chooseReplica(candidates, key.length, this.#routing)]!;
  }

  #living(): readonly Replica[] {
    return this.#replicas.filter(({ engine }) => engine.health === "ready");
  }

  /** Those that answer; else those that live; else all, to say why there is none. */
  #usable(): readonly Replica[] {
    const living = this.#living();
    const answering = living.filter(({ engine }) => engine.life.state !== "unresponsive");
    return [answering, living, this.#replicas].find((some) => some.length > 0)!;
  }

  /** A question that any can answer: to the one with the shortest queue, and if that one dies, to the next. */
  async #ask<T>(question: (engine: ServedEngine) => Promise<T>): Promise<T> {
    const queue = ({ engine }: Replica) => engine.stats.tokenizerQueue;
    const { engine } = [...this.#usable()].sort((a, b) => queue(a) - queue(b))[0]!;
    try {
      return await question(engine);
    } catch (error) {
      if (engine.health === "ready" || this.health === "dead") throw error;
      return await this.#ask(question);
    }
  }

  /** The answers of all that live and go on living; rejects if there is none. */
  async #each<T>(question: (engine: ServedEngine) => Promise<T>): Promise<T[]> {
    const some = this.#living().length > 0 ? this.#living() : this.#replicas;
    const answers = await Promise.allSettled(some.map(({ engine }) => question(engine)));
    const given = answers.flatMap((answer) => answer.status === "fulfilled" ? [answer.value] : []);
    const refusal = answers.find((answer) => answer.status === "rejected");
    if (given.length === 0 && refusal !== undefined) throw refusal.reason;
    return given;
  }
}

/** What the last of several promises to resolve resolves with. */
function lastOf<T>(promises: readonly Promise<T>[]): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  let open = promises.length;
  for (const each of promises) void each.then((value) => --open === 0 && resolve(value));
  return promise;
}
