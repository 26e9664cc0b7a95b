// A model's shape, in one form for every architecture, and how its angles turn.

import type { Gate } from "../../kernels/ops.ts";
import type { Sampler } from "../../kernels/sampling.ts";

/** Rotary position embedding and its scaling for longer contexts (`rope_parameters` or `rope_scaling`). */
export type RopeConfig =
  & { readonly theta: number }
  & (
    | { readonly type: "default" }
    | { readonly type: "linear"; readonly factor: number }
    /** Each pair's own divisor of its frequency. */
    | { readonly type: "factors"; readonly factors: readonly number[] }
    | { readonly type: "dynamic"; readonly factor: number; readonly originalPositions: number }
    | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalPositions: number;
    }
    | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Multiplies cosine and sine. */
      readonly attentionFactor: number;
      readonly truncate: boolean;
    }
    /** Divisors for contexts up to the original length and beyond it (LongRoPE, arXiv 2402.13753; Phi-3-128k). */
    | {
      readonly type: "longrope";
      readonly short: readonly number[];
      readonly long: readonly number[];
      readonly originalPositions: number;
      /** Multiplies cosine and sine. */
      readonly attentionFactor: number;
    }
  );

/** Mixture-of-experts layers (Qwen3-MoE). */
export interface MoeConfig {
  /** Experts in a layer. */
  readonly numExperts: number;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Width of one expert. */
  readonly intermediateSize: number;
  /** Whether the chosen experts' probabilities are divided by their sum. */
  readonly renormalize: boolean;
  /** Layers that are dense all the same. */
  readonly denseLayers: readonly number[];
  /** Biases on the router and on every expert's gate, up and down (gpt-oss). */
  readonly biases: boolean;
}

/** Everything the decoder needs to know; made by `parseModelConfig` from `config.json`. */
export interface ModelConfig {
  /** As in the file, for example "Qwen3ForCausalLM". */
  readonly architecture: string;
  /** The file's `model_type`, for example "qwen3". */
  readonly modelType: string;
  /** Rows of the embedding table; a tokenizer may know fewer. */
  readonly vocabSize: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of a dense feed-forward layer. */
  readonly intermediateSize: number;
  /** Number of layers. */
  readonly numLayers: number;
  /** Query heads. */
  readonly numHeads: number;
  /** Key/value heads; several query heads share one. */
  readonly numKvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Added to the mean square in every norm. */
  readonly rmsNormEpsilon: number;
  /** Longest context the model is made for, in tokens. */
  readonly maxPositions: number;
  /** Whether the output head is the embedding table. */
  readonly tieEmbeddings: boolean;
  /** Biases on q, k, v; on o; on gate, up and down. */
  readonly qkvBias: boolean;
  /** Bias on the attention's output projection. */
  readonly outputBias: boolean;
  /** Biases on gate, up and down. */
  readonly mlpBias: boolean;
  /**
   * RMS norms of attention and feed-forward: in front of each (Llama, arXiv 2302.13971), behind it (OLMo 2, arXiv
   * 2501.00656), or on both sides (Gemma 2, arXiv 2408.00118).
   */
  readonly norms: "before" | "after" | "both";
  /** RMS norm of q and k: of every head (Qwen3, arXiv 2505.09388), or of all heads together (OLMo 2). */
  readonly qkNorm: "none" | "heads" | "width";
  /** What combines gate and up: SiLU (arXiv 2002.05202), GELU (Gemma), or clamped (gpt-oss's model card). */
  readonly gate: Gate;
  /** Multiplies embeddings (Gemma: √hiddenSize; Granite's model card). */
  readonly embeddingMultiplier: number;
  /** Multiplies what attention and feed-forward add to the residual stream (Granite). */
  readonly residualMultiplier: number;
  /** Multiplies q·k: 1 / √headDim (arXiv 1706.03762), or as the file says (Gemma, Granite). */
  readonly attentionMultiplier: number;
  /** Multiplies logits (Granite's `logits_scaling` divides them). */
  readonly logitsMultiplier: number;
  /** Scores become cap · tanh(score / cap) (Gemma 2); null: they do not. */
  readonly attentionSoftCap: number | null;
  /** The same for logits. */
  readonly logitSoftCap: number | null;
  /** A logit per head that takes part in the softmax and has no value (gpt-oss; arXiv 2309.17453). */
  readonly attentionSinks: boolean;
  /** Rotary positions and their scaling. */
  readonly rope: RopeConfig;
  /** The same in layers with a window, where they differ (Gemma 3, arXiv 2503.19786). */
  readonly localRope: RopeConfig | null;
  /** Leading numbers of a head that turn; all but in Phi-4-mini (arXiv 2503.01743) and its kind. */
  readonly rotaryDim: number;
  /** Layers without rotation (SmolLM3; "NoPE", arXiv 2305.19466). */
  readonly unrotatedLayers: readonly number[];
  /** Sliding window of each layer; null where a layer sees everything. */
  readonly slidingWindow: readonly (number | null)[];
  /** Null for a model without experts. */
  readonly moe: MoeConfig | null;
  /** The weights' own type as the file states it. */
  readonly dtype: "bf16" | "f16" | "f32";
}

/** Recommendations of a model's makers; absent where they say nothing. */
export interface GenerationConfig extends Partial<Sampler> {
  /** Every id that ends a text, of this file and of `config.json`. */
  readonly eosIds: readonly number[];
}
