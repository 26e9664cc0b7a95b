// Conversations of agents, made fit for chat templates. Many templates want one system message at the front and
// then user and assistant in turn; agents send instructions in mid-conversation, and an answer as several items.
//
// Everything stays where it stands: were a later instruction moved to the front, the text before all earlier turns
// would change, and nothing of the prefix cache could be used again.

import type { ChatMessageInput } from "./schemas/chat.ts";

type Assistant = ChatMessageInput & { readonly role: "assistant" };

/** One system message at most, at the front; neighbours of the same side are one message. */
export function inTurns(messages: readonly ChatMessageInput[]): ChatMessageInput[] {
  const turns: ChatMessageInput[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    switch (message.role) {
      case "system":
      case "developer":
        if (last === undefined || last.role === "system") merge(turns, { ...message, role: "system" });
        else merge(turns, { ...message, role: "user" });
        break;
      case "user":
        merge(turns, message);
        break;
      case "assistant":
        if (last?.role === "assistant") turns[turns.length - 1] = joined(last, message);
        else turns.push(message);
        break;
      case "tool":
      case "function":
        turns.push(message);
    }
  }
  return turns;
}

type Said = ChatMessageInput & { readonly role: "system" | "developer" | "user" };

function merge(turns: ChatMessageInput[], message: Said): void {
  const last = turns.at(-1);
  if (last?.role !== message.role) turns.push(message);
  else turns[turns.length - 1] = { ...message, content: paragraphs(last.content, message.content) };
}

function joined(a: Assistant, b: Assistant): Assistant {
  return {
    role: "assistant",
    content: paragraphs(a.content ?? "", b.content ?? ""),
    reasoning_content: paragraphs(a.reasoning_content ?? "", b.reasoning_content ?? ""),
    tool_calls: [...a.tool_calls ?? [], ...b.tool_calls ?? []],
  };
}

type Content = string | readonly { readonly text: string }[];

function paragraphs(a: Content, b: Content): string {
  return [a, b].map(textOf).filter((text) => text !== "").join("\n\n");
}

/** The text of a message's content. */
export function textOf(content: Content): string {
  return typeof content === "string" ? content : content.map((part) => part.text).join("");
}
