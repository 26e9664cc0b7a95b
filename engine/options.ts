// What an engine is started with, and what it turned out to be.

import type { DeviceInfo } from "../kernels/ops.ts";
import type { ModelConfig } from "./model/config.ts";
import type { SamplingParams } from "./params.ts";

/** Settings of one engine; null lets the engine choose for the model and the device. */
export interface EngineOptions {
  readonly modelDir: string;
  /** "reference" is the slow float64 backend, for tests. */
  readonly device: "auto" | "webgpu" | "cpu" | "reference";
  readonly threads: number | null;
  readonly dtype: "auto" | "bfloat16" | "float16" | "float32";
  readonly contextLength: number | null;
  /** For weights and cache together. */
  readonly memoryBytes: number | null;
  readonly numPages: number | null;
  readonly pageSize: number;
  readonly maxRunningRequests: number | null;
  readonly maxQueuedRequests: number;
  readonly maxPrefillTokens: number | null;
  readonly cache: "radix" | "naive";
  readonly overlap: boolean;
  /** Number of tensor-parallel ranks. */
  readonly tp: number;
  /** What partial sums travel as between ranks. */
  readonly reduceType: "float32" | "float16";
  /** Bus addresses of the GPUs that ranks take in turn; empty leaves it to the engine. */
  readonly gpus: readonly string[];
  readonly dummyWeights: boolean;
  readonly skipTokenizer: boolean;
  /** Fine tuning and test hooks; see `SchedulerConfig`. */
  readonly maxDecodeSteps?: number;
  readonly outputReserve?: number;
  readonly targetStepMilliseconds?: number;
  readonly poisonFreedPages?: boolean;
  /** Test hook: this rank's worker throws when it gets its n-th plan. */
  readonly dieAtPlan?: {
    readonly rank: number;
    readonly plan: number; /** Stalls instead. */
    readonly stall?: boolean;
  };
  /** Test hook: see `SharedMemoryCollective`. */
  readonly leastPatience?: number;
}

/** Defaults for everything but the model. */
export const defaultEngineOptions: Omit<EngineOptions, "modelDir"> = {
  device: "auto",
  threads: null,
  dtype: "auto",
  contextLength: null,
  memoryBytes: null,
  numPages: null,
  pageSize: 16,
  maxRunningRequests: null,
  maxQueuedRequests: 1024,
  maxPrefillTokens: null,
  cache: "radix",
  overlap: true,
  tp: 1,
  reduceType: "float32",
  gpus: [],
  dummyWeights: false,
  skipTokenizer: false,
};

/** What a started engine reports about itself. */
export interface ModelInfo {
  /** Name for clients: the Hub id, or the directory's last part. */
  readonly id: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly contextLength: number;
  readonly hasTokenizer: boolean;
  readonly hasChatTemplate: boolean;
  /** The template's text, for finding out what it can do (tools, reasoning). */
  readonly chatTemplate: string | null;
  readonly eosIds: readonly number[];
  /** From `generation_config.json`. */
  readonly generationDefaults: Partial<SamplingParams>;
  readonly device: DeviceInfo;
  /** On the first rank, and on each. */
  readonly weightBytes: number;
  readonly rankWeightBytes: readonly number[];
  readonly numPages: number;
  readonly pageSize: number;
  readonly maxRunningRequests: number;
  readonly tp: number;
}

/** How far starting has got; `fraction` within the stage. */
export interface StartProgress {
  readonly stage: "device" | "weights" | "warm-up";
  readonly message: string;
  readonly fraction: number;
}
