// Texts to embeddings: pooled by the engine, then cut, brought to length 1 and written as the client wants them.

import type { Context } from "hono";
import { defaultSamplingParams } from "../../engine/params.ts";
import { defaultEmbedding } from "../../engine/weights/huggingface/embedding.ts";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import { type BatchInput, type BatchUsage, computeAll, encodeAll, requireRoom } from "./prompt_batch.ts";
import type { Service } from "./service.ts";

/** What may be asked of embeddings. */
export interface EmbedOptions {
  /** So many numbers from the front; all where nothing is said. */
  readonly dimensions?: number | null | undefined;
  /** Separates cached prefixes. */
  readonly salt?: string;
  /** Lower comes first. */
  readonly priority?: number;
  /** Whether what is too long is cut at its end, instead of refused. */
  readonly truncate?: boolean;
}

/** Embeddings in the order of the inputs. */
export interface Embeddings {
  /** Of equal lengths. */
  readonly vectors: readonly Float32Array[];
  /** What it took. */
  readonly usage: BatchUsage;
}

/**
 * Embeds texts or token ids.
 * @throws {ApiError} 400 naming the input that is too long, before any is computed
 */
export async function embed(
  c: Context<AppEnv>,
  service: Service,
  inputs: readonly BatchInput[],
  { dimensions, salt = "", priority = 0, truncate = false }: EmbedOptions = {},
): Promise<Embeddings> {
  const engine = service.readyEngine, { model } = engine;
  const { hiddenSize } = model.config;
  if (dimensions && dimensions > hiddenSize) {
    throw new ApiError(400, `dimensions is ${dimensions}, but this model's embeddings have ${hiddenSize}`, {
      param: "dimensions",
      code: "invalid_value",
    });
  }
  const { pooling, normalize } = model.embedding ?? defaultEmbedding;
  let prompts = await encodeAll(service, engine, c.get("client"), inputs);
  if (truncate) prompts = prompts.map((ids) => cut(ids, model.contextLength - 1));
  requireRoom(prompts, inputs, model.contextLength);
  // The first token of a decoder sees no other: its state is that of a text which it is all of.
  const computed = pooling === "cls" ? prompts.map((ids) => ids.subarray(0, 1)) : prompts;
  const params = {
    ...defaultSamplingParams,
    pooling: pooling === "mean" ? "mean" as const : "last" as const,
    maxTokens: 1,
    priority,
  };
  const { deltas, usage } = await computeAll(c, service, computed.map((ids) => ({ ids, params })), salt);
  const vectors = deltas.map(({ embedding }) => {
    if (embedding === undefined) throw new Error("the engine answered without an embedding");
    const vector = embedding.subarray(0, dimensions ?? hiddenSize);
    return normalize || dimensions ? normalized(vector) : vector;
  });
  if (pooling !== "cls") return { vectors, usage };
  const tokens = prompts.reduce((sum, { length }) => sum + length, 0);
  return { vectors, usage: { ...usage, prompt_tokens: tokens, total_tokens: tokens } };
}

/** The first `most` tokens, of which the last stays the last: it may be the one that stands for the text. */
function cut(ids: Uint32Array, most: number): Uint32Array {
  if (ids.length <= most) return ids;
  const kept = ids.slice(0, most);
  kept[most - 1] = ids.at(-1)!;
  return kept;
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
