// From token ids to what the engine is asked for an embedding of them, and from its answer to a vector, as the model's
// files say. The command line embeds by these, too.

import type { ModelInfo } from "../../engine/options.ts";
import { defaultSamplingParams, type SamplingParams } from "../../engine/params.ts";
import { defaultEmbedding } from "../../engine/weights/huggingface/embedding.ts";

/** What is computed for the embedding of some tokens. */
export interface EmbeddingPrompt {
  /** Of the tokens, those that matter. */
  readonly ids: Uint32Array;
  /** What is wanted of them. */
  readonly params: SamplingParams;
}

/** The prompt that gives the embedding of `ids`. */
export function embeddingPrompt(ids: Uint32Array, model: ModelInfo, priority = 0): EmbeddingPrompt {
  const { pooling } = model.embedding ?? defaultEmbedding;
  const params = {
    ...defaultSamplingParams,
    pooling: pooling === "mean" ? "mean" as const : "last" as const,
    maxTokens: 1,
    priority,
  };
  // The first token of a decoder sees no other: its state is that of a text which it is all of.
  return { ids: pooling === "cls" ? ids.subarray(0, 1) : ids, params };
}

/** The engine's answer as a vector: its first `dimensions` numbers if that is said, of length 1 if that is wanted. */
export function embeddingVector(
  answer: Float32Array | undefined,
  { embedding, config }: ModelInfo,
  dimensions: number | null = null,
): Float32Array {
  if (answer === undefined) throw new Error("the engine answered without an embedding");
  const vector = answer.subarray(0, dimensions ?? config.hiddenSize);
  const { normalize } = embedding ?? defaultEmbedding;
  return normalize || dimensions !== null ? normalized(vector) : vector;
}

function normalized(vector: Float32Array): Float32Array {
  let squares = 0;
  for (const x of vector) squares += x * x;
  const length = Math.sqrt(squares);
  return length > 0 ? vector.map((x) => x / length) : vector;
}

/** The cosine of the angle between two embeddings. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let product = 0, squaresA = 0, squaresB = 0;
  a.forEach((x, i) => {
    product += x * b[i]!;
    squaresA += x * x;
    squaresB += b[i]! ** 2;
  });
  return squaresA > 0 && squaresB > 0 ? product / Math.sqrt(squaresA * squaresB) : 0;
}

/** Base64 of float32, little-endian whatever the machine is. */
export function base64Of(vector: Float32Array): string {
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((x, i) => view.setFloat32(4 * i, x, true));
  return new Uint8Array(view.buffer).toBase64();
}
