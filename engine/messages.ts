// Every message that crosses between workers, one discriminated union per channel.
//
//   main ──ToTokenizer──▶ tokenizer ──ToScheduler──▶ scheduler ──ToExecutor──▶ executor (each rank)
//    ▲ ◀─FromTokenizer──┘                              ▲   │  ◀─FromExecutor──┘
//    └──FromDetokenizer── detokenizer ──ToScheduler────┘   └─ToDetokenizer──▶ detokenizer
//
// Every worker also has its own `postMessage` channel to the main process (`Control` below): initialisation,
// progress, and questions that expect one answer. Aborts travel the same way as the requests they abort
// (main → tokenizer → scheduler → detokenizer → main), so they can never overtake them.

import type { ErrorCode, FinishReason, SamplingParams, TokenLogprob } from "./params.ts";
import type { EngineOptions, ModelInfo, StartProgress } from "./options.ts";
import type { BatchPlan, StepResult } from "../kernels/plan.ts";
import type { StateSizes } from "./model/decoder.ts";
import type { DevicePlace } from "../kernels/ops.ts";
import type { SchedulerConfig, SchedulerCounters, SchedulerState } from "./scheduler/config.ts";
import type { Tagged } from "./tagged.ts";
import type { AttachQuestion, Probe, ProbeProgress } from "./workers/protocol.ts";

/** Unique per engine. */
export type RequestId = string;

/** A question to a worker, or its answer, which repeats the number. */
export type Call<Type extends string, Fields = unknown> = Tagged<Type, Fields & { call: number }>;

/** Answers that most workers may give. */
export type Common = Call<"failed", { message: string }> | Call<"pong">;

/** A message of a conversation, as chat templates expect it; content is text by the time it gets here. */
export interface ChatMessage {
  /** For example "user". */
  readonly role: string;
  /** Null for a message that only calls tools. */
  readonly content: string | null;
  /** Whatever else the template knows, such as tool calls. */
  readonly [extra: string]: unknown;
}

/** What is to be continued. */
export type PromptInput =
  /** Special tokens go around it unless `addSpecialTokens` is false; with `foreign`, those it spells are plain text. */
  | Tagged<"text", { text: string; addSpecialTokens?: boolean; foreign?: boolean }>
  | Tagged<"ids", { ids: Uint32Array }>
  | Tagged<"chat", {
    messages: readonly ChatMessage[];
    tools?: readonly unknown[];
    /** Continue the last (assistant) message instead of beginning a new one. */
    continueFinal?: boolean;
    /** What the answer begins with already: a forced tool call. */
    answerStart?: string;
    /** Extra variables for the template, for example `enable_thinking`. */
    templateArgs?: Readonly<Record<string, unknown>>;
  }>;

/** main → tokenizer */
export type ToTokenizer =
  /** The generations of `requests` continue this prompt: it is encoded once for all of them. */
  | Tagged<
    "generate",
    Omit<RequestSpec, "id" | "ids" | "params"> & {
      input: PromptInput;
      requests: readonly Pick<RequestSpec, "id" | "params">[];
    }
  >
  | Tagged<"abort", { id: RequestId }>
  | Probe
  | Call<"encode", { input: PromptInput }>
  | Call<"decode", { ids: Uint32Array; skipSpecialTokens: boolean }>;

/** tokenizer → main */
export type FromTokenizer =
  | Tagged<"accepted", { id: RequestId; promptIds: Uint32Array }>
  | Tagged<"rejected", { id: RequestId; finish: FinishReason & { type: "error" } }>
  /** `rendered` is the prompt's text, after the template. */
  | Call<"encoded", { ids: Uint32Array; rendered: string | null }>
  | Call<"decoded", { text: string }>
  | Call<"failed", { code: ErrorCode; message: string }>;

