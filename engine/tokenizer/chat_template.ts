// Chat templates: a model's own Jinja program that turns a conversation into the text that it was trained on.
//
// Found, in this order, in `chat_template.jinja` or in `tokenizer_config.json` (one string, or a list of named
// ones of which "tool_use" is for conversations with tools). Semantics follow Hugging Face transformers'
// `apply_chat_template`. Templates come with models and are not trusted: see ../jinja/budget.ts. Nor are conversations: what a template makes says which of its words are theirs.

import { z } from "zod";
import { field, ModelError } from "../model/json.ts";
import type { ChatMessage } from "../messages.ts";
import { type Budget, TemplateError } from "../jinja/budget.ts";
import { templateGlobals } from "../jinja/globals.ts";
import { Interpreter } from "../jinja/interpreter.ts";
import { compile, type Program } from "../jinja/syntax.ts";
import { concatenated, Text } from "../jinja/text.ts";
import { fromJson, Mapping, Sequence, type Value } from "../jinja/value.ts";

export { TemplateError };

/** What a conversation may bring along; see `PromptInput`. */
export interface ChatOptions {
  /** Descriptions of functions, for the template. */
  readonly tools?: readonly unknown[] | undefined;
  /** End after the last message's content instead of opening an answer. */
  readonly continueFinal?: boolean | undefined;
  /** What the answer begins with already; the engine's words, not the client's. */
  readonly answerStart?: string | undefined;
  /** Extra variables for the template. */
  readonly templateArgs?: Readonly<Record<string, unknown>> | undefined;
}

/** `chat_template` of a `tokenizer_config.json`. */
export const chatTemplateField = z.union([
  z.string(),
  field.list(field.object({ name: field.string, template: field.string }), 64),
], { error: "a text, or a list of at most 64 texts with names" });

const mostTemplateBytes = 1 << 20;
/** A parsed template, or why it cannot be parsed: a model with a strange template can still continue plain text. */
type Compiled = Program | TemplateError;

/** A model's chat template, parsed and bounded. */
export class ChatTemplate {
  /** The plain template's text. */
  readonly source: string;
  readonly #plain: Compiled;
  readonly #withTools: Compiled;
  /** bos_token, eos_token and the like. */
  readonly #specialTokens: Readonly<Record<string, string>>;

  /** Throws when the text is no template. */
  constructor(
    source: string,
    toolSource: string,
    specialTokens: Readonly<Record<string, string>>,
  ) {
    this.source = source;
    this.#plain = compiled(source);
    this.#withTools = toolSource === source ? this.#plain : compiled(toolSource);
    this.#specialTokens = specialTokens;
  }

  /**
   * The conversation as text.
   * @throws TemplateError with one line: what the template objects to, or which limit it hit
   */
  render(messages: readonly ChatMessage[], options: ChatOptions = {}): Text {
    const tools = options.tools && options.tools.length > 0 ? options.tools : null;
    const inputLength = JSON.stringify([messages, tools, options.templateArgs ?? null]).length;
    const limits = {
      steps: 2_000_000,
      stringLength: 1_000_000 + 4 * inputLength,
      elements: 1_000_000 + 4 * inputLength,
      milliseconds: 2_000,
    };
    const program = tools ? this.#withTools : this.#plain;
    if (program instanceof TemplateError) throw program;
    let rendered: Text;
    try {
      const interpreter = new Interpreter(limits);
      const { globals, budget } = interpreter;
      const functions = templateGlobals(budget);
      for (const [name, value] of functions) globals.set(name, value);
      for (const [name, text] of Object.entries(this.#specialTokens)) globals.set(name, Text.own(text));
      globals.set("add_generation_prompt", !options.continueFinal);
      for (const [name, value] of Object.entries(options.templateArgs ?? {})) {
        globals.set(name, fromJson(value, budget));
      }
      // Neither functions nor the conversation can be replaced by extra variables.
      globals.set("raise_exception", functions.get("raise_exception")!);
      globals.set("messages", new Sequence(messages.map((message) => messageValue(message, budget))));
      globals.set("tools", fromJson(tools, budget));
      rendered = interpreter.render(program);
    } catch (error) {
      throw new TemplateError(`chat template: ${oneLine(error)}`);
    }
    const opened = options.continueFinal ? cutAfterFinal(rendered, messages) : rendered;
    return options.answerStart === undefined ? opened : concatenated(null, [opened, options.answerStart]);
  }
}

/** Names that a message's reasoning goes by; templates read the first, gpt-oss' the second. */
const reasoningFields = ["reasoning_content", "thinking", "reasoning"] as const;

/**
 * A message for the template. Its role counts as the template's own word, because some templates put control tokens
 * together around it: `"<|" + role + "|>"`.
 */
function messageValue(message: ChatMessage, budget: Budget): Value {
  const value = fromJson(message, budget);
  if (!(value instanceof Mapping)) throw new TemplateError("a message must be an object");
  if (/^[\w-]{1,64}$/.test(message.role)) value.set(Text.own("role"), Text.own(message.role));
  const reasoning = reasoningFields.map((name) => value.getText(name)).find((text) =>
    text !== undefined && text !== null
  );
  if (reasoning !== undefined) {
    if (value.getText("thinking") === undefined) value.set(Text.own("thinking"), reasoning);
    value.set(Text.own("reasoning_content"), reasoning);
  }
  return value;
}

/**
 * A model's chat template, from a file of its own or the configuration at `path`; null when it has none.
 * @throws ModelError when it is not where it should be
 */
export function findChatTemplate(
  text: string | undefined,
  configured: z.infer<typeof chatTemplateField> | undefined,
  path: string,
  specialTokens: Readonly<Record<string, string>>,
): ChatTemplate | null {
  const found = text ?? configured;
  if (found === undefined) return null;
  if (typeof found === "string") return new ChatTemplate(found, found, specialTokens);
  const named = new Map(found.map(({ name, template }) => [name, template]));
  const plain = named.get("default");
  if (plain === undefined) throw new ModelError(`${path}: chat_template has none named "default"`);
  return new ChatTemplate(plain, named.get("tool_use") ?? plain, specialTokens);
}

function compiled(source: string): Compiled {
  try {
    if (source.length > mostTemplateBytes) throw new TemplateError("it is too long");
    return compile(source);
  } catch (error) {
    return new TemplateError(`chat template: cannot be parsed: ${oneLine(error)}`);
  }
}

/** Keeps everything up to the end of the last message's content. */
function cutAfterFinal(rendered: Text, messages: readonly ChatMessage[]): Text {
  const final = messages.at(-1)?.content ?? "";
  const at = rendered.value.lastIndexOf(final.trim());
  if (final.trim() === "" || at < 0) {
    throw new TemplateError(
      "chat template: the last message is empty or changed by the template: cannot continue it",
    );
  }
  const spaced = final.trimStart();
  const kept = rendered.value.startsWith(spaced, at) ? spaced : final.trim();
  return rendered.slice(0, at + kept.length);
}

function oneLine(error: unknown): string {
  const message = error instanceof RangeError
    ? "nests too deeply or grows too large"
    : (error as Error).message;
  return String(message).replace(/\s+/g, " ").slice(0, 300);
}
