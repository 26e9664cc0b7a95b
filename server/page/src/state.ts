// What the page knows, as signals, and everything that changes it. Components read; what concerns several of them is
// written here.

import { signal } from "@preact/signals";
import { type AnswerEvent, streamAnswer } from "./chat_stream.ts";
import {
  append,
  type Attachment,
  type Conversation,
  type Message,
  newConversation,
  parseExport,
  path,
  promptOf,
  type ToolCall,
} from "./conversation.ts";
import { openStore } from "./store.ts";

/** What is served. */
export interface ServerFacts {
  readonly name: string;
  readonly device: string;
  readonly contextLength: number;
  /** Sampling where a request says nothing. */
  readonly defaults: Readonly<Record<string, number>>;
}

/** An answer that is being made. */
interface Running {
  readonly conversation: Conversation;
  readonly message: Message;
  readonly controller: AbortController;
}

/** The model, or why the server does not say. */
export const server = signal<ServerFacts | string | null>(null);
/** The newest first. */
export const conversations = signal<readonly Conversation[]>([]);
/** The one that is shown. */
export const current = signal<Conversation>(newConversation());
/** Counts changes inside of conversations, which are changed in place. */
export const revision = signal(0);
/** Counts pieces of the answer that is being made: only who shows that answer reads it. */
export const growth = signal(0);
/** At most one at a time. */
export const running = signal<Running | null>(null);
/** Which part of the page is shown. */
export const view = signal<"chat" | "engine">(location.hash === "#engine" ? "engine" : "chat");
/** Something that went wrong outside of an answer. */
export const notice = signal("");

const store = openStore();
/** Milliseconds between two copies of a growing answer in the database. */
const saveEvery = 2000;

/** Reads what the browser has kept, and asks the server what it serves. */
export async function begin(): Promise<void> {
  conversations.value = await (await store).all();
  const [latest] = conversations.value;
  if (latest) current.value = latest;
  try {
    const [info, model] = await Promise.all(["/server_info", "/model_info"].map(async (url) => {
      const answer = await (await fetch(url)).json();
      if (answer.error) throw new Error(answer.error.message);
      return answer;
    }));
    server.value = {
      name: info.served_model_name,
      device: info.device,
      contextLength: info.context_length,
      defaults: model.default_sampling_params ?? {},
    };
    document.title = `radish · ${info.served_model_name}`;
  } catch (error) {
    server.value = `the server does not answer: ${messageOf(error)}`;
  }
}

/** Shows the chat or the engine. */
export function show(next: "chat" | "engine"): void {
  view.value = next;
  history.replaceState(null, "", next === "engine" ? "#engine" : "#");
}

/** Begins a conversation with the settings of the shown one; nothing is kept before its first message. */
export function startConversation(): void {
  if (current.value.messages.length > 0) current.value = newConversation(current.value);
  show("chat");
}

/** Shows another conversation. */
export function open(conversation: Conversation): void {
  current.value = conversation;
  show("chat");
}

/** Writes a changed conversation down. */
export async function changed(conversation: Conversation, moves = false): Promise<void> {
  revision.value++;
  if (conversation.messages.length === 0) return;
  if (moves) conversation.updated = Date.now();
  const others = conversations.value.filter(({ id }) => id !== conversation.id);
  conversations.value = [...others, conversation].sort((a, b) => b.updated - a.updated);
  try {
    await (await store).save(conversation);
  } catch (error) {
    notice.value = `the browser could not keep the conversation: ${messageOf(error)}`;
  }
}

/** Deletes a conversation for good. */
export async function remove(conversation: Conversation): Promise<void> {
  if (running.value?.conversation === conversation) stop();
  conversations.value = conversations.value.filter(({ id }) => id !== conversation.id);
  if (current.value.id === conversation.id) current.value = conversations.value[0] ?? newConversation();
  await (await store).remove(conversation.id);
}

/** Takes in exported conversations; those that are here already are replaced. */
export async function importFile(file: File): Promise<void> {
  try {
    const read = parseExport(await file.text());
    for (const conversation of read) await changed(conversation);
    if (read[0]) open(read[0]);
    notice.value = `${read.length} conversation${read.length === 1 ? "" : "s"} read from ${file.name}`;
  } catch (error) {
    notice.value = `${file.name}: ${messageOf(error)}`;
  }
}

