// The answer of Ollama's /api/embed. A request without a text asks for the model to be loaded, which it is.

import type { Context } from "hono";
import type { AppEnv } from "./answer.ts";
import { embed } from "./embedder.ts";
import { taggedName } from "./ollama_models.ts";
import { nanoseconds } from "./ollama_output.ts";
import type { Service } from "./service.ts";

/** What is asked. */
export interface OllamaEmbedRequest {
  /** Null or empty texts have no embedding. */
  readonly input?: string | readonly string[] | null | undefined;
  /** Whether what is too long is cut; true if missing. */
  readonly truncate?: boolean | null | undefined;
  /** So many numbers of each embedding. */
  readonly dimensions?: number | null | undefined;
}

/** Embeds all texts. */
export async function ollamaEmbed(
  c: Context<AppEnv>,
  service: Service,
  { input, truncate, dimensions }: OllamaEmbedRequest,
) {
  const begun = performance.now();
  const texts = typeof input === "string" ? (input === "" ? [] : [input]) : input ?? [];
  const inputs = texts.map((value, i) => ({
    value,
    param: typeof input === "string" ? "input" : `input[${i}]`,
  }));
  const { vectors, usage } = await embed(c, service, inputs, { truncate: truncate !== false, dimensions });
  return {
    model: taggedName(service),
    embeddings: vectors.map((vector) => [...vector]),
    total_duration: nanoseconds(performance.now() - begun),
    load_duration: 0,
    prompt_eval_count: usage.prompt_tokens,
  };
}
