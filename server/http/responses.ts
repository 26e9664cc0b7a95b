// POST /v1/responses: OpenAI's newer API, without its memory. Each request carries the whole conversation, and the
// prefix cache makes that cheap.

import { Hono } from "hono";
import { answer, type AnswerForm, type AppEnv } from "./answer.ts";
import { type AnswerEnd, SingleAnswer, startChat } from "./chat_run.ts";
import type { ApiError } from "./errors.ts";
import { chatRequestOf, namedTools } from "./responses_input.ts";
import { type ResponseEvent, ResponseOutput } from "./responses_output.ts";
import type { RunEvent } from "./run.ts";
import { type ResponsesRequest, responsesRequestSchema } from "./schemas/responses.ts";
import { readRequest } from "./read_request.ts";
import type { Service } from "./service.ts";
import { namedEvent, openAiStream, type StreamForm } from "./sse.ts";

/** POST /v1/responses. */
export function responsesRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.post("/v1/responses", async (c) => {
    const request = await readRequest(c, service, responsesRequestSchema);
    const { id } = c.get("record");
    const chat = await startChat(service, c.var, id, chatRequestOf(request));
    const form = new ResponsesForm(id, service.modelName, request, new SingleAnswer(chat));
    return answer(c, service, chat.run, request.stream === true, form);
  });
  return app;
}

class ResponsesForm implements AnswerForm {
  readonly mayEndEarly: boolean;
  readonly streamForm: StreamForm = { ...openAiStream, failure: (error) => this.#failed(error) };
  readonly #id: string;
  readonly #model: string;
  readonly #request: ResponsesRequest;
  readonly #answer: SingleAnswer;
  readonly #output: ResponseOutput;
  readonly #created = Math.floor(Date.now() / 1000);
  #sequence = 0;

  constructor(id: string, model: string, request: ResponsesRequest, single: SingleAnswer) {
    this.#id = id;
    this.#model = model;
    this.#request = request;
    this.#answer = single;
    this.mayEndEarly = single.mayEndEarly;
    this.#output = new ResponseOutput({
      tools: namedTools(request),
      sealReasoning: request.include?.includes("reasoning.encrypted_content") === true,
    });
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    let begun = false;
    for await (const part of this.#answer.parts(events)) {
      if (!begun) {
        begun = true;
        const response = this.#response("in_progress");
        yield this.#event({ type: "response.created", response });
        yield this.#event({ type: "response.in_progress", response });
      }
      for (const each of this.#output.take(part)) yield this.#event(each);
      if (part.type !== "end") continue;
      const response = await this.#final(part.end);
      yield this.#event({ type: `response.${response["status"]}`, response });
    }
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    let end: AnswerEnd = { type: "abort" };
    for await (const part of this.#answer.parts(events)) {
      for (const _ of this.#output.take(part));
      if (part.type === "end") end = part.end;
    }
    return await this.#final(end);
  }

  #event(event: ResponseEvent): string {
    return namedEvent(event.type, { ...event, sequence_number: this.#sequence++ });
  }

  #failed(error: ApiError): string {
    const response = this.#response("failed", {
      error: { code: error.code ?? "server_error", message: error.message },
    });
    return this.#event({ type: "response.failed", response });
  }

  async #final(end: AnswerEnd): Promise<Record<string, unknown>> {
    if (end.type === "abort") {
      return this.#response("failed", {
        error: { code: "server_error", message: "the request was aborted" },
        usage: await this.#usage(),
      });
    }
    const usage = await this.#usage();
    if (end.type === "length") {
      return this.#response("incomplete", { incomplete_details: { reason: "max_output_tokens" }, usage });
    }
    return this.#response("completed", { completed_at: Math.floor(Date.now() / 1000), usage });
  }

  async #usage(): Promise<Record<string, unknown>> {
    const usage = await this.#answer.run.usage();
    return {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: usage.prompt_tokens_details,
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: this.#answer.reasoningTokens },
      total_tokens: usage.total_tokens,
    };
  }

  #response(status: string, extra: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    const request = this.#request;
    return {
      id: this.#id,
      object: "response",
      created_at: this.#created,
      completed_at: null,
      status,
      background: false,
      error: null,
      incomplete_details: null,
      instructions: request.instructions ?? null,
      max_output_tokens: request.max_output_tokens ?? null,
      model: this.#model,
      output: this.#output.items,
      parallel_tool_calls: request.parallel_tool_calls ?? true,
      previous_response_id: null,
      reasoning: { effort: request.reasoning?.effort ?? null, summary: null },
      service_tier: "default",
      store: false,
      temperature: request.temperature ?? null,
      text: { format: request.text?.format ?? { type: "text" } },
      tool_choice: request.tool_choice ?? "auto",
      tools: request.tools ?? [],
      top_logprobs: 0,
      top_p: request.top_p ?? null,
      truncation: "disabled",
      usage: null,
      metadata: request.metadata ?? {},
      ...extra,
    };
  }
}
