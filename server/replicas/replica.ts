// One place in a fleet: an engine, and another one when that has died.
//
// A dead engine is ended, its devices are given back, and after a pause a new one is started there; pauses double, and
// after several deaths in a row the place is given up. What the place counts goes on through all its engines: of one
// that has died it keeps what was heard last, so a total never goes down.

import type { EngineStats, GenerateRequest } from "../../engine/engine.ts";
import type { PromptInput } from "../../engine/messages.ts";
import type { ModelInfo } from "../../engine/options.ts";
import type { SchedulerCounters, SchedulerState } from "../../engine/scheduler/config.ts";
import { withDeadline } from "../../engine/workers/deadline.ts";
import type { Life } from "../../engine/workers/watchdog.ts";
import type { Generation, ServedEngine, ServedReplica } from "../http/engine_api.ts";
import { addStats, addTotals, atRest, largerTotals } from "./counters.ts";
import { blockTokens } from "./prefix_key.ts";
import { RoutingTree } from "./routing_tree.ts";

/** An engine that can be ended. */
export interface ReplicaEngine extends ServedEngine, AsyncDisposable {
  /** Why this device was chosen. */
  readonly deviceReason: string;
}

/** How a dead replica comes back. */
export interface Restarting {
  /** Another engine in the place of the dead one. */
  start(rank: number): Promise<ReplicaEngine>;
  /** Ends a dead engine and gives its devices back. */
  release(engine: ReplicaEngine): Promise<void>;
  /** Told what happens, for people. */
  note(text: string): void;
  /** Restarts in a row, each soon after the one before, until the place is given up; 5 when absent. */
  readonly most?: number;
  /** Before the first restart; each further one waits twice as long, up to a minute. A second when absent. */
  readonly pauseMilliseconds?: number;
}

const longestPause = 60_000;
/** An engine that has lived so long did not die of being started. */
const goodLife = 600_000;
/** Blocks that a routing tree remembers for every block of tokens in the cache: text has more of them. */
export const treeBlocksPerCached = 4;

/** A replica, whichever engine it has at the moment. */
export class Replica implements ServedReplica, AsyncDisposable {
  /** Its dp_rank. */
  readonly rank: number;
  /** Requests that have not ended. */
  load = 0;
  /** Times that another engine was started here. */
  restarts = 0;
  readonly #restarting: Restarting | null;
  readonly #onDeath: (rank: number, reason: Error) => void;
  readonly #closed = Promise.withResolvers<void>();
  #engine: ReplicaEngine;
  #tree: RoutingTree;
  #since = performance.now();
  /** Deaths in a row. */
  #deaths = 0;
  #state: "up" | "restarting" | "dead" = "up";
  /** What this engine has counted, as heard so far, and what those before it had. */
  #seen: SchedulerCounters;
  #before: SchedulerCounters;
  #statsBefore: EngineStats | null = null;
  #isClosed = false;

  /** Takes over a running engine; without `restarting` its death is the replica's. */
  constructor(
    rank: number,
    engine: ReplicaEngine,
    restarting: Restarting | null,
    onDeath: (rank: number, reason: Error) => void,
  ) {
    this.rank = rank;
    this.#restarting = restarting;
    this.#onDeath = onDeath;
    this.#engine = engine;
    this.#tree = treeFor(engine);
    this.#seen = this.#before = atRest(engine.model.pageSize);
    this.#watch();
  }

  /** Whether another engine is on its way, or was, and will not be. */
  get state(): "up" | "restarting" | "dead" {
    if (this.#state === "up" && this.health === "dead") {
      return this.#restarting === null ? "dead" : "restarting";
    }
    return this.#state;
  }

  /** What has been sent here since the engine was started. */
  get tree(): RoutingTree {
    return this.#tree;
  }

  /** Of the engine. */
  get model(): ModelInfo {
    return this.#engine.model;
  }

  /** Of the engine. */
  get deviceReason(): string {
    return this.#engine.deviceReason;
  }

  /** "dead" also while another engine is on its way. */
  get health(): "ready" | "dead" {
    return this.#engine.health;
  }

  /** Of the engine. */
  get life(): Life {
    return this.#engine.life;
  }

  /** Of the engine that is here now. */
  get dead(): Promise<Error> {
    return this.#engine.dead;
  }

