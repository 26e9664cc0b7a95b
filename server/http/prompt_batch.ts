// Many prompts of one HTTP request that are computed but not continued: encoded and checked before any of them runs,
// then given to the engine in portions, so that one request does not fill the queue.

import type { Context } from "hono";
import type { SamplingParams } from "../../engine/params.ts";
import type { Delta } from "../../engine/messages.ts";
import { abortWithClient, type AppEnv } from "./answer.ts";
import type { ServedEngine } from "./engine_api.ts";
import { ApiError, invalid } from "./errors.ts";
import { requireTokenizer } from "./params.ts";
import { Run, type Usage } from "./run.ts";
import type { Service } from "./service.ts";

/** A text or token ids, and the field that it came in. */
export interface BatchInput {
  /** Ids are taken as they are. */
  readonly value: string | Uint32Array;
  /** For messages. */
  readonly param: string;
}

/** A text. */
export type TextInput = BatchInput & { readonly value: string };

/** A text or texts of the field `param`. */
export function textInputs(texts: string | readonly string[], param: string): TextInput[] {
  if (typeof texts === "string") return [{ value: texts, param }];
  return texts.map((value, i) => ({ value, param: `${param}[${i}]` }));
}

/** What the prompts were. */
export type BatchUsage = Omit<Usage, "completion_tokens">;

/** How a text becomes ids. */
export interface EncodeOptions {
  /** Whether the tokenizer puts its own tokens around it. */
  readonly addSpecialTokens?: boolean;
  /** Whether special tokens in it are plain text. */
  readonly foreign?: boolean;
}

/** Texts that are with the tokenizer at a time, and prompts that are with the engine. */
const portion = 128;

/** The ids of inputs, in their order. @throws {ApiError} 400 without a tokenizer */
export async function encodeAll(
  service: Service,
  engine: ServedEngine,
  client: string,
  inputs: readonly BatchInput[],
  options: EncodeOptions = {},
): Promise<Uint32Array[]> {
  const encode = async ({ value, param }: BatchInput): Promise<Uint32Array> => {
    if (typeof value !== "string") return value;
    requireTokenizer(engine.model, param, `${param}: texts need`);
    return (await service.ask(engine.encode({ type: "text", text: value, ...options }, client))).ids;
  };
  const all: Uint32Array[] = [];
  for (let at = 0; at < inputs.length; at += portion) {
    all.push(...await Promise.all(inputs.slice(at, at + portion).map(encode)));
  }
  return all;
}

/**
 * Refuses prompts that are empty, or leave no room for one more token.
 * @throws {ApiError} 400 with both numbers
 */
export function requireRoom(
  prompts: readonly Uint32Array[],
  inputs: readonly BatchInput[],
  contextLength: number,
): void {
  prompts.forEach(({ length }, i) => {
    const { param } = inputs[i]!;
    if (length === 0) {
      throw invalid(param, `${param}: there is nothing in it`);
    }
    if (length < contextLength) return;
    throw invalid(
      param,
      `${param}: at most ${contextLength - 1} tokens fit the context, but there are ${length}`,
      "context_length_exceeded",
    );
  });
}

/** One prompt to compute. */
export interface BatchPrompt {
  /** Its tokens. */
  readonly ids: Uint32Array;
  /** What is wanted of it. */
  readonly params: SamplingParams;
}

/**
 * The last delta of each prompt, with all prompt log-probabilities. A client that goes away ends what runs.
 * @throws {ApiError} when one fails, or is aborted
 */
export async function computeAll(
  c: Context<AppEnv>,
  service: Service,
  prompts: readonly BatchPrompt[],
  salt: string,
): Promise<{ readonly deltas: readonly Delta[]; readonly usage: BatchUsage }> {
  const record = c.get("record"), engine = service.readyEngine;
  const deltas: Delta[] = [];
  let tokens = 0, cached = 0;
  // A server that is told to end waits for all portions, not only for the one that runs.
  const whole = { owner: "", hasId: () => false, abort: () => {} };
  service.enter(whole);
  try {
    for (let at = 0; at < prompts.length; at += portion) {
      const some = prompts.slice(at, at + portion).map(({ ids, params }) => ({
        input: { type: "ids" as const, ids },
        params: [params],
        salt,
        id: record.id,
      }));
      const run = new Run(service, engine, c.var, some);
      const stopListening = abortWithClient(c, run);
      try {
        for await (const { index, delta } of run.events()) {
          const promptLogprobs = delta.promptLogprobs ?? deltas[at + index]?.promptLogprobs ?? null;
          deltas[at + index] = { ...delta, promptLogprobs };
        }
      } finally {
        stopListening();
      }
      const usage = await run.usage();
      tokens += usage.prompt_tokens;
      cached += usage.prompt_tokens_details.cached_tokens;
      if (run.states.some(({ finish }) => finish?.type === "abort")) {
        throw new ApiError(503, "the request was aborted", { code: "aborted" });
      }
    }
  } finally {
    service.leave(whole);
  }
  const usage = {
    prompt_tokens: tokens,
    total_tokens: tokens,
    prompt_tokens_details: { cached_tokens: cached },
  };
  record.usage = { ...usage, completion_tokens: 0 };
  return { deltas, usage };
}