/** A request for the scheduler. */
export interface RequestSpec {
  /** Unique in the engine. */
  readonly id: RequestId;
  /** The prompt, at least one id. */
  readonly ids: Uint32Array;
  /** How to sample, and when to end. */
  readonly params: SamplingParams;
  /** Requests share prefixes only with those of the same salt. */
  readonly salt: string;
  /** Whose request it is, for fairness. */
  readonly client: string;
}

/** tokenizer → scheduler ("request", "abort") and detokenizer → scheduler ("stopped") */
export type ToScheduler =
  | Tagged<"request", RequestSpec>
  | Tagged<"abort", { id: RequestId }>
  | Probe
  /** The detokenizer has seen a stop string and has already told the client; release what the request holds. */
  | Tagged<"stopped", { id: RequestId }>;

/** What happened to one request in one step. */
export interface TokenUpdate {
  /** Whose news it is. */
  readonly id: RequestId;
  /** New output tokens, in order; the token that ended the text (end of text, stop token) is among them. */
  readonly tokens: readonly number[];
  /** Parallel to `tokens`, when asked for. */
  readonly logprobs: readonly TokenLogprob[] | null;
  /** Once, with or before the first tokens, when asked for; the first position has no probability. */
  readonly promptLogprobs: readonly (TokenLogprob | null)[] | null;
  /** Prompt tokens that came from the cache; the number stands from the first update on. */
  readonly cachedTokens: number;
  /** Why the request has ended; null while it goes on. */
  readonly finish: FinishReason | null;
  /** With the finish, when asked for: as wide as the residual stream. */
  readonly embedding?: Float32Array;
}

/** scheduler → detokenizer */
export type ToDetokenizer =
  /** Comes before any update of the request. */
  | { readonly type: "start"; readonly id: RequestId; readonly params: SamplingParams }
  | { readonly type: "updates"; readonly updates: readonly TokenUpdate[] }
  | Probe;

/** A log-probability with its token's text and bytes, as OpenAI's API reports it. */
export interface TextLogprob {
  /** The token. */
  readonly id: number;
  /** Its text; bytes that are no whole character show as U+FFFD. */
  readonly text: string;
  /** Its bytes. */
  readonly bytes: readonly number[];
  /** Natural logarithm. */
  readonly logprob: number;
  /** Alternatives, most likely first. */
  readonly top: readonly Omit<TextLogprob, "top">[];
}

/** A piece of a request's output. Concatenated texts equal decoding all tokens at once; nothing is ever revised. */
export interface Delta extends Omit<TokenUpdate, "logprobs" | "promptLogprobs"> {
  /** What can be shown now; may be empty: the text of a token may come later. */
  readonly text: string;
  /** Parallel to `tokens`, when asked for. */
  readonly logprobs: readonly TextLogprob[] | null;
  /** Once, when asked for. */
  readonly promptLogprobs: readonly (TextLogprob | null)[] | null;
}

/** detokenizer → main */
export type FromDetokenizer = { readonly type: "deltas"; readonly deltas: readonly Delta[] } | Probe;

/** scheduler → executor */
export type ToExecutor =
  | { readonly type: "plan"; readonly plan: BatchPlan }
  /** No plan will follow until results are seen: read what is in flight now. */
  | { readonly type: "drain" }
  /** For tests: fill these free pages with NaN. */
  | { readonly type: "poison"; readonly pages: Uint32Array }
  | Probe;

/** executor → scheduler; of plans only rank 0 sends results, in their order. */
export type FromExecutor = { readonly type: "result"; readonly result: StepResult } | Probe;

/** Questions from the main process to a worker, each answered once with the same `call`. */
export type SchedulerQuestion =
  | Call<"init", { config: SchedulerConfig; ports: SchedulerPorts }>
  | Call<"counters">
  /** For people to look at. */
  | Call<"inspect">
  /** Empties the prefix cache; refused (false) while requests run. */
  | Call<"flush">
  | AttachQuestion;

