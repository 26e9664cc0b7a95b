// POST /v1/messages and /v1/messages/count_tokens: Anthropic's API, which Claude Code speaks.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { type AnswerEnd, SingleAnswer, startChat } from "./chat_run.ts";
import { chatInput } from "./conversation.ts";
import { anthropicErrors } from "./error_forms.ts";
import { ApiError } from "./errors.ts";
import { chatRequestOf, promptOf } from "./messages_input.ts";
import { MessageContent } from "./messages_output.ts";
import { requireModel } from "./params.ts";
import type { RunEvent } from "./run.ts";
import { countTokensRequestSchema, messagesRequestSchema } from "./schemas/messages.ts";
import { validate } from "./schemas/validate.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";
import { namedEvent, openAiStream, type StreamForm } from "./sse.ts";
import { toolUse } from "./tool_use.ts";

/** POST /v1/messages and /v1/messages/count_tokens. */
export function messagesRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/messages", async (c) => {
    const request = await readRequest(c, service, messagesRequestSchema);
    const { id } = c.get("record");
    const chat = await startChat(service, c.var, id, chatRequestOf(request), { maxTokensIsBound: true });
    const form = new MessagesForm(id, service.modelName, request.max_tokens, new SingleAnswer(chat));
    return answer(c, service, chat.run, request.stream === true, form);
  });
  app.post("/v1/messages/count_tokens", async (c) => {
    const request = validate(countTokensRequestSchema, await readJson(c.req.raw, service.options));
    requireModel(request.model, service.modelNames);
    const task = promptOf(request);
    const { engine } = service;
    const input = chatInput(toolUse(task, service).offered ? task : { ...task, tools: null }, engine.model);
    const { ids } = await service.ask(engine.encode(input, c.get("client")));
    return c.json({ input_tokens: ids.length });
  });
  return app;
}

const ping = namedEvent("ping", { type: "ping" });

class MessagesForm implements AnswerForm {
  readonly mayEndEarly: boolean;
  readonly streamForm: StreamForm;
  readonly #id: string;
  readonly #model: string;
  readonly #maxTokens: number;
  readonly #answer: SingleAnswer;
  readonly #content = new MessageContent();

  constructor(id: string, model: string, maxTokens: number, single: SingleAnswer) {
    this.#id = id;
    this.#model = model;
    this.#maxTokens = maxTokens;
    this.#answer = single;
    this.mayEndEarly = single.mayEndEarly;
    this.streamForm = {
      ...openAiStream,
      keepAlive: ping,
      failure: (error) => namedEvent("error", anthropicErrors.body(error, id)),
    };
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    let begun = false;
    for await (const part of this.#answer.parts(events)) {
      if (!begun) {
        begun = true;
        const message = this.#message(null, await this.#usage());
        yield namedEvent("message_start", { type: "message_start", message }) + ping;
      }
      if (part.type !== "end") {
        yield* this.#content.take(part);
        continue;
      }
      yield* this.#content.close();
      const { stop_reason, stop_sequence } = this.#reason(part.end);
      yield namedEvent("message_delta", {
        type: "message_delta",
        delta: { stop_reason, stop_sequence },
        usage: await this.#usage(),
      });
      yield namedEvent("message_stop", { type: "message_stop" });
    }
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    let end: AnswerEnd = { type: "abort" };
    for await (const part of this.#answer.parts(events)) {
      if (part.type === "end") end = part.end;
      for (const _ of part.type === "end" ? this.#content.close() : this.#content.take(part));
    }
    return this.#message(end, await this.#usage());
  }

  #message(end: AnswerEnd | null, usage: unknown): Record<string, unknown> {
    return {
      id: this.#id,
      type: "message",
      role: "assistant",
      model: this.#model,
      content: this.#content.blocks,
      ...(end === null ? { stop_reason: null, stop_sequence: null } : this.#reason(end)),
      usage,
    };
  }

  /** @throws {ApiError} 503 for an answer that was aborted: there is no word for that. */
  #reason(end: AnswerEnd): { readonly stop_reason: string; readonly stop_sequence: string | null } {
    switch (end.type) {
      case "calls":
        return { stop_reason: "tool_use", stop_sequence: null };
      case "length": {
        const filled = this.#answer.run.states[0]!.completionTokens < this.#maxTokens;
        return {
          stop_reason: filled ? "model_context_window_exceeded" : "max_tokens",
          stop_sequence: null,
        };
      }
      case "stop":
        return typeof end.matched === "string"
          ? { stop_reason: "stop_sequence", stop_sequence: end.matched }
          : { stop_reason: "end_turn", stop_sequence: null };
      case "abort":
        throw new ApiError(503, "the request was aborted", { code: "aborted" });
    }
  }

  async #usage(): Promise<Record<string, number>> {
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = await this.#answer.run.usage();
    const cached = prompt_tokens_details.cached_tokens;
    return {
      input_tokens: prompt_tokens - cached, // without those that were cached, in this API
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: cached,
      output_tokens: completion_tokens,
    };
  }
}
