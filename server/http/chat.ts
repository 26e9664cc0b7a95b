// POST /v1/chat/completions: OpenAI's chat, with reasoning and tool calls split from the text.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { ChatChoice, chatLogprobs, type ChoiceParsing } from "./chat_choice.ts";
import { chatInput, promptWithStart } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import { choiceParams, requireModel, requireStreaming, samplingParams } from "./params.ts";
import { Run, type RunEvent } from "./run.ts";
import { type ChatRequest, chatRequestSchema } from "./schemas/chat.ts";
import { validate } from "./schemas/validate.ts";
import type { Service } from "./service.ts";
import { doneEvent, event } from "./sse.ts";
import type { PromptInput, TextLogprob } from "../../engine/messages.ts";

/** POST /v1/chat/completions. */
export function chatRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/chat/completions", async (c) => {
    const engine = service.readyEngine;
    const request = validate(chatRequestSchema, await readJson(c.req.raw, service.options));
    requireModel(request.model, service.modelNames);
    requireStreaming(request);
    if (request.top_logprobs && request.logprobs !== true) {
      throw new ApiError(400, "top_logprobs needs logprobs: true", { param: "top_logprobs" });
    }
    const params = samplingParams(request, {
      maxTokens: request.max_completion_tokens ?? request.max_tokens ?? null,
      minTokens: request.min_tokens ?? 0,
      seed: request.seed ?? null,
      logprobs: request.logprobs === true ? request.top_logprobs ?? 0 : null,
    }, engine.model);
    if (params.maxTokens === 0) {
      throw new ApiError(400, "max_tokens: must be at least 1", {
        param: "max_tokens",
        code: "invalid_value",
      });
    }

    const tools = toolUse(request, service);
    const conversation = chatInput(tools.offered ? request : { ...request, tools: null }, engine.model);
    const input: PromptInput = tools.start === "" ? conversation : promptWithStart(conversation, tools.start);
    const count = request.n ?? 1;
    const { id } = c.get("record");
    const run = new Run(service, service.readyEngine, c.var, [{
      input,
      params: Array.from({ length: count }, (_, i) => choiceParams(params, i)),
      salt: request.cache_salt ?? "",
      id,
    }]);
    const parsing = async (): Promise<ChoiceParsing> => ({
      reasoning: await reasoningParsing(request, service, run),
      tools: tools.parsed,
      start: tools.start,
      parallelToolCalls: request.parallel_tool_calls ?? true,
    });
    const form = new ChatForm(
      service.modelName,
      id,
      run,
      parsing,
      request.stream_options?.include_usage === true,
    );
    return answer(c, service, run, request.stream === true, form);
  });
  return app;
}

interface ToolUse {
  /** Tools go to the template. */
  readonly offered: boolean;
  /** Names of the tools whose calls are parsed; null if none are. */
  readonly parsed: readonly string[] | null;
  /** How the answer is made to begin, if a call is demanded. */
  readonly start: string;
}

/** @throws {ApiError} 400 if a call is demanded that cannot be made. */
function toolUse(request: ChatRequest, service: Service): ToolUse {
  const names = (request.tools ?? []).map((tool) => tool.function.name);
  const choice = request.tool_choice ?? "auto";
  const parsing = service.options.toolParser === "auto";
  if (choice === "none" || (choice === "auto" && names.length === 0)) {
    return { offered: false, parsed: null, start: "" };
  }
  if (choice === "auto") return { offered: true, parsed: parsing ? names : null, start: "" };
  const wanted = choice === "required" ? null : choice.function.name;
  if (!parsing) {
    throw new ApiError(400, "the server was started without a tool parser", { param: "tool_choice" });
  }
  if (names.length === 0 || (wanted !== null && !names.includes(wanted))) {
    const what = wanted === null ? "tools" : `a tool named ${JSON.stringify(wanted)} in tools`;
    throw new ApiError(400, `tool_choice needs ${what}`, { param: "tool_choice", code: "invalid_value" });
  }
  // Ends where a token naturally ends, so that the model sees what it was trained on.
  const start = '<tool_call>\n{"name": "';
  return {
    offered: true,
    parsed: names,
    start: wanted === null ? start : `${start}${wanted}", "arguments":`,
  };
}