/** Sends a message at the end of the shown path and lets the model answer. */
export function send(content: string, attachments: readonly Attachment[] = []): Promise<void> {
  const conversation = current.value;
  const parent = path(conversation).at(-1)?.id ?? null;
  const files = attachments.length > 0 ? { attachments } : {};
  const question = append(conversation, { parent, role: "user", content, ...files });
  return answer(conversation, question.id);
}

/** Sends another version of a message, as a branch beside it. */
export function edit(message: Message, content: string): Promise<void> {
  const conversation = current.value;
  const { parent, attachments } = message;
  const files = attachments ? { attachments } : {};
  const question = append(conversation, { parent, role: "user", content, ...files });
  return answer(conversation, question.id);
}

/** Lets the model answer again, as a branch beside its answer. */
export function regenerate(message: Message): Promise<void> {
  return answer(current.value, message.parent);
}

/** Gives the results of an answer's calls, in their order, and lets the model go on. */
export function answerCalls(message: Message, results: readonly string[]): Promise<void> {
  const conversation = current.value;
  let parent = message.id;
  message.toolCalls?.forEach((call: ToolCall, i) => {
    parent =
      append(conversation, { parent, role: "tool", content: results[i] ?? "", toolCallId: call.id }).id;
  });
  return answer(conversation, parent);
}

/** Shows another branch. */
export function choose(message: Message): void {
  current.value.chosen[message.parent ?? ""] = message.id;
  void changed(current.value);
}

/** Ends the answer that is being made; what there is stays. */
export function stop(): void {
  running.value?.controller.abort();
}

async function answer(conversation: Conversation, parent: string | null): Promise<void> {
  if (running.value) return;
  const message = append(conversation, { parent, role: "assistant", content: "" });
  const controller = new AbortController();
  running.value = { conversation, message, controller };
  await changed(conversation, true);
  const begun = performance.now();
  let firstAt: number | null = null, savedAt = begun;
  try {
    const body = { messages: promptOf(conversation, message.id), ...extrasOf(conversation) };
    for await (const event of streamAnswer(body, controller.signal)) {
      const now = performance.now();
      if (event.type !== "usage" && event.type !== "finish") firstAt ??= now;
      apply(message, event, begun, firstAt, now);
      growth.value++;
      if (now - savedAt > saveEvery) {
        savedAt = now;
        void changed(conversation);
      }
    }
  } catch (error) {
    if (controller.signal.aborted) message.finish = "you";
    else message.error = messageOf(error);
  } finally {
    running.value = null;
    await changed(conversation, true);
  }
}

/** Settings of a conversation as fields of a request. Throws with one line where their JSON is broken. */
function extrasOf({ sampling, format, tools }: Conversation): object {
  const parse = (text: string, what: string): unknown => {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new Error(`${what} in the settings: ${messageOf(error)}`);
    }
  };
  const responseFormat = format.kind === "text" ? {} : {
    response_format: format.kind === "json" ? { type: "json_object" } : {
      type: "json_schema",
      json_schema: { name: "answer", strict: true, schema: parse(format.schema, "the schema") },
    },
  };
  return {
    ...sampling,
    ...responseFormat,
    ...(tools.trim() === "" ? {} : { tools: parse(tools, "the tools") }),
  };
}

function apply(
  message: Message,
  event: AnswerEvent,
  begun: number,
  firstAt: number | null,
  now: number,
): void {
  switch (event.type) {
    case "content":
      message.content += event.text;
      return;
    case "reasoning":
      message.reasoning = (message.reasoning ?? "") + event.text;
      message.thoughtFor = now - (firstAt ?? begun);
      return;
    case "toolCall": {
      const calls = [...message.toolCalls ?? []];
      const known = calls[event.index] ?? { id: "", name: "", arguments: "" };
      calls[event.index] = {
        id: event.id ?? known.id,
        name: event.name ?? known.name,
        arguments: known.arguments + event.text,
      };
      message.toolCalls = calls;
      return;
    }
    case "finish":
      if (event.reason !== "stop" && event.reason !== "tool_calls") message.finish = event.reason;
      return;
    case "usage": {
      const seconds = (now - (firstAt ?? now)) / 1000;
      message.stats = {
        promptTokens: event.promptTokens,
        cachedTokens: event.cachedTokens,
        tokens: event.tokens,
        firstMilliseconds: (firstAt ?? now) - begun,
        tokensPerSecond: event.tokens > 1 && seconds > 0 ? (event.tokens - 1) / seconds : null,
      };
      return;
    }
    default:
      event satisfies never;
  }
}

/** What an error says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
