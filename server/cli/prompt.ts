// How a prompt on the command line becomes an engine's input: through the chat template, as it is, or as token ids.

import type { ModelInfo } from "../../engine/options.ts";
import type { ChatMessage, PromptInput } from "../../engine/messages.ts";
import { UsageError } from "./option.ts";

/** What the options say about prompts. */
export interface PromptOptions {
  /** Null: use the template when the model has one. */
  readonly chat: boolean | null;
  /** A system message for the template. */
  readonly system: string | null;
  /** The text is a list of token ids. */
  readonly tokenIds: boolean;
}

/** Throws `UsageError` when the model has no template and one was asked for. */
export function promptInput(text: string, options: PromptOptions, model: ModelInfo): PromptInput {
  if (options.tokenIds) return { type: "ids", ids: parseIds(text, model.config.vocabSize) };
  if (!(options.chat ?? model.hasChatTemplate)) {
    if (options.system !== null) throw new UsageError("--system needs a model with a chat template");
    return { type: "text", text };
  }
  if (!model.hasChatTemplate) throw new UsageError(`${model.id} has no chat template: use --raw`);
  const system: ChatMessage[] = options.system === null ? [] : [{ role: "system", content: options.system }];
  return { type: "chat", messages: [...system, { role: "user", content: text }] };
}

function parseIds(text: string, vocabSize: number): Uint32Array {
  const words = text.split(/[\s,[\]]+/).filter((word) => word !== "");
  return Uint32Array.from(words, (word) => {
    const id = Number(word);
    if (Number.isInteger(id) && id >= 0 && id < vocabSize) return id;
    throw new UsageError(`without a tokenizer the prompt is token ids below ${vocabSize}, not "${word}"`);
  });
}
