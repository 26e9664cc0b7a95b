// The content of an answer of /v1/messages: blocks that open, grow and close, and the events that tell of it.

import type { AnswerPart } from "./answer_parser.ts";
import { newCallId } from "./chat_choice.ts";
import { objectOf } from "./json_limits.ts";
import { namedEvent } from "./sse.ts";

/** A block of the answer. */
export type AnswerBlock =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "thinking"; readonly thinking: string; readonly signature: string }
  | { readonly type: "tool_use"; readonly id: string; readonly name: string; readonly input: unknown };

type Open =
  | { readonly type: "text" | "thinking"; text: string }
  | { readonly type: "tool_use"; readonly id: string; readonly name: string; text: string };

/** Clients send it back with the block; nothing here checks it. */
const signature = "radish";

/** Collects the blocks of one answer. */
export class MessageContent {
  readonly #blocks: AnswerBlock[] = [];
  #open: Open | null = null;

  /** Blocks that are complete. */
  get blocks(): readonly AnswerBlock[] {
    return this.#blocks;
  }

  /** Takes a part of the answer; gives the events of it, ready to send. */
  *take(part: AnswerPart): Generator<string> {
    switch (part.type) {
      case "reasoning":
        return yield* this.#text("thinking", part.text);
      case "content":
        return yield* this.#text("text", part.text);
      case "call":
        yield* this.close();
        this.#open = { type: "tool_use", id: newCallId("toolu_"), name: part.name, text: "" };
        return yield this.#started();
      case "arguments":
        if (this.#open?.type !== "tool_use") return;
        this.#open.text += part.text;
        return yield this.#delta({ type: "input_json_delta", partial_json: part.text });
      case "called":
        return yield* this.close();
      default:
        return part satisfies never;
    }
  }

  /** Closes the block that is open, if one is. */
  *close(): Generator<string> {
    const open = this.#open;
    if (open === null) return;
    if (open.type === "thinking") yield this.#delta({ type: "signature_delta", signature });
    yield namedEvent("content_block_stop", { type: "content_block_stop", index: this.#blocks.length });
    this.#blocks.push(blockOf(open));
    this.#open = null;
  }

  *#text(type: "text" | "thinking", text: string): Generator<string> {
    if (this.#open?.type !== type) {
      yield* this.close();
      this.#open = { type, text: "" };
      yield this.#started();
    }
    this.#open!.text += text;
    yield this.#delta(
      type === "text" ? { type: "text_delta", text } : { type: "thinking_delta", thinking: text },
    );
  }

  #started(): string {
    const block = blockOf(this.#open!);
    return namedEvent("content_block_start", {
      type: "content_block_start",
      index: this.#blocks.length,
      content_block: block.type === "thinking" ? { ...block, signature: "" } : block,
    });
  }

  #delta(delta: unknown): string {
    return namedEvent("content_block_delta", {
      type: "content_block_delta",
      index: this.#blocks.length,
      delta,
    });
  }
}

function blockOf(open: Open): AnswerBlock {
  switch (open.type) {
    case "text":
      return { type: "text", text: open.text };
    case "thinking":
      return { type: "thinking", thinking: open.text, signature };
    case "tool_use":
      return { type: "tool_use", id: open.id, name: open.name, input: objectOf(open.text) ?? {} };
  }
}
