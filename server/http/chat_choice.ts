// One choice of a chat answer: the parts of its text as OpenAI's deltas. Streaming sends the deltas; without
// streaming they are added up. Both see the same parts.

import type { z } from "zod";
import type { FinishReason } from "../../engine/params.ts";
import type { TextLogprob } from "../../engine/messages.ts";
import { AnswerParser, type AnswerParsing, type AnswerPart } from "./answer_parser.ts";
import { finiteLogprob } from "./completion_logprobs.ts";
import type { chatAnswer } from "./schemas/answers.ts";

/** OpenAI's streaming delta, without the role. */
export interface ChatDelta {
  /** Text for the reader. */
  content?: string;
  /** Reasoning. */
  reasoning_content?: string;
  /** Calls, or pieces of them. */
  tool_calls?: ToolCallDelta[];
}

/** A piece of a tool call in a stream. */
export interface ToolCallDelta {
  /** Which call of the choice. */
  readonly index: number;
  /** With the first piece. */
  readonly id?: string;
  /** With the first piece. */
  readonly type?: "function";
  /** The name comes with the first piece, arguments in pieces. */
  readonly function: { readonly name?: string; readonly arguments: string };
}

type Choice = z.infer<typeof chatAnswer>["choices"][number];

/** One choice's text, divided into content, reasoning and tool calls. */
export class ChatChoice {
  readonly #parser: AnswerParser;
  #content = "";
  #thoughts = "";
  readonly #calls: { id: string; name: string; arguments: string }[] = [];

  /** Nothing is pushed yet. */
  constructor(parsing: AnswerParsing) {
    this.#parser = new AnswerParser(parsing);
  }

  /** True when nothing that still comes can change the answer: one call was allowed, and it is complete. */
  get done(): boolean {
    return this.#parser.done;
  }

  /** The delta of a piece of text; with the end of the answer also of what was held back. */
  push(text: string, finish: FinishReason | null): ChatDelta {
    const delta: ChatDelta = {};
    for (const part of this.#parser.push(text, finish)) this.#take(part, delta);
    return delta;
  }

  /** The whole answer. */
  message(): Choice["message"] {
    return {
      role: "assistant",
      content: this.#content === "" && (this.#calls.length > 0) ? null : this.#content,
      ...(this.#thoughts === "" ? {} : { reasoning_content: this.#thoughts }),
      ...(this.#calls.length === 0 ? {} : {
        tool_calls: this.#calls.map(({ id, ...call }) => ({ id, type: "function" as const, function: call })),
      }),
    };
  }

  /** OpenAI's name for the end. */
  finishReason(finish: FinishReason): string {
    if (this.done || (finish.type === "stop" && this.#calls.length > 0)) return "tool_calls";
    return finish.type;
  }

  #take(part: AnswerPart, delta: ChatDelta): void {
    switch (part.type) {
      case "reasoning":
        return this.#add(delta, "reasoning_content", part.text);
      case "content":
        return this.#add(delta, "content", part.text);
      case "call": {
        const id = newCallId("call_");
        this.#calls.push({ id, name: part.name, arguments: "" });
        return this.#addCall(delta, {
          index: part.index,
          id,
          type: "function",
          function: { name: part.name, arguments: "" },
        });
      }
      case "arguments":
        this.#calls[part.index]!.arguments += part.text;
        return this.#addCall(delta, { index: part.index, function: { arguments: part.text } });
      case "called":
        return;
    }
  }

  #add(delta: ChatDelta, field: "content" | "reasoning_content", text: string): void {
    delta[field] = (delta[field] ?? "") + text;
    if (field === "content") this.#content += text;
    else this.#thoughts += text;
  }

  /** Within one delta a call appears once, as some clients expect. */
  #addCall(delta: ChatDelta, call: ToolCallDelta): void {
    const calls = delta.tool_calls ??= [];
    const before = calls.at(-1);
    if (before?.index !== call.index) {
      calls.push(call);
      return;
    }
    calls[calls.length - 1] = {
      ...before,
      function: { ...before.function, arguments: before.function.arguments + call.function.arguments },
    };
  }
}

/** An id for a call. */
export function newCallId(prefix: string): string {
  return prefix + crypto.randomUUID().replaceAll("-", "").slice(0, 24);
}

/** Log-probabilities in the form of /v1/chat/completions. */
export function chatLogprobs(logprobs: readonly TextLogprob[]): NonNullable<Choice["logprobs"]> {
  const entry = ({ text, logprob, bytes }: Pick<TextLogprob, "text" | "logprob" | "bytes">) => ({
    token: text,
    logprob: finiteLogprob(logprob),
    bytes: [...bytes],
  });
  return { content: logprobs.map((each) => ({ ...entry(each), top_logprobs: each.top.map(entry) })) };
}
