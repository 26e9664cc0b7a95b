// A model's shape, in one form for every architecture, and how its angles turn.

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
  /** RMS norm of every q and k head (Qwen3). */
  readonly qkNorm: boolean;
  /** Rotary positions and their scaling. */
  readonly rope: RopeConfig;
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
