// The answer of Ollama's /api/embed. A request without a text asks for the model to be loaded, which it is.

import type { Context } from "hono";
import type { AppEnv } from "./answer.ts";
import { embed } from "./embedder.ts";
import { taggedName } from "./ollama_models.ts";
import { nanoseconds } from "./ollama_output.ts";
import { textInputs } from "./prompt_batch.ts";
import type { OllamaEmbed } from "./schemas/ollama.ts";
import type { Service } from "./service.ts";

/** Embeds all texts; what is too long is cut, unless `truncate` is false. */
export async function ollamaEmbed(
  c: Context<AppEnv>,
  service: Service,
  { input, truncate, dimensions }: Omit<OllamaEmbed, "model">,
) {
  const begun = performance.now();
  const inputs = input ? textInputs(input, "input") : [];
  const { vectors, usage } = await embed(c, service, inputs, { truncate: truncate !== false, dimensions });
  return {
    model: taggedName(service),
    embeddings: vectors.map((vector) => [...vector]),
    total_duration: nanoseconds(performance.now() - begun),
    load_duration: 0,
    prompt_eval_count: usage.prompt_tokens,
  };
}
