// What the HTTP server and the terminal chat need of an engine, as an interface, so that tests can put a scripted
// engine in its place and run in milliseconds.

import type { ModelConfig } from "../../engine/model/config.ts";
import type { SamplingParams } from "../../engine/params.ts";
import type { SchedulerCounters } from "../../engine/scheduler/config.ts";
import type { DeviceInfo } from "../../kernels/ops.ts";
import type { Delta, PromptInput } from "../messages.ts";

/** One prompt to continue. */
export interface GenerateRequest {
  readonly input: PromptInput;
  readonly params: SamplingParams;
  /** Separates cached prefixes of different tenants; missing shares. */
  readonly salt?: string;
  readonly id?: string;
  readonly signal?: AbortSignal;
}

/** A running generation. Its last delta, and only that one, has a finish reason. */
export interface Generation extends AsyncIterable<Delta> {
  readonly id: string;
  /** The prompt's tokens; rejects if the request is refused before it has any. */
  readonly promptIds: Promise<Uint32Array>;
  abort(): void;
}

/** What is known of the loaded model and of the engine's size. */
export interface ServedModel {
  readonly id: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly contextLength: number;
  readonly hasTokenizer: boolean;
  readonly hasChatTemplate: boolean;
  readonly chatTemplate: string | null;
  readonly eosIds: readonly number[];
  readonly generationDefaults: Partial<SamplingParams>;
  readonly device: DeviceInfo;
  readonly numPages: number;
  readonly pageSize: number;
  readonly tp: number;
  readonly maxRunningRequests: number;
}

/** The engine's face. Faults of a request arrive as its finish reason and are never thrown by `submit`. */
export interface ServedEngine {
  readonly model: ServedModel;
  submit(request: GenerateRequest): Generation;
  encode(input: PromptInput): Promise<{ readonly ids: Uint32Array; readonly rendered: string | null }>;
  decode(ids: Uint32Array, skipSpecialTokens: boolean): Promise<string>;
  /** Rejects if the engine is dead. */
  counters(): Promise<SchedulerCounters>;
  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean>;
  /** Resolves when a worker dies. */
  readonly dead: Promise<Error>;
  readonly health: "ready" | "dead";
}
