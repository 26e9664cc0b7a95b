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
import type { AttachQuestion, Probe, ProbeProgress } from "./workers/protocol.ts";

/** Unique per engine. */
export type RequestId = string;

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
  | {
    readonly type: "text";
    readonly text: string;
    /** Default true. */
    readonly addSpecialTokens?: boolean;
    /** Special tokens that it spells are plain text. */
    readonly foreign?: boolean;
  }
  | { readonly type: "ids"; readonly ids: Uint32Array }
  | {
    readonly type: "chat";
    readonly messages: readonly ChatMessage[];
    readonly tools?: readonly unknown[];
    /** Continue the last (assistant) message instead of beginning a new one. */
    readonly continueFinal?: boolean;
    /** What the answer begins with already: a forced tool call. */
    readonly answerStart?: string;
    /** Extra variables for the template, for example `enable_thinking`. */
    readonly templateArgs?: Readonly<Record<string, unknown>>;
  };

/** main → tokenizer */
export type ToTokenizer =
  | {
    readonly type: "generate";
    readonly input: PromptInput;
    /** Separates cached prefixes of different tenants; "" shares. */
    readonly salt: string;
    /** Whose requests they are, for fairness. */
    readonly client: string;
    /** The generations that continue this prompt: it is encoded once for all of them. */
    readonly requests: readonly { readonly id: RequestId; readonly params: SamplingParams }[];
  }
  | { readonly type: "abort"; readonly id: RequestId }
  | Probe
  | { readonly type: "encode"; readonly call: number; readonly input: PromptInput }
  | {
    readonly type: "decode";
    readonly call: number;
    readonly ids: Uint32Array;
    readonly skipSpecialTokens: boolean;
  };

/** tokenizer → main */
export type FromTokenizer =
  | { readonly type: "accepted"; readonly id: RequestId; readonly promptIds: Uint32Array }
  | { readonly type: "rejected"; readonly id: RequestId; readonly finish: FinishReason & { type: "error" } }
  /** `rendered` is the prompt's text, after the template. */
  | {
    readonly type: "encoded";
    readonly call: number;
    readonly ids: Uint32Array;
    readonly rendered: string | null;
  }
  | { readonly type: "decoded"; readonly call: number; readonly text: string }
  | {
    readonly type: "failed";
    readonly call: number;
    readonly code: ErrorCode;
    readonly message: string;
  };

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
  | { readonly type: "request" } & RequestSpec
  | { readonly type: "abort"; readonly id: RequestId }
  | Probe
  /** The detokenizer has seen a stop string and has already told the client; release what the request holds. */
  | { readonly type: "stopped"; readonly id: RequestId };

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
  | {
    readonly type: "init";
    readonly call: number;
    readonly config: SchedulerConfig;
    readonly ports: SchedulerPorts;
  }
  | { readonly type: "counters"; readonly call: number }
  /** For people to look at. */
  | { readonly type: "inspect"; readonly call: number }
  /** Empties the prefix cache; refused (false) while requests run. */
  | { readonly type: "flush"; readonly call: number }
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
  | { readonly type: "ready"; readonly call: number }
  | {
    readonly type: "counters";
    readonly call: number;
    readonly counters: SchedulerCounters;
    readonly probes: ProbeProgress;
  }
  | { readonly type: "inspected"; readonly call: number; readonly state: SchedulerState }
  | { readonly type: "flushed"; readonly call: number; readonly done: boolean }
  /** Those of `live` that will bring no more news. */
  | { readonly type: "attached"; readonly call: number; readonly lost: readonly RequestId[] };

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
  /** Why this device was chosen, for the start-up line. */
  readonly reason: string;
}

/** main → executor worker */
export type ExecutorQuestion =
  | { readonly type: "init"; readonly call: number; readonly setup: ExecutorSetup }
  | { readonly type: "ping"; readonly call: number }
  /** Finish what runs, start nothing more; with `release`, destroy the device. */
  | { readonly type: "close"; readonly call: number; readonly release: boolean };

/** executor worker → main; progress may come at any time before "ready". */
export type ExecutorAnswer =
  | { readonly type: "progress"; readonly progress: StartProgress }
  | { readonly type: "ready"; readonly call: number; readonly ready: ExecutorReady }
  | { readonly type: "failed"; readonly call: number; readonly message: string }
  | { readonly type: "pong"; readonly call: number }
  | { readonly type: "closed"; readonly call: number };

/** main → tokenizer worker */
export type TokenizerQuestion =
  | {
    readonly type: "init";
    readonly call: number;
    /** Where the tokenizer's files are; null for none (token ids only). */
    readonly modelDir: string | null;
    readonly contextLength: number;
    /** Rows of the model's embedding table. */
    readonly vocabSize: number;
    /** Whether messages may contain special tokens. */
    readonly allowSpecialTokens: boolean;
    readonly ports: {
      /** ToTokenizer / FromTokenizer */
      readonly main: MessagePort;
      readonly scheduler: MessagePort;
    };
  }
  | { readonly type: "ping"; readonly call: number };

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
  | { readonly type: "ready"; readonly call: number; readonly ready: TokenizerReady }
  | { readonly type: "failed"; readonly call: number; readonly message: string }
  | { readonly type: "pong"; readonly call: number };

/** main → detokenizer worker */
export type DetokenizerQuestion =
  | {
    readonly type: "init";
    readonly call: number;
    /** Null: texts are empty. */
    readonly modelDir: string | null;
    readonly ports: {
      /** FromDetokenizer */
      readonly main: MessagePort;
      /** ToDetokenizer / ToScheduler */
      readonly scheduler: MessagePort;
    };
  }
  | { readonly type: "ping"; readonly call: number };

/** detokenizer worker → main */
export type DetokenizerAnswer =
  | { readonly type: "ready"; readonly call: number }
  | { readonly type: "failed"; readonly call: number; readonly message: string }
  | { readonly type: "pong"; readonly call: number };
