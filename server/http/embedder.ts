// Texts or token ids to embeddings: checked, computed by the engine, and made vectors of.

import type { Context } from "hono";
import type { AppEnv } from "./answer.ts";
import { invalid } from "./errors.ts";
import { type BatchInput, type BatchUsage, computeAll, encodeAll, requireRoom } from "./prompt_batch.ts";
import type { Service } from "./service.ts";
import { embeddingPrompt, embeddingVector } from "./vectors.ts";

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
  { dimensions, salt = "", priority = 0, truncate = false }: EmbedOptions,
): Promise<Embeddings> {
  const engine = service.readyEngine, { model } = engine;
  const { hiddenSize } = model.config;
  if (dimensions && dimensions > hiddenSize) {
    throw invalid(
      "dimensions",
      `dimensions is ${dimensions}, but this model's embeddings have ${hiddenSize}`,
    );
  }
  let ids = await encodeAll(service, engine, c.get("client"), inputs);
  if (truncate) ids = ids.map((each) => cut(each, model.contextLength - 1));
  requireRoom(ids, inputs, model.contextLength);
  const prompts = ids.map((each) => embeddingPrompt(each, model, priority));
  const { deltas, usage } = await computeAll(c, service, prompts, salt);
  const tokens = ids.reduce((sum, { length }) => sum + length, 0);
  return {
    vectors: deltas.map(({ embedding }) => embeddingVector(embedding, model, dimensions)),
    usage: { ...usage, prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** The first `most` tokens, of which the last stays the last: it may be the one that stands for the text. */
function cut(ids: Uint32Array, most: number): Uint32Array {
  if (ids.length <= most) return ids;
  const kept = ids.slice(0, most);
  kept[most - 1] = ids.at(-1)!;
  return kept;
}
