// Chat templates: a model's own Jinja program that turns a conversation into the text that it was trained on.
//
// Found, in this order, in `chat_template.jinja` or in `tokenizer_config.json` (one string, or a list of named
// ones of which "tool_use" is for conversations with tools). Semantics follow Hugging Face transformers'
// `apply_chat_template`. Templates come with models and are not trusted: see template_limits.ts.

import { Environment, parse, tokenize } from "@huggingface/jinja";
import { Fields } from "../model/fields.ts";
import { ModelError } from "../model/json.ts";
import { readText } from "../weights/json_file.ts";
import type { ChatMessage } from "../messages.ts";
import { LimitedInterpreter, TemplateError } from "./template_limits.ts";

export { TemplateError };

/** What a conversation may bring along; see `PromptInput`. */
export interface ChatOptions {
  /** Descriptions of functions, for the template. */
  readonly tools?: readonly unknown[] | undefined;
  /** End after the last message's content instead of opening an answer. */
  readonly continueFinal?: boolean | undefined;
  /** Extra variables for the template. */
  readonly templateArgs?: Readonly<Record<string, unknown>> | undefined;
}

const mostTemplateBytes = 1 << 20;
/** A parsed template, or why it cannot be parsed: a model with a strange template can still continue plain text. */
type Program = ReturnType<typeof parse> | TemplateError;

/** A model's chat template, parsed and bounded. */
export class ChatTemplate {
  /** The plain template's text. */
  readonly source: string;
  readonly #plain: Program;
  readonly #withTools: Program;
  /** bos_token, eos_token and the like. */
  readonly #specialTokens: Readonly<Record<string, string>>;

  /** Throws when the text is no template. */
  constructor(
    source: string,
    toolSource: string,
    specialTokens: Readonly<Record<string, string>>,
  ) {
    this.source = source;
    this.#plain = compile(source);
    this.#withTools = toolSource === source ? this.#plain : compile(toolSource);
    this.#specialTokens = specialTokens;
  }

  /**
   * The conversation as text.
   * @throws TemplateError with one line: what the template objects to, or which limit it hit
   */
  render(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    const tools = options.tools && options.tools.length > 0 ? options.tools : null;
    const variables = {
      ...globals,
      ...this.#specialTokens,
      add_generation_prompt: !options.continueFinal,
      ...options.templateArgs,
      raise_exception: raiseException,
      messages,
      tools,
    };
    const inputLength = JSON.stringify([messages, tools, options.templateArgs ?? null]).length;
    const limits = {
      steps: 2_000_000,
      stringLength: 1_000_000 + 4 * inputLength,
      elements: 1_000_000 + 4 * inputLength,
      milliseconds: 2_000,
    };
    const program = tools ? this.#withTools : this.#plain;
    if (program instanceof TemplateError) throw program;
    let rendered: string;
    try {
      const environment = new Environment();
      for (const [name, value] of Object.entries(variables)) environment.set(name, value);
      rendered = new LimitedInterpreter(environment, limits).render(program);
    } catch (error) {
      throw new TemplateError(`chat template: ${oneLine(error)}`);
    }
    return options.continueFinal ? cutAfterFinal(rendered, messages) : rendered;
  }
}

/**
 * Finds a model's chat template; null when it has none.
 * @throws ModelError when it is not where it should be
 */
export async function loadChatTemplate(
  directory: string,
  config: Fields,
  specialTokens: Readonly<Record<string, string>>,
): Promise<ChatTemplate | null> {
  const path = `${directory}/chat_template.jinja`;
  const text = await readText(path, mostTemplateBytes);
  if (text !== undefined) return new ChatTemplate(text, text, specialTokens);
  const value = config.raw("chat_template");
  if (value === undefined) return null;
  if (typeof value === "string") return new ChatTemplate(value, value, specialTokens);
  const named = new Map<string, string>();
  for (const entry of config.list("chat_template", 64) ?? []) {
    const fields = new Fields(entry, `${config.where}: chat_template`);
    named.set(fields.string("name") ?? "", fields.string("template") ?? "");
  }
  const plain = named.get("default");
  if (plain === undefined) throw new ModelError(`${config.where}: chat_template has none named "default"`);
  return new ChatTemplate(plain, named.get("tool_use") ?? plain, specialTokens);
}

function compile(source: string): Program {
  try {
    if (source.length > mostTemplateBytes) throw new TemplateError("it is too long");
    // Marks of the parts to train on (transformers' own extension) mean nothing here.
    const text = source.replace(
      /\{%(-?)\s*(end)?generation\s*(-?)%\}/g,
      (_, left, end, right) => `{%${left} ${end ? "endif" : "if true"} ${right}%}`,
    );
    return parse(tokenize(text, { lstrip_blocks: true, trim_blocks: true }));
  } catch (error) {
    return new TemplateError(`chat template: cannot be parsed: ${oneLine(error)}`);
  }
}

/** Keeps everything up to the end of the last message's content. */
function cutAfterFinal(rendered: string, messages: readonly ChatMessage[]): string {
  const final = messages.at(-1)?.content ?? "";
  const at = rendered.lastIndexOf(final.trim());
  if (final.trim() === "" || at < 0) {
    throw new TemplateError(
      "chat template: the last message is empty or changed by the template: cannot continue it",
    );
  }
  const spaced = final.trimStart();
  const kept = rendered.startsWith(spaced, at) ? spaced : final.trim();
  return rendered.slice(0, at + kept.length);
}

const globals = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  strftime_now: formatNow,
};

function raiseException(message: unknown): never {
  throw new TemplateError(String(message));
}

const mostRange = 100_000;

/** Python's range as a list. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const count = Math.ceil((stop - start) / step);
  if (!(Math.abs(count) <= mostRange)) throw new TemplateError("makes too large a list");
  return Array.from({ length: Math.max(0, count) }, (_, i) => start + i * step);
}

/** strftime of the present time, for the codes that templates use. */
function formatNow(format: string): string {
  const now = new Date();
  const two = (n: number) => String(n).padStart(2, "0");
  const name = (options: Intl.DateTimeFormatOptions) => now.toLocaleDateString("en-US", options);
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => String(now.getFullYear()),
    m: () => two(now.getMonth() + 1),
    d: () => two(now.getDate()),
    B: () => name({ month: "long" }),
    b: () => name({ month: "short" }),
    A: () => name({ weekday: "long" }),
    a: () => name({ weekday: "short" }),
    H: () => two(now.getHours()),
    M: () => two(now.getMinutes()),
    S: () => two(now.getSeconds()),
    "%": () => "%",
  };
  return String(format).slice(0, 256).replace(/%([a-zA-Z%])/g, (all, code: string) => codes[code]?.() ?? all);
}

function oneLine(error: unknown): string {
  const message = error instanceof RangeError
    ? "nests too deeply or grows too large"
    : (error as Error).message;
  return String(message).replace(/\s+/g, " ").slice(0, 300);
}
