// What a served model is for.

import type { ModelInfo } from "../../engine/options.ts";

/** What clients can ask of the model besides text, which every decoder gives, and embeddings. */
export type ModelTask = "generate" | "embed" | "rerank";

/** What may be said about it; "auto" goes by the model. */
export const taskNames = ["auto", "generate", "embed", "rerank"] as const;

/** A name that may be said. */
export type TaskOption = typeof taskNames[number];

/** By what its files say, or for a reranker, which no file tells from a chat model, its name. */
export function modelTask({ id, path, embedding }: ModelInfo, option: TaskOption): ModelTask {
  if (option !== "auto") return option;
  if (/qwen3-?reranker/i.test(`${id} ${path}`)) return "rerank";
  return embedding === null ? "generate" : "embed";
}
