// One generation on the terminal: streams the text, measures, and returns everything at the end.

import { writeOut } from "./output.ts";
import type { Completion, GenerateRequest } from "../../engine/engine.ts";
import type { FinishReason } from "../../engine/params.ts";
import { withReading } from "./reading.ts";
import type { Session } from "./session.ts";

/** Milliseconds and rates as a user experiences them. */
export interface Timings {
  /** From submission to the first token; null if there was none. */
  readonly first_token_ms: number | null;
  /** From submission to the end. */
  readonly total_ms: number;
  /** Of the prompt, until the first token. */
  readonly prompt_tokens_per_second: number | null;
  /** After the first token. */
  readonly tokens_per_second: number | null;
}

/** Runs a request to its end; `stream` writes the text to standard output as it comes. */
export async function runOne(
  { engine, progress }: Session,
  request: GenerateRequest,
  stream: boolean,
): Promise<{ completion: Completion; timings: Timings }> {
  const began = performance.now();
  const generation = engine.submit(request);
  let text = "", cachedTokens = 0, firstAt: number | null = null, firstCount = 0;
  let finish: FinishReason = { type: "abort" };
  const tokens: number[] = [];
  for await (const delta of withReading(engine, generation, (fraction) => progress.reading(fraction))) {
    if (firstAt === null && delta.tokens.length > 0) {
      firstAt = performance.now();
      firstCount = delta.tokens.length;
    }
    text += delta.text;
    tokens.push(...delta.tokens);
    cachedTokens = delta.cachedTokens;
    if (stream && delta.text !== "") writeOut(delta.text);
    if (delta.finish) finish = delta.finish;
  }
  const ended = performance.now();
  const promptIds = await generation.promptIds.catch(() => new Uint32Array());
  const rate = (count: number, ms: number) => count > 0 && ms > 0 ? round(count / ms * 1000) : null;
  return {
    completion: { text, promptIds, tokens, cachedTokens, finish },
    timings: {
      first_token_ms: firstAt === null ? null : round(firstAt - began),
      total_ms: round(ended - began),
      prompt_tokens_per_second: firstAt === null ? null : rate(promptIds.length, firstAt - began),
      tokens_per_second: firstAt === null ? null : rate(tokens.length - firstCount, ended - firstAt),
    },
  };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
