// A model as it lies on the disk: what it is, and where its tensors are.

import type { Packing } from "../weights/packed.ts";
import type { TensorIndex } from "../weights/tensor_index.ts";
import type { EmbeddingConfig } from "../weights/huggingface/embedding.ts";
import type { GenerationConfig, ModelConfig } from "./config.ts";

/** A model, checked. */
export interface Model {
  /** The folder or file, for messages. */
  readonly directory: string;
  /** Its shape. */
  readonly config: ModelConfig;
  /** Its makers' advice on sampling, and where texts end. */
  readonly generation: GenerationConfig;
  /** How its embeddings are made; null for a model that was not made for them. */
  readonly embedding: EmbeddingConfig | null;
  /** Null for dummy weights, which need no files. */
  readonly tensors: TensorIndex | null;
  /** How the numbers of an AWQ or GPTQ checkpoint are packed. */
  readonly packing?: Packing | null;
  /** Rows and columns that share a scale in an fp8 checkpoint. */
  readonly fp8Block: readonly [rows: number, columns: number];
}
