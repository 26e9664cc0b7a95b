// One choice of a chat answer: its text goes through the reasoning parser and the tool parser, and comes out as
// OpenAI's deltas. Streaming sends the deltas; without streaming they are added up. Both see the same pieces.

import type { FinishReason } from "../../engine/params.ts";
import type { TextLogprob } from "../../engine/messages.ts";
import { finiteLogprob } from "./completion_logprobs.ts";
import { ReasoningParser } from "./parsers/reasoning.ts";
import { ToolParser, type ToolPiece } from "./parsers/tools.ts";

/** How a choice's text is taken apart. */
export interface ChoiceParsing {
  /** Null: leave reasoning in the content. `open`: the prompt ends inside a reasoning block. */
  readonly reasoning: { readonly open: boolean } | null;
  /** Names of the tools; null: leave tool calls in the content. */
  readonly tools: readonly string[] | null;
  /** The part of a forced tool call that stands in the prompt. */
  readonly start: string;
  /** False ends the choice behind the first call. */
  readonly parallelToolCalls: boolean;
}

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

/** OpenAI's message. */
export interface ChatAnswer {
  /** Always the assistant. */
  readonly role: "assistant";
  /** Null if there is nothing but calls. */
  readonly content: string | null;
  /** If there is any. */
  readonly reasoning_content?: string;
  /** If there are any. */
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly type: "function";
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

/** One choice's text, divided into content, reasoning and tool calls. */
export class ChatChoice {
  readonly #reasoning: ReasoningParser | null;
  readonly #tools: ToolParser | null;
  readonly #parallel: boolean;
  #done = false;
  #content = "";
  #thoughts = "";
  readonly #calls: { id: string; name: string; arguments: string }[] = [];

  /** Nothing is pushed yet. */
  constructor(parsing: ChoiceParsing) {
    // A forced tool call leaves no room for thoughts before it.
    this.#reasoning = parsing.reasoning && parsing.start === ""
      ? new ReasoningParser(parsing.reasoning.open)
      : null;
    this.#tools = parsing.tools ? new ToolParser(parsing.tools) : null;
    this.#parallel = parsing.parallelToolCalls;
    // Before the first `{` of the arguments the parser gives out nothing.
    this.#tools?.push(parsing.start);
  }

  /** True when nothing that still comes can change the answer: one call was allowed, and it is complete. */
  get done(): boolean {
    return this.#done;
  }

  /** The delta of a piece of text; with the end of the answer also of what was held back. */
  push(text: string, finish: FinishReason | null): ChatDelta {
    const last = finish !== null;
    const delta: ChatDelta = {};
    if (this.#done) return delta;
    const pieces = this.#reasoning === null
      ? [{ type: "content" as const, text }]
      : [...this.#reasoning.push(text), ...(last ? this.#reasoning.end() : [])];
    for (const piece of pieces) {
      if (piece.type === "content") this.#addContent(piece.text, delta);
      else this.#add(delta, "reasoning_content", piece.text);
    }
    if (last) {
      for (const piece of this.#tools?.end(finish.type !== "stop") ?? []) {
        this.#tool(piece, delta);
      }
    }
    return delta;
  }

  /** The whole answer. */
  message(): ChatAnswer {
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
    if (this.#done || (finish.type === "stop" && this.#calls.length > 0)) return "tool_calls";
    return finish.type;
  }

  #addContent(text: string, delta: ChatDelta): void {
    if (this.#tools === null) this.#add(delta, "content", text);
    else for (const piece of this.#tools.push(text)) this.#tool(piece, delta);
  }

  #tool(piece: ToolPiece, delta: ChatDelta): void {
    if (this.#done) return;
    switch (piece.type) {
      case "content":
        return this.#add(delta, "content", piece.text);
      case "call": {
        const id = `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
        this.#calls.push({ id, name: piece.name, arguments: "" });
        return this.#addCall(delta, {
          index: piece.index,
          id,
          type: "function",
          function: { name: piece.name, arguments: "" },
        });
      }
      case "arguments":
        this.#calls[piece.index]!.arguments += piece.text;
        return this.#addCall(delta, { index: piece.index, function: { arguments: piece.text } });
      case "called":
        this.#done = !this.#parallel;
    }
  }

  #add(delta: ChatDelta, field: "content" | "reasoning_content", text: string): void {
    if (text === "") return;
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

/** One token's log-probability as OpenAI's chat reports it. */
export interface ChatLogprob {
  /** The token's text. */
  readonly token: string;
  /** Natural logarithm. */
  readonly logprob: number;
  /** The token's bytes. */
  readonly bytes: readonly number[];
}

/** OpenAI's `logprobs` of a chat choice or delta. */
export interface ChatLogprobs {
  /** One entry per token. */
  readonly content: readonly (ChatLogprob & { readonly top_logprobs: readonly ChatLogprob[] })[];
}

/** Log-probabilities in the form of /v1/chat/completions. */
export function chatLogprobs(logprobs: readonly TextLogprob[]): ChatLogprobs {
  return {
    content: logprobs.map(({ text, logprob, bytes, top }) => ({
      token: text,
      logprob: finiteLogprob(logprob),
      bytes,
      top_logprobs: top.map((each) => ({
        token: each.text,
        logprob: finiteLogprob(each.logprob),
        bytes: each.bytes,
      })),
    })),
  };
}
