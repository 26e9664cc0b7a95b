// Checks of an encoded prompt against the model: nothing is clamped or dropped in silence.

import type { FinishReason } from "../params.ts";
import { tooLongMessage } from "../workers/length_limit.ts";

/** The sizes that a prompt has to fit. */
export interface PromptBounds {
  /** Most tokens of prompt and output together. */
  readonly contextLength: number;
  /** Rows of the embedding table. */
  readonly vocabSize: number;
}

/** Why the prompt cannot run, or null. `maxTokens` null means what is left of the context. */
export function promptProblem(
  ids: Uint32Array,
  maxTokens: number | null,
  bounds: PromptBounds,
): (FinishReason & { type: "error" }) | null {
  const { contextLength, vocabSize } = bounds;
  if (ids.length === 0) return { type: "error", code: "invalid", message: "the prompt is empty" };
  const needed = ids.length + (maxTokens ?? 1);
  if (needed > contextLength) {
    const asked = maxTokens === null || ids.length >= contextLength
      ? ""
      : ` and up to ${maxTokens} are asked for`;
    return {
      type: "error",
      code: "too_long",
      message: tooLongMessage(`${ids.length}${asked}`, contextLength),
    };
  }
  const stray = ids.find((id) => id >= vocabSize);
  if (stray !== undefined) {
    const message = `token id ${stray} is not in the vocabulary of ${vocabSize}`;
    return { type: "error", code: "invalid", message };
  }
  return null;
}
