// What a step's result means for one of its sequences: new tokens, their log-probabilities, and whether they end it.
//
// The end is decided from what was captured when the plan was launched, row by row. By now later plans may be in
// flight and the request's own lengths are ahead: read off them, the last token would be lost or come twice.

import type { TokenUpdate } from "../messages.ts";
import type { FinishReason, TokenLogprob } from "../params.ts";
import type { StepResult } from "../../kernels/plan.ts";
import type { LaunchedSequence, ScheduleBatch } from "./schedule_batch.ts";
import type { Request } from "./request.ts";

/**
 * Appends to the request what the result holds for it and returns the news, or null if there is none (a chunk that
 * drew nothing). Not for requests that have ended.
 */
export function processSequence(
  result: StepResult,
  plan: ScheduleBatch,
  sequence: LaunchedSequence,
): TokenUpdate | null {
  const { request, firstSample, scores, draws } = sequence;
  const { logprobs, promptLogprobs, pooling } = request.params;
  if (pooling !== null) return pool(result, plan, sequence);
  for (let i = 0; i < scores; i++) {
    request.promptLogprobs?.push(logprobAt(result, firstSample + i, promptLogprobs ?? 0));
  }
  if (!draws) return null;
  const tokens: number[] = [], tokenLogprobs: TokenLogprob[] = [];
  let finish: FinishReason | null = null;
  for (let step = 0; step < plan.steps && finish === null; step++) {
    const at = step * plan.samples + firstSample + scores;
    const token = result.tokens[at]!;
    tokens.push(token);
    request.output.push(token);
    if (logprobs !== null) tokenLogprobs.push(logprobAt(result, at, logprobs));
    if (request.stopIds.has(token)) finish = { type: "stop", matched: token };
    else if (sequence.lastByLength && step === plan.steps - 1) finish = { type: "length" };
  }
  const news: TokenUpdate = {
    id: request.id,
    tokens,
    logprobs: logprobs === null ? null : tokenLogprobs,
    promptLogprobs: request.promptLogprobs,
    cachedTokens: request.cachedTokens ?? 0,
    finish,
  };
  // All of the prompt has been scored before the first draw; it is told once.
  request.promptLogprobs = null;
  return news;
}

/**
 * Adds up the states of a request that asks for an embedding; the news is their mean, behind the last one. A step that
 * returns no states has none of the request's rows.
 */
function pool(
  { hidden = new Float32Array() }: StepResult,
  { samples }: ScheduleBatch,
  { request, firstSample, scores, lastByLength }: LaunchedSequence,
): TokenUpdate | null {
  const width = hidden.length / samples, { params, prompt } = request;
  for (let s = firstSample; s < firstSample + scores; s++) {
    const sum = request.pooled ??= new Float64Array(width);
    for (let i = 0; i < width; i++) sum[i]! += hidden[s * width + i]!;
  }
  if (!lastByLength) return null;
  const count = params.pooling === "mean" ? prompt.length : 1;
  return {
    ...endOf(request, { type: "length" }),
    embedding: Float32Array.from(request.pooled!, (x) => x / count),
  };
}

/** The end of a request that comes without tokens: refused, or aborted. */
export function endOf(request: Pick<Request, "id" | "cachedTokens">, finish: FinishReason): TokenUpdate {
  const { id, cachedTokens } = request;
  return { id, tokens: [], logprobs: null, promptLogprobs: null, cachedTokens: cachedTokens ?? 0, finish };
}

/** The log-probability in one row of a result, with its first `top` alternatives. */
function logprobAt(result: StepResult, row: number, top: number): TokenLogprob {
  const first = row * result.topCount;
  return {
    id: result.tokens[row]!,
    logprob: result.logprobs[row]!,
    top: Array.from({ length: Math.min(top, result.topCount) }, (_, i) => ({
      id: result.topTokens[first + i]!,
      logprob: result.topLogprobs[first + i]!,
    })),
  };
}