  /** Of all engines that have been here. */
  get stats(): EngineStats {
    return this.#statsBefore === null
      ? this.#engine.stats
      : addStats([this.#statsBefore, this.#engine.stats]);
  }

  /** Starts a generation. */
  submit(request: GenerateRequest): Generation {
    return this.#engine.submit(request);
  }

  /** Renders and encodes. */
  encode(input: PromptInput, client?: string): Promise<{ ids: Uint32Array; rendered: string | null }> {
    return this.#engine.encode(input, client);
  }

  /** The text of token ids. */
  decode(ids: Uint32Array, skipSpecialTokens: boolean, client?: string): Promise<string> {
    return this.#engine.decode(ids, skipSpecialTokens, client);
  }

  /** Totals of all engines that have been here; sizes of the one that lives, or nothing. Rejects only if that fails. */
  async counters(): Promise<SchedulerCounters> {
    const engine = this.#engine;
    try {
      const now = engine.health === "ready" ? await engine.counters() : null;
      if (now !== null && engine === this.#engine && engine.health === "ready") return this.#counted(now);
    } catch (error) {
      if (engine === this.#engine && engine.health === "ready") throw error;
    }
    return this.#counted(null);
  }

  /** The same, with the requests of the engine that lives. */
  async inspect(): Promise<SchedulerState> {
    const engine = this.#engine;
    const nothing = { requests: [], runs: [], runsTotal: 0 };
    if (engine.health === "dead") return { ...nothing, counters: this.#counted(null) };
    const state = await engine.inspect();
    return { ...state, counters: this.#counted(engine === this.#engine ? state.counters : null) };
  }

  /** Empties the prefix cache. */
  flush(): Promise<boolean> {
    return this.#engine.flush();
  }

  /** Ends the engine. One that is being started is ended when it is there, without being waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.#engine[Symbol.asyncDispose]();
  }

  /** Starts no engine any more. */
  stop(): void {
    this.#isClosed = true;
    this.#closed.resolve();
  }

  /** `now` is what the engine says at this moment, null if it says nothing. */
  #counted(now: SchedulerCounters | null): SchedulerCounters {
    const heard = now ?? this.#engine.stats.counters;
    if (heard !== null) this.#seen = largerTotals(this.#seen, heard);
    return addTotals(now ?? atRest(this.model.pageSize), this.#seen, this.#before);
  }

  #watch(): void {
    const engine = this.#engine;
    void engine.dead.then((reason) => {
      if (this.#isClosed) return;
      this.#state = this.#restarting === null ? "dead" : "restarting";
      this.#onDeath(this.rank, reason);
      if (this.#restarting !== null) void this.#restart(this.#restarting, reason);
    });
  }

  /** Until there is an engine, or there have been too many attempts. Never rejects. */
  async #restart({ start, release, note, most = 5, pauseMilliseconds = 1_000 }: Restarting, reason: Error) {
    const name = `replica ${this.rank}`;
    if (performance.now() - this.#since > goodLife) this.#deaths = 0;
    let why = `stopped: ${reason.message}`;
    await release(this.#engine).catch((error: unknown) => why += `; ${messageOf(error)}`);
    while (!this.#isClosed) {
      if (++this.#deaths > most) {
        this.#state = "dead";
        return note(`${name} ${why}; it is given up after ${most} restarts`);
      }
      const pause = Math.min(longestPause, pauseMilliseconds * 2 ** (this.#deaths - 1));
      note(`${name} ${why}; it is started again in ${pause / 1000} s (${this.#deaths} of ${most})`);
      await withDeadline(this.#closed.promise, pause);
      if (this.#isClosed) return;
      try {
        const engine = await start(this.rank);
        if (this.#isClosed) return await engine[Symbol.asyncDispose]();
        this.#replace(engine);
        return note(`${name} is back`);
      } catch (error) {
        why = `could not be started: ${messageOf(error)}`;
      }
    }
  }

  #replace(engine: ReplicaEngine): void {
    this.#counted(null); // the last that was heard of the dead one
    this.#before = addTotals(this.#seen, this.#seen, this.#before);
    this.#seen = atRest(engine.model.pageSize);
    this.#statsBefore = this.stats;
    this.#engine = engine;
    this.#tree = treeFor(engine);
    this.#since = performance.now();
    this.restarts++;
    this.#state = "up";
    this.#watch();
  }
}

function treeFor({ model }: ReplicaEngine): RoutingTree {
  const cachedBlocks = Math.ceil(model.numPages * model.pageSize / blockTokens);
  return new RoutingTree(treeBlocksPerCached * cachedBlocks);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
