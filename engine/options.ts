// What an engine is started with, and what it turned out to be.

import type { DType } from "../kernels/formats/mod.ts";
import type { KvDType } from "../kernels/kv_format.ts";
import type { DeviceInfo } from "../kernels/ops.ts";
import type { ModelConfig } from "./model/config.ts";
import type { Model } from "./model/model.ts";
import type { DTypeOption } from "./weights/device_types.ts";
import type { SamplingParams } from "./params.ts";
import type { Fault } from "./workers/fault.ts";

/** Settings of one engine; null lets the engine choose for the model and the device. */
export interface EngineOptions {
  /** Folder of the model. */
  readonly modelDir: string;
  /** "reference" is the slow float64 backend, for tests. */
  readonly device: "auto" | "cuda" | "webgpu" | "cpu" | "reference";
  /** CPU threads of each rank; null takes all cores, divided by the ranks. */
  readonly threads: number | null;
  /** Type of the weights on the device; "auto" keeps the checkpoint's. */
  readonly dtype: DTypeOption;
  /** How keys and values are kept. */
  readonly kvDType: KvDType;
  /** Most tokens of prompt and output together; null takes the model's limit, as far as memory goes. */
  readonly contextLength: number | null;
  /** For weights and cache together, of each rank. */
  readonly memoryBytes: number | null;
  /** Pages of keys and values, instead of a number that fits the memory. */
  readonly numPages: number | null;
  /** Tokens per page, a power of two. */
  readonly pageSize: number;
  /** Most requests computed at once. */
  readonly maxRunningRequests: number | null;
  /** Most requests that wait; more are refused. */
  readonly maxQueuedRequests: number;
  /** Most prompt tokens per step. */
  readonly maxPrefillTokens: number | null;
  /** Whether equal prefixes share pages. */
  readonly cache: "radix" | "naive";
  /** Whether a step is planned while the one before it runs. */
  readonly overlap: boolean;
  /** Number of tensor-parallel ranks. */
  readonly tp: number;
  /** What partial sums travel as between ranks. */
  readonly reduceType: "float32" | "float16";
  /** GPUs that ranks take in turn, by index, UUID or bus address; empty leaves it to the engine. */
  readonly gpus: readonly string[];
  /** Random weights; only `config.json` is needed. */
  readonly dummyWeights: boolean;
  /** Token ids in and out, no texts. */
  readonly skipTokenizer: boolean;
  /** Whether messages may contain special tokens; otherwise only the chat template makes them. */
  readonly allowSpecialTokens: boolean;
  /** Engines of this process that share each of these devices, this one included; 1 when absent. */
  readonly enginesPerDevice?: number;
  /** Most decode forwards per result; the scheduler uses fewer when a request waits or could end. */
  readonly maxDecodeSteps?: number;
  /** Share of the output still to come that admission reserves pages for, 0 to 1. */
  readonly newTokenRatio?: number;
  /** A mixed step's prompt chunk shrinks so that the step stays near this time; 0 sets no limit. */
  readonly targetStepMilliseconds?: number;
  /** Whether constrained rows are drawn in plans of their own, for tests; otherwise the device says. */
  readonly drawLater?: boolean;
  /** For tests: freed pages are filled with NaN. */
  readonly poisonFreedPages?: boolean;
  /** Test hook: this rank's worker throws, or stalls, when it gets its n-th plan. */
  readonly dieAtPlan?: { readonly rank: number; readonly plan: number; readonly stall?: boolean };
  /** Test hook: see `SharedMemoryCollective`. */
  readonly leastPatience?: number;
}

/** Defaults for everything but the model. */
export const defaultEngineOptions: Omit<EngineOptions, "modelDir"> = {
  device: "auto",
  threads: null,
  dtype: "auto",
  kvDType: "auto",
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
  allowSpecialTokens: false,
};

/** What a started engine reports about itself. */
export interface ModelInfo {
  /** Name for clients: the Hub id, or the directory's last part. */
  readonly id: string;
  /** The model's folder. */
  readonly path: string;
  /** The model's shape. */
  readonly config: ModelConfig;
  /** Most tokens of prompt and output together. */
  readonly contextLength: number;
  /** False if only token ids are taken. */
  readonly hasTokenizer: boolean;
  /** Whether conversations can be rendered. */
  readonly hasChatTemplate: boolean;
  /** The template's text, for finding out what it can do (tools, reasoning). */
  readonly chatTemplate: string | null;
  /** Why it cannot render a conversation; null if it can. */
  readonly templateProblem: string | null;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  /** From `generation_config.json`. */
  readonly generationDefaults: Partial<SamplingParams>;
  /** How its embeddings are made; null for a model that was not made for them. */
  readonly embedding: Model["embedding"];
  /** The first rank's device. */
  readonly device: DeviceInfo;
  /** On the first rank, and on each. */
  readonly weightBytes: number;
  /** Formats of the first rank's matrices, most bytes first. */
  readonly weightFormats: readonly DType[];
  /** Bytes of weights on each rank. */
  readonly rankWeightBytes: readonly number[];
  /** How keys and values are kept. */
  readonly kvDType: KvDType;
  /** Pages of keys and values. */
  readonly numPages: number;
  /** Tokens per page. */
  readonly pageSize: number;
  /** Most requests computed at once. */
  readonly maxRunningRequests: number;
  /** Number of tensor-parallel ranks. */
  readonly tp: number;
}

/** How far starting has got; `fraction` within the stage. */
export interface StartProgress {
  /** What is being done. */
  readonly stage: "device" | "weights" | "warm-up";
  /** For people. */
  readonly message: string;
  /** 0 to 1. */
  readonly fraction: number;
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
