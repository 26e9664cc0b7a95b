// A model's shape, in one form for every architecture, and how its angles turn.

/** Rotary position embedding and its scaling for longer contexts (`rope_parameters` or `rope_scaling`). */
export type RopeConfig =
  & { readonly theta: number; /** Share of the head that turns; 1 nearly always. */ readonly partial: number }
  & (
    | { readonly type: "default" }
    | { readonly type: "linear"; readonly factor: number }
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
  readonly numExperts: number;
  readonly expertsPerToken: number;
  readonly intermediateSize: number;
  readonly renormalize: boolean;
  /** Layers that are dense all the same. */
  readonly denseLayers: readonly number[];
}

/** Everything the decoder needs to know; made by `parseModelConfig` from `config.json`. */
export interface ModelConfig {
  /** As in the file, for example "Qwen3ForCausalLM". */
  readonly architecture: string;
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly rmsNormEpsilon: number;
  readonly maxPositions: number;
  readonly tieEmbeddings: boolean;
  /** Biases on q, k, v; on o; on gate, up and down. */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMS norm of every q and k head (Qwen3). */
  readonly qkNorm: boolean;
  readonly rope: RopeConfig;
  /** Sliding window of each layer; null where a layer sees everything. */
  readonly slidingWindow: readonly (number | null)[];
  readonly moe: MoeConfig | null;
  /** The weights' own type as the file states it. */
  readonly dtype: "bf16" | "f16" | "f32";
}
