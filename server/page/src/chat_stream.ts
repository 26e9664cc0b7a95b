// One answer from `POST /v1/chat/completions`, as it comes.

import { EventSourceParserStream } from "eventsource-parser/stream";

/** News of an answer. */
export type AnswerEvent =
  | { readonly type: "content" | "reasoning"; readonly text: string }
  | {
    readonly type: "toolCall";
    readonly index: number;
    readonly id?: string;
    readonly name?: string;
    readonly text: string;
  }
  | { readonly type: "finish"; readonly reason: string }
  | {
    readonly type: "usage";
    readonly promptTokens: number;
    readonly cachedTokens: number;
    readonly tokens: number;
  };

/** The parts of a chunk that are read. */
interface Chunk {
  readonly error?: { readonly message: string };
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number };
  } | null;
  readonly choices?: readonly {
    readonly finish_reason?: string | null;
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly tool_calls?: readonly {
        readonly index: number;
        readonly id?: string;
        readonly function?: { readonly name?: string; readonly arguments?: string };
      }[];
    };
  }[];
}

/** Asks and yields what comes. Throws an `Error` with the server's reason, and the signal's when it is aborted. */
export async function* streamAnswer(body: object, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) throw new Error(await reasonOf(response));
  const events = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(
    new EventSourceParserStream(),
  );
  const reader = events.getReader();
  while (true) {
    const { done, value } = await reader.read();
    if (done || value.data === "[DONE]") return;
    yield* eventsOf(JSON.parse(value.data));
  }
}

function* eventsOf(chunk: Chunk): Generator<AnswerEvent> {
  if (chunk.error) throw new Error(chunk.error.message);
  if (chunk.usage) {
    yield {
      type: "usage",
      promptTokens: chunk.usage.prompt_tokens,
      cachedTokens: chunk.usage.prompt_tokens_details?.cached_tokens ?? 0,
      tokens: chunk.usage.completion_tokens,
    };
  }
  const choice = chunk.choices?.[0];
  const { reasoning_content: reasoning, content, tool_calls: calls } = choice?.delta ?? {};
  if (reasoning) yield { type: "reasoning", text: reasoning };
  if (content) yield { type: "content", text: content };
  for (const { index, id, function: called } of calls ?? []) {
    yield {
      type: "toolCall",
      index,
      ...(id === undefined ? {} : { id }),
      ...(called?.name === undefined ? {} : { name: called.name }),
      text: called?.arguments ?? "",
    };
  }
  if (choice?.finish_reason) yield { type: "finish", reason: choice.finish_reason };
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return `the server answered ${response.status}`;
  }
}
