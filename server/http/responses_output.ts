// The output of /v1/responses: items that open, grow and close, and the events that tell of it. The final object has
// the same items with the same ids, streaming or not.

import { objectOf } from "./json_limits.ts";
import type { AnswerEvent } from "./chat_run.ts";
import { newCallId } from "./chat_choice.ts";
import { type NamedTool, sealed } from "./responses_input.ts";

/** An event of the stream, before it is numbered. */
export interface ResponseEvent {
  /** Its name. */
  readonly type: string;
  /** Its fields. */
  readonly [field: string]: unknown;
}

type Status = "in_progress" | "completed" | "incomplete";

interface ReasoningItem {
  readonly type: "reasoning";
  readonly id: string;
  readonly summary: readonly never[];
  readonly content: readonly { readonly type: "reasoning_text"; readonly text: string }[];
  readonly encrypted_content?: string;
  readonly status: Status;
}

interface MessageItem {
  readonly type: "message";
  readonly id: string;
  readonly role: "assistant";
  readonly status: Status;
  readonly content: readonly ReturnType<typeof outputText>[];
}

type CallItem =
  & {
    readonly id: string;
    readonly call_id: string;
    readonly name: string;
    readonly namespace?: string;
    readonly status: Status;
  }
  & (
    | { readonly type: "function_call"; readonly arguments: string }
    | { readonly type: "custom_tool_call"; readonly input: string }
  );

/** An item of the output. */
export type OutputItem = ReasoningItem | MessageItem | CallItem;

/** What is being written: its text so far. */
type Open =
  | { readonly type: "reasoning" | "message"; readonly id: string; text: string }
  | {
    readonly type: "call";
    readonly id: string;
    readonly callId: string;
    readonly name: string;
    text: string;
  };

/** What of a request shapes the output. */
export interface OutputOptions {
  /** The request's tools. */
  readonly tools: readonly NamedTool[];
  /** Reasoning comes with `encrypted_content`. */
  readonly sealReasoning: boolean;
}

/** Collects the items of one response. */
export class ResponseOutput {
  readonly #sealReasoning: boolean;
  readonly #tools: ReadonlyMap<string, NamedTool>;
  readonly #items: OutputItem[] = [];
  #open: Open | null = null;

  /** Nothing is there yet. */
  constructor(options: OutputOptions) {
    this.#sealReasoning = options.sealReasoning;
    this.#tools = new Map(options.tools.map((tool) => [tool.fullName, tool]));
  }

  /** Items that are complete. */
  get items(): readonly OutputItem[] {
    return this.#items;
  }

  /** Takes a part of the answer; gives the events of it. */
  *take(part: AnswerEvent): Generator<ResponseEvent> {
    switch (part.type) {
      case "reasoning":
        return yield* this.#text("reasoning", part.text);
      case "content":
        return yield* this.#text("message", part.text);
      case "call": {
        yield* this.#close("completed");
        const custom = this.#isCustom(part.name);
        this.#open = {
          type: "call",
          id: newCallId(custom ? "ctc_" : "fc_"),
          callId: newCallId("call_"),
          name: part.name,
          text: "",
        };
        return yield this.#added(this.#open);
      }
      case "arguments":
        if (this.#open?.type !== "call") return;
        this.#open.text += part.text;
        if (this.#isCustom(this.#open.name)) return; // Its text is inside JSON.
        return yield this.#about("response.function_call_arguments.delta", this.#open, { delta: part.text });
      case "called":
        return yield* this.#close("completed");
      case "end":
        return yield* this.#close(part.end.type === "length" ? "incomplete" : "completed");
      default:
        return part satisfies never;
    }
  }

  *#text(type: "reasoning" | "message", text: string): Generator<ResponseEvent> {
    if (this.#open?.type !== type) {
      yield* this.#close("completed");
      const open = this.#open = { type, id: newCallId(type === "message" ? "msg_" : "rs_"), text: "" };
      yield this.#added(open);
      yield this.#about("response.content_part.added", open, { content_index: 0, part: partOf(type, "") });
    }
    const open = this.#open!;
    open.text += text;
    const extra = { content_index: 0, delta: text, ...(type === "message" ? { logprobs: [] } : {}) };
    yield this.#about(`response.${textName(type)}.delta`, open, extra);
  }

  *#close(status: Status): Generator<ResponseEvent> {
    const open = this.#open;
    if (open === null) return;
    const item = this.#item(open, status);
    if (open.type === "call") {
      if (item.type === "custom_tool_call") {
        yield this.#about("response.custom_tool_call_input.delta", open, { delta: item.input });
        yield this.#about("response.custom_tool_call_input.done", open, { input: item.input });
      } else {
        yield this.#about("response.function_call_arguments.done", open, {
          name: this.#tools.get(open.name)?.tool.name ?? open.name,
          arguments: open.text,
        });
      }
    } else {
      const { type, text } = open;
      const extra = { content_index: 0, text, ...(type === "message" ? { logprobs: [] } : {}) };
      yield this.#about(`response.${textName(type)}.done`, open, extra);
      yield this.#about("response.content_part.done", open, { content_index: 0, part: partOf(type, text) });
    }
    yield { type: "response.output_item.done", output_index: this.#items.length, item };
    this.#items.push(item);
    this.#open = null;
  }

  #isCustom(name: string): boolean {
    return this.#tools.get(name)?.tool.type === "custom";
  }

  #added(open: Open): ResponseEvent {
    const item = this.#item(open, "in_progress");
    return { type: "response.output_item.added", output_index: this.#items.length, item };
  }

  #about(type: string, open: Open, extra: Readonly<Record<string, unknown>>): ResponseEvent {
    return { type, item_id: open.id, output_index: this.#items.length, ...extra };
  }

  #item(open: Open, status: Status): OutputItem {
    const { id, text } = open;
    const begun = status === "in_progress";
    switch (open.type) {
      case "message":
        return { type: "message", id, role: "assistant", status, content: begun ? [] : [outputText(text)] };
      case "reasoning":
        return {
          type: "reasoning",
          id,
          summary: [],
          content: begun ? [] : [{ type: "reasoning_text", text }],
          ...(this.#sealReasoning ? { encrypted_content: begun ? "" : sealed(text) } : {}),
          status,
        };
      case "call": {
        const tool = this.#tools.get(open.name);
        const call = {
          id,
          call_id: open.callId,
          name: tool?.tool.name ?? open.name,
          ...(tool?.namespace ? { namespace: tool.namespace } : {}),
          status,
        };
        if (!this.#isCustom(open.name)) return { type: "function_call", ...call, arguments: text };
        return { type: "custom_tool_call", ...call, input: begun ? "" : customInput(text) };
      }
    }
  }
}

function outputText(text: string) {
  return { type: "output_text" as const, text, annotations: [], logprobs: [] };
}

function partOf(type: "reasoning" | "message", text: string): unknown {
  return type === "message" ? outputText(text) : { type: "reasoning_text", text };
}

function textName(type: "reasoning" | "message"): string {
  return type === "message" ? "output_text" : "reasoning_text";
}

/** The text inside `{"input": "…"}`; what is something else stays as the model wrote it. */
function customInput(args: string): string {
  const input = objectOf(args)?.["input"];
  return typeof input === "string" ? input : args;
}