/** The scheduler's ends of its channels. */
export interface SchedulerPorts {
  /** ToScheduler */
  readonly tokenizer: MessagePort;
  /** ToDetokenizer / ToScheduler */
  readonly detokenizer: MessagePort;
  /** One per rank, rank 0 first. */
  readonly executors: readonly MessagePort[];
}

/** scheduler worker → main */
export type SchedulerAnswer =
  | Call<"ready">
  | Call<"counters", { counters: SchedulerCounters; probes: ProbeProgress }>
  | Call<"inspected", { state: SchedulerState }>
  | Call<"flushed", { done: boolean }>
  /** Those of `live` that will bring no more news. */
  | Call<"attached", { lost: readonly RequestId[] }>;

/** What one rank's executor is started with. */
export interface ExecutorSetup {
  /** The engine's settings. */
  readonly options: EngineOptions;
  /** From 0. */
  readonly rank: number;
  /** Shared by all ranks of a group; null for a single rank. */
  readonly group: SharedArrayBuffer | null;
  /** Why this device, where that has been settled; null where the rank finds out. */
  readonly reason: string | null;
  /** Which device it takes, if it can choose. */
  readonly place: DevicePlace;
  /** To the scheduler. */
  readonly port: MessagePort;
  /** Run every kind of step once, so that no pipeline is compiled while serving. */
  readonly warmUp: boolean;
}

/** What an executor turned out to be. */
export interface ExecutorReady
  extends StateSizes, Pick<ModelInfo, "device" | "weightBytes" | "weightFormats"> {
  /** See `Backend`. */
  readonly drawsLater: boolean;
  /** Why this device was chosen, for the start-up line. */
  readonly reason: string;
}

/** main → executor worker */
export type ExecutorQuestion =
  | Call<"init", { setup: ExecutorSetup }>
  | Call<"ping">
  /** Finish what runs, start nothing more; with `release`, destroy the device. */
  | Call<"close", { release: boolean }>;

/** executor worker → main; progress may come at any time before "ready". */
export type ExecutorAnswer =
  | Tagged<"progress", { progress: StartProgress }>
  | Call<"ready", { ready: ExecutorReady }>
  | Call<"closed">
  | Common;

/** What tokenizer and detokenizer are started with. */
export interface TextSetup {
  /** Where the tokenizer's files are; null for none: token ids in and out. */
  readonly modelDir: string | null;
  /** Most tokens of prompt and output together. */
  readonly contextLength: number;
  /** Rows of the model's embedding table. */
  readonly vocabSize: number;
  /** Whether messages may spell special tokens. */
  readonly allowSpecialTokens: boolean;
}

/** Their ends of their channels. */
export interface TextPorts {
  /** To and from the main process. */
  readonly main: MessagePort;
  /** To the scheduler, and from it to the detokenizer. */
  readonly scheduler: MessagePort;
}

/** main → tokenizer worker */
export type TokenizerQuestion = Call<"init", TextSetup & { ports: TextPorts }> | Call<"ping">;

/** What the tokenizer turned out to be. */
export interface TokenizerReady extends Pick<ModelInfo, "hasTokenizer" | "chatTemplate" | "templateProblem"> {
  /** Ids with a token: fewer than the embedding table has rows where that is padded; 0 without a tokenizer. */
  readonly vocabSize: number;
  /** Token at the beginning of a text; null where there is none. */
  readonly bosId: number | null;
  /** Most bytes of text that one token stands for; 0 without a tokenizer. */
  readonly longestToken: number;
}

/** tokenizer worker → main */
export type TokenizerAnswer =
  | Call<"ready", { ready: TokenizerReady }>
  | Common;

/** main → detokenizer worker */
export type DetokenizerQuestion =
  | Call<"init", Pick<TextSetup, "modelDir"> & { ports: TextPorts }>
  | Call<"ping">;

/** detokenizer worker → main */
export type DetokenizerAnswer =
  | Call<"ready">
  | Common;
