// A conversation as a tree of messages. Editing a message or asking again adds a sibling and loses nothing; the path
// that is shown goes from the first message down the chosen children.

/** How to sample; what is missing is the model's own. */
export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  max_tokens?: number;
  seed?: number;
}

/** How an answer was made. */
export interface Stats {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly tokens: number;
  /** Until the first token. */
  readonly firstMilliseconds: number;
  readonly tokensPerSecond: number | null;
}

/** A call of a tool that the model asks for. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

/** A text file that was dropped onto the message. */
export interface Attachment {
  readonly name: string;
  readonly text: string;
}

/** One message. */
export interface Message {
  readonly id: string;
  /** Null: the beginning. */
  readonly parent: string | null;
  readonly role: "user" | "assistant" | "tool";
  content: string;
  attachments?: readonly Attachment[];
  reasoning?: string;
  /** Milliseconds. */
  thoughtFor?: number;
  toolCalls?: readonly ToolCall[];
  /** Which call a tool's message answers. */
  toolCallId?: string;
  stats?: Stats;
  /** Why the answer ended, where that is worth a word. */
  finish?: string;
  /** What went wrong. */
  error?: string;
}

/** What an answer has to look like. */
export interface AnswerFormat {
  readonly kind: "text" | "json" | "schema";
  /** JSON Schema as text. */
  readonly schema: string;
}

/** A conversation and its settings. */
export interface Conversation {
  readonly id: string;
  title: string;
  /** Milliseconds since 1970. */
  updated: number;
  system: string;
  sampling: Sampling;
  format: AnswerFormat;
  /** OpenAI's `tools`, as JSON text. */
  tools: string;
  messages: Message[];
  /** Which child of a message is shown; "" stands for the beginning. */
  chosen: Record<string, string>;
}

/** An empty conversation, with the settings of another. */
export function newConversation(like?: Conversation): Conversation {
  return {
    id: newId(),
    title: "",
    updated: Date.now(),
    system: like?.system ?? "",
    sampling: { ...like?.sampling },
    format: like?.format ?? { kind: "text", schema: "" },
    tools: like?.tools ?? "",
    messages: [],
    chosen: {},
  };
}

/** Random; `crypto.randomUUID` is missing where the page does not come over HTTPS or from this machine. */
export function newId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** Messages with the same parent, in the order they were made. */
export function siblings({ messages }: Conversation, parent: string | null): Message[] {
  return messages.filter((message) => message.parent === parent);
}

/** The messages that are shown. */
export function path(conversation: Conversation): Message[] {
  const shown: Message[] = [];
  for (let parent: string | null = null;;) {
    const children = siblings(conversation, parent);
    const next = children.find(({ id }) => id === conversation.chosen[parent ?? ""]) ?? children.at(-1);
    if (next === undefined) return shown;
    shown.push(next);
    parent = next.id;
  }
}

/** Adds a message behind `parent` and shows it. */
export function append(
  conversation: Conversation,
  message: Omit<Message, "id">,
): Message {
  const added: Message = { ...message, id: newId() };
  conversation.messages.push(added);
  conversation.chosen[added.parent ?? ""] = added.id;
  if (conversation.title === "" && added.role === "user") conversation.title = titleOf(added);
  return added;
}

function titleOf({ content, attachments }: Message): string {
  const words = content.trim().replace(/\s+/g, " ") || attachments?.[0]?.name || "";
  return words.length > 60 ? `${words.slice(0, 59)}…` : words;
}

/** A message's text as the model gets it. */
export function promptText({ content, attachments = [] }: Message): string {
  const files = attachments.map(({ name, text }) =>
    `<file name="${name.replaceAll('"', "'")}">\n${text}\n</file>`
  );
  return [...files, content].filter((part) => part !== "").join("\n\n");
}

/** Messages of the shown path as OpenAI's API takes them, up to and without `until`. */
export function promptOf(conversation: Conversation, until: string): Record<string, unknown>[] {
  const shown = path(conversation);
  const end = shown.findIndex(({ id }) => id === until);
  const prompt: Record<string, unknown>[] = [];
  if (conversation.system.trim() !== "") prompt.push({ role: "system", content: conversation.system });
  for (const message of end < 0 ? shown : shown.slice(0, end)) {
    if (message.role === "tool") {
      prompt.push({ role: "tool", tool_call_id: message.toolCallId, content: message.content });
    } else if (message.role === "user") {
      prompt.push({ role: "user", content: promptText(message) });
    } else {
      const calls = message.toolCalls?.map((call) => ({
        id: call.id,
        type: "function",
        function: { name: call.name, arguments: call.arguments },
      }));
      prompt.push({
        role: "assistant",
        content: message.content,
        ...(calls === undefined || calls.length === 0 ? {} : { tool_calls: calls }),
      });
    }
  }
  return prompt;
}

/** Conversations from an exported file. Throws with one line that says what is wrong. */
export function parseExport(text: string): Conversation[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("the file is not JSON");
  }
  const list = (value as { conversations?: unknown } | null)?.conversations;
  if (!Array.isArray(list)) throw new Error('the file has no list "conversations": it was not exported here');
  return list.map((each, i) => {
    if (!isConversation(each)) throw new Error(`conversation ${i + 1} in the file is not one`);
    return { ...newConversation(), ...each };
  });
}

function isConversation(value: unknown): value is Conversation {
  if (typeof value !== "object" || value === null) return false;
  const { id, title, updated, messages, chosen } = value as Partial<Conversation>;
  if (typeof id !== "string" || typeof title !== "string" || typeof updated !== "number") return false;
  if (typeof chosen !== "object" || chosen === null || !Array.isArray(messages)) return false;
  const known = new Set<unknown>([null]);
  return messages.every((message: Partial<Message> | null) => {
    // Parents come before their children, so there can be no circle.
    const fits = typeof message?.id === "string" && !known.has(message.id) && known.has(message.parent) &&
      typeof message.content === "string" && ["user", "assistant", "tool"].includes(message.role ?? "");
    known.add(message?.id);
    return fits;
  });
}
