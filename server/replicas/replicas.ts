// Several engines with one face: what `radish serve --dp n` serves. Each engine is whole — tokenizer, scheduler, ranks,
// cache — and knows nothing of the others. A request goes to the one that has probably cached most of its prompt
// (policy.ts); a dead engine gets none, is missed by none but the requests that it had begun to answer, and is started
// again (replica.ts) as long as another one lives. When none does, the process has nothing to lose by ending.

import type { EngineStats, GenerateRequest } from "../../engine/engine.ts";
import type { PromptInput } from "../../engine/messages.ts";
import type { ModelInfo } from "../../engine/options.ts";
import type { SchedulerCounters, SchedulerState } from "../../engine/scheduler/config.ts";
import type { Life } from "../../engine/workers/watchdog.ts";
import type { Generation, ServedEngine } from "../http/engine_api.ts";
import { addStats, joinStates, sumCounters } from "./counters.ts";
import { type Attempt, RoutedGeneration } from "./generation.ts";
import { chooseReplica, defaultRouting, type RoutingOptions } from "./policy.ts";
import { prefixKey } from "./prefix_key.ts";
import { Replica, type ReplicaEngine, type Restarting } from "./replica.ts";

/** Engines that share the work. Disposing of it ends them all. */
export class Replicas implements ServedEngine, AsyncDisposable {
  /** In the order of their dp_rank. */
  readonly replicas: readonly Replica[];
  /** Resolves when no engine lives, with the last one's reason; never rejects. */
  readonly dead: Promise<Error>;
  readonly #dead = Promise.withResolvers<Error>();
  readonly #routing: RoutingOptions;

  /** Takes over running engines of one model, at least one; without `restarting` a dead one stays dead. */
  constructor(
    engines: readonly ReplicaEngine[],
    routing: Partial<RoutingOptions> = {},
    restarting: Restarting | null = null,
  ) {
    this.dead = this.#dead.promise;
    this.#routing = { ...defaultRouting, ...routing };
    this.replicas = engines.map((engine, rank) =>
      new Replica(rank, engine, restarting, (rank, reason) => this.#lost(rank, reason))
    );
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
    const lives = this.#living().map(({ life }) => life);
    return lives.find(({ state }) => state === "ok") ?? lives.find(({ state }) => state === "busy") ??
      lives[0] ?? this.replicas[0]!.life;
  }

  /** Of all together. */
  get stats(): EngineStats {
    return addStats(this.replicas.map(({ stats }) => stats));
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

  /** Of all, dead ones with what they had counted; rejects if none lives. */
  async counters(): Promise<SchedulerCounters> {
    return sumCounters(await this.#each(this.replicas, (replica) => replica.counters()));
  }

  /** Of all, dead ones with what they had counted; rejects if none lives. */
  async inspect(): Promise<SchedulerState> {
    return joinStates(await this.#each(this.replicas, (replica) => replica.inspect()));
  }

  /** False while one of them has requests; the others are emptied all the same. */
  async flush(): Promise<boolean> {
    return (await this.#each(this.#living(), (replica) => replica.flush())).every((done) => done);
  }

  /** Ends all. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica[Symbol.asyncDispose]()));
  }

  #lost(rank: number, reason: Error): void {
    if (this.health === "ready") return;
    for (const replica of this.replicas) replica.stop();
    this.#dead.resolve(new Error(`replica ${rank}, the last: ${reason.message}`));
  }

  #start(replica: Replica, request: GenerateRequest, key: Uint32Array): Attempt {
    replica.tree.insert(key);
    replica.load++;
    return {
      generation: replica.submit(request),
      failed: (finish) =>
        finish.type === "error" && (finish.code === "queue_full" || replica.health === "dead"),
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
    return this.replicas[chooseReplica(candidates, key.length, this.#routing)]!;
  }

  #living(): readonly Replica[] {
    return this.replicas.filter(({ health }) => health === "ready");
  }

  /** Those that answer; else those that live; else all, to say why there is none. */
  #usable(): readonly Replica[] {
    const living = this.#living();
    const answering = living.filter(({ life }) => life.state !== "unresponsive");
    return [answering, living, this.replicas].find((some) => some.length > 0)!;
  }

  /** A question that any can answer: to the one with the shortest queue, and if that one dies, to the next. */
  async #ask<T>(question: (replica: Replica) => Promise<T>): Promise<T> {
    const queue = ({ stats }: Replica) => stats.tokenizerQueue;
    const replica = [...this.#usable()].sort((a, b) => queue(a) - queue(b))[0]!;
    try {
      return await question(replica);
    } catch (error) {
      if (replica.health === "ready" || this.health === "dead") throw error;
      return await this.#ask(question);
    }
  }

  /** The answers of all of some that go on living; rejects if no replica lives. */
  async #each<T>(some: readonly Replica[], question: (replica: Replica) => Promise<T>): Promise<T[]> {
    if (this.health === "dead") throw await this.dead;
    const asked = await Promise.allSettled(some.map(question));
    const given = asked.flatMap((answer) => answer.status === "fulfilled" ? [answer.value] : []);
    const refusal = asked.find((answer) => answer.status === "rejected");
    if (given.length === 0 && refusal !== undefined) throw refusal.reason;
    return given;
  }
}
