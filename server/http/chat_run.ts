// One chat request on the engine, whatever API it came by: tools, prompt and sampling are settled, the generations
// are started, and their texts are taken apart. All chat APIs put their requests into the form of OpenAI's chat.

import type { FinishReason } from "../../engine/params.ts";
import type { Sampler } from "../../kernels/sampling.ts";
import type { PromptInput } from "../../engine/messages.ts";
import { AnswerParser, type AnswerParsing, type AnswerPart } from "./answer_parser.ts";
import { chatInput, promptWithStart } from "./conversation.ts";
import { invalid } from "./errors.ts";
import { choiceParams, samplingParams } from "./params.ts";
import { Run, type RunEvent, type RunOwner } from "./run.ts";
import type { ChatRequest } from "./schemas/chat.ts";
import type { Service } from "./service.ts";
import { constraint, outputGrammar } from "./structured.ts";
import { toolUse } from "./tool_use.ts";

/** A chat request with the sampler's fields, which its schema does not name one by one. */
export type ChatTask =
  & ChatRequest
  & { readonly [field in JsonName<keyof Sampler>]?: number | null | undefined };

/** min_p of minP. */
type JsonName<S extends string> = S extends `${infer Head}${infer Rest}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${JsonName<Rest>}`
  : S;

/** A chat request that runs. */
export interface ChatRun {
  /** Its generations. */
  readonly run: Run;
  /** One call is allowed, and ends the answer. */
  readonly mayEndEarly: boolean;
  /** How their texts are taken apart; waits for the prompt, whose end matters. */
  parsing(): Promise<AnswerParsing>;
}

/** How {@link startChat} differs between APIs. */
export interface ChatRunOptions {
  /** `max_tokens` is an upper bound: where less is left of the context, the answer may fill it. */
  readonly maxTokensIsBound?: boolean;
}

/**
 * Starts a chat request.
 * @throws {ApiError} 400 if it asks for something impossible, 503 if the engine is not ready.
 */
export async function startChat(
  service: Service,
  owner: RunOwner,
  id: string,
  request: ChatTask,
  { maxTokensIsBound = false }: ChatRunOptions = {},
): Promise<ChatRun> {
  const { model } = service.readyEngine;
  const tools = toolUse(request, service, constraint(request, model));
  const grammar = outputGrammar(tools.grammar, tools.start === "" && thinks(request, service));
  const conversation = chatInput(tools.offered ? request : { ...request, tools: null }, model);
  let input: PromptInput = tools.start === "" ? conversation : promptWithStart(conversation, tools.start);
  let maxTokens = request.max_completion_tokens ?? request.max_tokens ?? null;
  if (maxTokens !== null && maxTokensIsBound) {
    const { ids } = await service.ask(service.readyEngine.encode(input, owner.client));
    if (ids.length + maxTokens > model.contextLength) maxTokens = null;
    input = { type: "ids", ids };
  }
  const specialTags = tools.parsed?.format.specialTags === true;
  const params = samplingParams(
    specialTags ? { ...request, skip_special_tokens: false } : request,
    {
      maxTokens,
      minTokens: request.min_tokens ?? 0,
      seed: request.seed ?? null,
      logprobs: request.logprobs === true ? request.top_logprobs ?? 0 : null,
    },
    model,
    grammar,
  );
  if (params.maxTokens === 0) {
    throw invalid("max_tokens", "max_tokens: must be at least 1");
  }
  const run = new Run(service, service.readyEngine, owner, [{
    input,
    params: Array.from({ length: request.n ?? 1 }, (_, i) => choiceParams(params, i)),
    salt: request.cache_salt ?? "",
    id,
  }]);
  return {
    run,
    mayEndEarly: tools.parsed !== null && request.parallel_tool_calls === false,
    parsing: async () => ({
      reasoning: await reasoningParsing(request, service, run),
      tools: tools.parsed,
      start: tools.start,
      parallelToolCalls: request.parallel_tool_calls ?? true,
    }),
  };
}

/** Whether the answer may begin with a `<think>` block that is split off. */
function thinks(request: ChatRequest, { options, engine }: Service): boolean {
  return options.reasoningParser !== "none" && request.separate_reasoning !== false &&
    engine.model.chatTemplate?.includes("<think>") === true;
}

/** Null if reasoning is not to be split off; `open` if the prompt ends inside a block that the template opened. */
async function reasoningParsing(
  request: ChatRequest,
  service: Service,
  run: Run,
): Promise<AnswerParsing["reasoning"]> {
  if (service.options.reasoningParser === "none" || request.separate_reasoning === false) return null;
  const { engine } = service;
  if (!engine.model.chatTemplate?.includes("<think>")) return { open: false };
  const [state] = run.states;
  if (state!.finish?.type === "abort") return { open: false }; // Perhaps before there were any tokens.
  const end = await service.ask(engine.decode((await state!.generation.promptIds).slice(-8), false));
  return { open: end.trimEnd().endsWith("<think>") };
}

/** Why an answer ended; "calls" also when it was ended behind the one call that was allowed. */
export type AnswerEnd =
  | { readonly type: "stop"; readonly matched: string | number }
  | { readonly type: "length" | "abort" | "calls" };

/** Parts of an answer, and what came last. */
export type AnswerEvent = AnswerPart | { readonly type: "end"; readonly end: AnswerEnd };

/** The parts of a request with one answer, as they come. */
export class SingleAnswer {
  /** Its generations: one. */
  readonly run: Run;
  /** See {@link ChatRun}. */
  readonly mayEndEarly: boolean;
  readonly #chat: ChatRun;
  #parser: AnswerParser | null = null;

  /** Nothing is read yet. */
  constructor(chat: ChatRun) {
    this.#chat = chat;
    this.run = chat.run;
    this.mayEndEarly = chat.mayEndEarly;
  }

  /** Tokens that came inside the reasoning block so far. */
  get reasoningTokens(): number {
    return this.#parser?.reasoningTokens ?? 0;
  }

  /** Everything that comes, and an end. @throws {ApiError} when the generation fails. */
  async *parts(events: AsyncIterable<RunEvent>): AsyncGenerator<AnswerEvent> {
    let ended = false;
    for await (const { delta } of events) {
      if (ended) continue; // The generation was told to end, and its last words are of no interest.
      const parser = this.#parser ??= new AnswerParser(await this.#chat.parsing());
      yield* parser.push(delta.text, delta.finish, delta.tokens.length);
      if (delta.finish === null && !parser.done) continue;
      ended = true;
      if (delta.finish === null) this.run.abort();
      yield { type: "end", end: endOf(parser, delta.finish) };
    }
    if (!ended) yield { type: "end", end: { type: "abort" } };
  }
}

function endOf(parser: AnswerParser, finish: FinishReason | null): AnswerEnd {
  if (finish === null || parser.done) return { type: "calls" };
  switch (finish.type) {
    case "stop":
      return parser.calls > 0 ? { type: "calls" } : finish;
    case "length":
    case "abort":
      return { type: finish.type };
    case "error":
      return { type: "abort" }; // A run throws these.
  }
}
