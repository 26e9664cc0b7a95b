// What the HTTP server and the terminal chat need of an engine, as an interface, so that tests can put a scripted
// engine in its place and run in milliseconds.

import type { EngineStats, GenerateRequest } from "../../engine/engine.ts";
import type { ModelInfo } from "../../engine/options.ts";
import type { SchedulerCounters, SchedulerState } from "../../engine/scheduler/config.ts";
import type { Life } from "../../engine/workers/watchdog.ts";
import type { Delta, PromptInput } from "../../engine/messages.ts";

/** A running generation. Its last delta, and only that one, has a finish reason. Iterate or follow, and once. */
export interface Generation extends AsyncIterable<Delta> {
  /** Unique in the engine. */
  readonly id: string;
  /** The prompt's tokens; rejects if the request is refused before it has any. */
  readonly promptIds: Promise<Uint32Array>;
  /** Every delta at the moment when it comes. `listener` must not throw. */
  follow(listener: (delta: Delta) => void): void;
  /** Ends it; a last delta follows. */
  abort(): void;
}

/** The engine's face. Faults of a request arrive as its finish reason and are never thrown by `submit`. */
export interface ServedEngine {
  /** What is served. */
  readonly model: ModelInfo;
  /** Starts a generation; faults arrive as its finish. */
  submit(request: GenerateRequest): Generation;
  /** Renders and encodes without generating. */
  encode(
    input: PromptInput,
    client?: string,
  ): Promise<{ readonly ids: Uint32Array; readonly rendered: string | null }>;
  /** The text of token ids. */
  decode(ids: Uint32Array, skipSpecialTokens: boolean, client?: string): Promise<string>;
  /** Rejects if the engine is dead. */
  counters(): Promise<SchedulerCounters>;
  /** What each request is doing and which prefixes are shared; rejects if the engine is dead. */
  inspect(): Promise<SchedulerState>;
  /** Whether all workers answer. */
  readonly life: Life;
  /** Restarts and the queue in front of the tokenizer. */
  readonly stats: EngineStats;
  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean>;
  /** Resolves when a worker dies. */
  readonly dead: Promise<Error>;
  /** "dead" once a worker has failed. */
  readonly health: "ready" | "dead";
  /** Where it is several engines that share the work: each by itself, in the order of their dp_rank. */
  readonly replicas?: readonly ServedReplica[];
}

/** One of several. Its counters are those of all engines that have been in its place, and never refused. */
export interface ServedReplica extends ServedEngine {
  /** "restarting": its engine has died, and another one is on its way. */
  readonly state: "up" | "restarting" | "dead";
  /** Times that another engine was started. */
  readonly restarts: number;
}

/** The engines that it is: itself, where it is one. */
export function replicasOf(engine: ServedEngine): readonly ServedEngine[] {
  return engine.replicas ?? [engine];
}