/** Null if reasoning is not to be split off; `open` if the prompt ends inside a block that the template opened. */
async function reasoningParsing(
  request: ChatRequest,
  service: Service,
  run: Run,
): Promise<ChoiceParsing["reasoning"]> {
  if (service.options.reasoningParser === "none" || request.separate_reasoning === false) return null;
  const { engine } = service;
  if (!engine.model.chatTemplate?.includes("<think>")) return { open: false };
  const [state] = run.states;
  if (state!.finish?.type === "abort") return { open: false }; // Perhaps before there were any tokens.
  const end = await service.ask(engine.decode((await state!.generation.promptIds).slice(-8), false));
  return { open: end.trimEnd().endsWith("<think>") };
}

/** Builds the objects and chunks of one chat answer. */
class ChatForm implements AnswerForm {
  readonly #run: Run;
  readonly #parsing: () => Promise<ChoiceParsing>;
  readonly #includeUsage: boolean;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };

  constructor(
    model: string,
    id: string,
    run: Run,
    parsing: () => Promise<ChoiceParsing>,
    includeUsage: boolean,
  ) {
    this.#run = run;
    this.#parsing = parsing;
    this.#includeUsage = includeUsage;
    this.#head = { id, created: Math.floor(Date.now() / 1000), model };
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    let choices: ChatChoice[] | null = null;
    const begun = new Set<number>();
    for await (const { index, delta } of events) {
      choices ??= await this.#choices();
      const choice = choices[index]!;
      if (choice.done) continue;
      if (!begun.has(index)) {
        begun.add(index);
        yield this.#chunk(index, { role: "assistant", content: "" }, null, null);
      }
      const piece = choice.push(delta.text, delta.finish);
      const logprobs = delta.logprobs?.length ? delta.logprobs : null;
      if (Object.keys(piece).length > 0 || logprobs) yield this.#chunk(index, piece, logprobs, null);
      const finish = this.#finish(index, choice, delta.finish);
      if (finish !== null) yield this.#chunk(index, {}, null, finish);
    }
    if (this.#includeUsage) {
      const usage = await this.#run.usage();
      yield event({ ...this.#head, object: "chat.completion.chunk", choices: [], usage });
    }
    yield doneEvent;
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    let choices: ChatChoice[] | null = null;
    const logprobs = this.#run.states.map((): TextLogprob[] => []);
    const asked = new Set<number>();
    const reasons = this.#run.states.map((): Finish => ({ finish_reason: "abort", matched_stop: null }));
    for await (const { index, delta } of events) {
      choices ??= await this.#choices();
      const choice = choices[index]!;
      if (choice.done) continue;
      choice.push(delta.text, delta.finish);
      if (delta.logprobs) {
        asked.add(index);
        logprobs[index]!.push(...delta.logprobs);
      }
      reasons[index] = this.#finish(index, choice, delta.finish) ?? reasons[index]!;
    }
    return {
      ...this.#head,
      object: "chat.completion",
      choices: (choices ?? []).map((choice, index) => ({
        index,
        message: choice.message(),
        logprobs: asked.has(index) ? chatLogprobs(logprobs[index]!) : null,
        ...reasons[index]!,
      })),
      usage: await this.#run.usage(),
    };
  }

  async #choices(): Promise<ChatChoice[]> {
    const parsing = await this.#parsing();
    return this.#run.states.map(() => new ChatChoice(parsing));
  }

  /** The choice's end, if this was it; a choice that needs no more text is ended here. */
  #finish(index: number, choice: ChatChoice, finish: RunEvent["delta"]["finish"]): Finish | null {
    if (finish === null && !choice.done) return null;
    if (finish === null) {
      this.#run.states[index]!.generation.abort();
      return { finish_reason: "tool_calls", matched_stop: null };
    }
    return {
      finish_reason: choice.finishReason(finish),
      matched_stop: finish.type === "stop" ? finish.matched : null,
    };
  }

  #chunk(
    index: number,
    delta: unknown,
    logprobs: readonly TextLogprob[] | null,
    finish: Finish | null,
  ): string {
    return event({
      ...this.#head,
      object: "chat.completion.chunk",
      choices: [{
        index,
        delta,
        logprobs: logprobs && chatLogprobs(logprobs),
        ...(finish ?? { finish_reason: null }),
      }],
      ...(this.#includeUsage ? { usage: null } : {}),
    });
  }
}

interface Finish {
  readonly finish_reason: string;
  /** SGLang's extension: the stop string or token. */
  readonly matched_stop: string | number | null;
}
