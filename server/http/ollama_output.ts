// Answers of Ollama's /api/chat and /api/generate: lines of JSON, the last of which has the counts and times.

import type { AnswerForm } from "./answer.ts";
import type { AnswerEnd, AnswerEvent, SingleAnswer } from "./chat_run.ts";
import { newCallId } from "./chat_choice.ts";
import { ollamaErrors } from "./error_forms.ts";
import { ApiError } from "./errors.ts";
import { objectOf } from "./json_limits.ts";
import type { Run, RunEvent } from "./run.ts";
import type { StreamForm } from "./sse.ts";

/** What a line brings. */
interface Piece {
  readonly content?: string;
  readonly thinking?: string;
  readonly tool_calls?: readonly unknown[];
}

/** Makes the lines of one answer. */
export class OllamaAnswer {
  readonly #model: string;
  readonly #kind: "chat" | "generate";
  readonly #run: Run;
  #firstTokenAt: number | null = null;
  #call: { readonly id: string; readonly index: number; readonly name: string; text: string } | null = null;

  /** Nothing has come yet. */
  constructor(model: string, kind: "chat" | "generate", run: Run) {
    this.#model = model;
    this.#kind = kind;
    this.#run = run;
  }

  /** What a part brings; a call only when it is complete, because its arguments are an object here. */
  *take(part: Exclude<AnswerEvent, { type: "end" }>): Generator<Piece> {
    this.#firstTokenAt ??= performance.now();
    switch (part.type) {
      case "reasoning":
        return yield { thinking: part.text };
      case "content":
        return yield { content: part.text };
      case "call":
        yield* this.finish();
        this.#call = { id: newCallId("call_"), index: part.index, name: part.name, text: "" };
        return;
      case "arguments":
        if (this.#call) this.#call.text += part.text;
        return;
      case "called":
        return yield* this.finish();
      default:
        return part satisfies never;
    }
  }

  /** The call that is still open, if one is. */
  *finish(): Generator<Piece> {
    if (this.#call === null) return;
    const { id, index, name, text } = this.#call;
    this.#call = null;
    yield { tool_calls: [{ id, function: { index, name, arguments: objectOf(text) ?? {} } }] };
  }

  /** A line in the middle, or the whole answer's text. */
  line(piece: Piece): Record<string, unknown> {
    const { content = "", ...rest } = piece;
    const head = { model: this.#model, created_at: new Date().toISOString() };
    return this.#kind === "chat"
      ? { ...head, message: { role: "assistant", content, ...rest }, done: false }
      : { ...head, response: content, ...rest, done: false };
  }

  /** What the last line has in addition. @throws {ApiError} 503 for an answer that was aborted. */
  async end(end: AnswerEnd): Promise<Record<string, unknown>> {
    if (end.type === "abort") throw new ApiError(503, "the request was aborted", { code: "aborted" });
    const { prompt_tokens, completion_tokens } = await this.#run.usage();
    const now = performance.now();
    const first = this.#firstTokenAt ?? now;
    return {
      done: true,
      done_reason: end.type === "length" ? "length" : "stop",
      total_duration: nanoseconds(now - this.#run.startedAt),
      load_duration: 0,
      prompt_eval_count: prompt_tokens,
      prompt_eval_duration: nanoseconds(first - this.#run.startedAt),
      eval_count: completion_tokens,
      eval_duration: nanoseconds(now - first),
    };
  }
}

/** Streams an answer's lines, or adds them up. */
export class OllamaForm implements AnswerForm {
  /** See {@link AnswerForm}. */
  readonly mayEndEarly: boolean;
  readonly streamForm: StreamForm = {
    contentType: "application/x-ndjson",
    keepAlive: " ", // White space before a line is no part of it.
    failure: (error) => line(ollamaErrors.body(error, "")),
  };
  readonly #lines: OllamaAnswer;
  readonly #answer: SingleAnswer;

  /** For one generation. */
  constructor(lines: OllamaAnswer, single: SingleAnswer) {
    this.#lines = lines;
    this.#answer = single;
    this.mayEndEarly = single.mayEndEarly;
  }

  async *stream(events: AsyncIterable<RunEvent>): AsyncGenerator<string> {
    for await (const part of this.#answer.parts(events)) {
      const pieces = part.type === "end" ? this.#lines.finish() : this.#lines.take(part);
      for (const piece of pieces) yield line(this.#lines.line(piece));
      if (part.type === "end") yield line({ ...this.#lines.line({}), ...await this.#lines.end(part.end) });
    }
  }

  async collect(events: AsyncIterable<RunEvent>): Promise<unknown> {
    let content = "", thinking = "";
    const calls: unknown[] = [];
    let end: AnswerEnd = { type: "abort" };
    for await (const part of this.#answer.parts(events)) {
      const pieces = part.type === "end" ? this.#lines.finish() : this.#lines.take(part);
      for (const piece of pieces) {
        content += piece.content ?? "";
        thinking += piece.thinking ?? "";
        calls.push(...piece.tool_calls ?? []);
      }
      if (part.type === "end") end = part.end;
    }
    const piece = {
      content,
      ...(thinking === "" ? {} : { thinking }),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    };
    return { ...this.#lines.line(piece), ...await this.#lines.end(end) };
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** Milliseconds in whole nanoseconds. */
export function nanoseconds(milliseconds: number): number {
  return Math.max(0, Math.round(milliseconds * 1e6));
}
