// POST /v1/chat/completions: OpenAI's chat, with reasoning and tool calls split from the text.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { ChatChoice, type ChatDelta, chatLogprobs } from "./chat_choice.ts";
import { type ChatRun, startChat } from "./chat_run.ts";
import { ApiError } from "./errors.ts";
import { requireStreaming } from "./params.ts";
import type { Run, RunEvent } from "./run.ts";
import { chatRequestSchema } from "./schemas/chat.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";
import { doneEvent, event, eventAround } from "./sse.ts";
import type { TextLogprob } from "../../engine/messages.ts";

/** POST /v1/chat/completions. */
export function chatRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/chat/completions", async (c) => {
    const request = await readRequest(c, service, chatRequestSchema);
    requireStreaming(request);
    if (request.top_logprobs && request.logprobs !== true) {
      throw new ApiError(400, "top_logprobs needs logprobs: true", { param: "top_logprobs" });
    }
    const { id } = c.get("record");
    const chat = await startChat(service, c.var, id, request);
    const form = new ChatForm(
      service.modelName,
      id,
      chat,
      request.stream_options?.include_usage === true,
    );
    return answer(c, service, chat.run, request.stream === true, form);
  });
  return app;
}

/** Builds the objects and chunks of one chat answer. */
class ChatForm implements AnswerForm {
  readonly mayEndEarly: boolean;
  readonly #run: Run;
  readonly #chat: ChatRun;
  readonly #includeUsage: boolean;
  readonly #head: { readonly id: string; readonly created: number; readonly model: string };

  constructor(
    model: string,
    id: string,
    chat: ChatRun,
    includeUsage: boolean,
  ) {
    this.#run = chat.run;
    this.#chat = chat;
    this.mayEndEarly = chat.mayEndEarly;
    this.#includeUsage = includeUsage;
    this.#head = { id, created: Math.floor(Date.now() / 1000), model };
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    let choices: ChatChoice[] | null = null;
    const begun = new Set<number>();
    const content: ((text: string) => string)[] = [];
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
      const only = logprobs === null ? onlyContent(piece) : null;
      if (only !== null) yield (content[index] ??= this.#contentChunk(index))(only);
      else if (Object.keys(piece).length > 0 || logprobs) yield this.#chunk(index, piece, logprobs, null);
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
    const parsing = await this.#chat.parsing();
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

  /** Chunks with a piece of content, as most are. */
  #contentChunk(index: number): (text: string) => string {
    return eventAround((content) => this.#chunkValue(index, { content }, null, null));
  }

  #chunk(
    index: number,
    delta: unknown,
    logprobs: readonly TextLogprob[] | null,
    finish: Finish | null,
  ): string {
    return event(this.#chunkValue(index, delta, logprobs, finish));
  }

  #chunkValue(
    index: number,
    delta: unknown,
    logprobs: readonly TextLogprob[] | null,
    finish: Finish | null,
  ): unknown {
    return {
      ...this.#head,
      object: "chat.completion.chunk",
      choices: [{
        index,
        delta,
        logprobs: logprobs && chatLogprobs(logprobs),
        ...(finish ?? { finish_reason: null }),
      }],
      ...(this.#includeUsage ? { usage: null } : {}),
    };
  }
}

/** The text of a delta that has nothing else. */
function onlyContent({ content, reasoning_content, tool_calls }: ChatDelta): string | null {
  return reasoning_content === undefined && tool_calls === undefined ? content ?? null : null;
}

interface Finish {
  readonly finish_reason: string;
  /** SGLang's extension: the stop string or token. */
  readonly matched_stop: string | number | null;
}
