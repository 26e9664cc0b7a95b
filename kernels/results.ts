// The result of a step, however a backend comes by it: filled row by row, read from the words that a device has
// written, or put together from the results of a plan's forwards.

import type { BatchPlan, StepResult } from "./plan.ts";

/** A result of `rows` sampled rows, to be filled: log-probabilities are NaN until then. */
export function emptyResult(id: number, rows: number, topCount: number): StepResult {
  return {
    id,
    tokens: new Uint32Array(rows),
    logprobs: new Float32Array(rows).fill(NaN),
    topCount,
    topTokens: new Uint32Array(rows * topCount),
    topLogprobs: new Float32Array(rows * topCount).fill(NaN),
    milliseconds: 0,
  };
}

/** Results of a plan's forwards, one after the other. */
export function joinResults(results: readonly StepResult[], id: number, milliseconds: number): StepResult {
  const last = results.at(-1) ?? emptyResult(id, 0, 0);
  if (results.length === 1) return { ...last, milliseconds };
  return {
    ...last,
    tokens: Uint32Array.from(results.flatMap((r) => [...r.tokens])),
    logprobs: Float32Array.from(results.flatMap((r) => [...r.logprobs])),
    topTokens: Uint32Array.from(results.flatMap((r) => [...r.topTokens])),
    topLogprobs: Float32Array.from(results.flatMap((r) => [...r.topLogprobs])),
    milliseconds,
  };
}

/** Words of one sampled row's result: token, log-probability, then the alternatives' ids and log-probabilities. */
export const resultWords = (topCount: number): number => 2 + 2 * topCount;

/** Bytes of all results of a step with `samples` sampled rows in each of its forwards. */
export const resultBytes = (samples: number, steps: number, topCount: number): number =>
  4 * samples * steps * resultWords(topCount);

/** What a device leaves behind for a plan: results of the sampled rows, and perhaps numbers of each beside them. */
export interface ResultLayout {
  /** Sampled rows of each forward. */
  readonly samples: number;
  /** Alternatives of each. */
  readonly topCount: number;
  /** Numbers of each row that are returned: its logits, or what it is after the last norm; null for none. */
  readonly returned: { readonly name: "logits" | "hidden"; readonly width: number } | null;
}

/** Words that are returned beside the results. */
export const returnedWords = ({ samples, returned }: ResultLayout): number =>
  samples * (returned?.width ?? 0);

/** Reads results of {@link resultWords} each, and behind them what else is returned, from words of a device. */
export function readResult(
  words: Uint32Array<ArrayBuffer>,
  { id, steps }: Pick<BatchPlan, "id" | "steps">,
  layout: ResultLayout,
  milliseconds: number,
): StepResult {
  const { samples, topCount, returned } = layout, rows = samples * steps;
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const result = { ...emptyResult(id, rows, topCount), milliseconds };
  const stride = resultWords(topCount), end = rows * stride;
  for (let i = 0; i < rows; i++) {
    const at = i * stride;
    result.tokens[i] = words[at]!;
    result.logprobs[i] = floats[at + 1]!;
    for (let j = 0; j < topCount; j++) {
      result.topTokens[i * topCount + j] = words[at + 2 + j]!;
      result.topLogprobs[i * topCount + j] = floats[at + 2 + topCount + j]!;
    }
  }
  return returned === null
    ? result
    : { ...result, [returned.name]: floats.slice(end, end + returnedWords(layout)) };
}
