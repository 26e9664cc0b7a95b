// Text → token ids, with a model's own tokenizer and chat template.
//
// Encoding is `@huggingface/tokenizers`' (a TypeScript port of the Rust library); decoding is ours, see
// vocabulary.ts. Beginning-of-text is put in front exactly once: when the tokenizer wants it and the text (a
// template that writes it itself) does not begin with it already.

import { Tokenizer as Encoder } from "@huggingface/tokenizers";
import { Fields } from "../model/fields.ts";
import { ModelError, shown } from "../model/json.ts";
import type { PromptInput } from "../messages.ts";
import { type ChatTemplate, findChatTemplate, TemplateError } from "./chat_template.ts";
import { corrected } from "../weights/huggingface/tokenizer_steps.ts";
import { Text } from "../jinja/text.ts";
import { SpecialTokens } from "./special_tokens.ts";
import { readTokenizerFiles } from "../weights/tokenizer_files.ts";
import { Vocabulary } from "./vocabulary.ts";

/** A prompt as ids, and as text where there is one. */
export interface EncodedPrompt {
  /** Token ids. */
  readonly ids: Uint32Array;
  /** The text after the template; null for a prompt of ids. */
  readonly rendered: string | null;
}

/** A model's tokenizer. */
export class Tokenizer {
  /** Its tokens and their bytes. */
  readonly vocabulary: Vocabulary;
  /** Null where the model has none. */
  readonly chatTemplate: ChatTemplate | null;
  /** Token at the beginning of a text; null where there is none. */
  readonly bosId: number | null;
  readonly #encoder: Encoder;
  readonly #specialTokens: SpecialTokens;
  /** What goes around a text of its own, besides beginning-of-text. */
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];

  private constructor(
    encoder: Encoder,
    specialTokens: SpecialTokens,
    vocabulary: Vocabulary,
    chatTemplate: ChatTemplate | null,
    bosId: number | null,
    affixes: { prefix: readonly number[]; suffix: readonly number[] },
  ) {
    this.#encoder = encoder;
    this.#specialTokens = specialTokens;
    this.vocabulary = vocabulary;
    this.chatTemplate = chatTemplate;
    this.bosId = bosId;
    this.#prefix = affixes.prefix;
    this.#suffix = affixes.suffix;
  }

  /**
   * Loads the tokenizer and the chat template of a model: a folder, or a GGUF file.
   * @throws ModelError naming the file at fault
   */
  static async load(model: string): Promise<Tokenizer> {
    const { json, path, config: configJson, configPath, template } = await readTokenizerFiles(model);
    if (json === undefined) throw new ModelError(`${path}: no such file`);
    const config = new Fields(configJson, configPath);
    const vocabulary = new Vocabulary(json, path);
    const specialTokens = new SpecialTokens(corrected(json, path));
    const encoder = createEncoder(specialTokens.json, path);
    const namedTokens = readNamedTokens(config);
    const bos = namedTokens["bos_token"];
    const bosId = bos === undefined ? null : vocabulary.addedTokenId(bos) ?? encoder.token_to_id(bos) ?? null;
    const chatTemplate = findChatTemplate(template, config, namedTokens);
    const affixes = readAffixes(encoder, config, bosId);
    return new Tokenizer(encoder, specialTokens, vocabulary, chatTemplate, bosId, affixes);
  }

  /**
   * Ids of a text; special tokens spelled out in it are recognised, but for those that are foreign.
   * `addSpecialTokens` puts it in its frame.
   */
  encode(text: string | Text, addSpecialTokens = true): Uint32Array {
    const marked = this.#specialTokens.mark(typeof text === "string" ? Text.own(text) : text);
    // Half a surrogate pair has no bytes; like everywhere on the web it becomes U+FFFD.
    const whole = marked.toWellFormed();
    const { ids } = this.#encoder.encode(whole, { add_special_tokens: false });
    if (!addSpecialTokens) return Uint32Array.from(ids);
    const prefix = ids[0] === this.bosId && this.#prefix[0] === this.bosId
      ? this.#prefix.slice(1)
      : this.#prefix;
    return Uint32Array.from([...prefix, ...ids, ...this.#suffix]);
  }

  /**
   * Ids of whatever a request is to continue. In a conversation only the template makes special tokens, unless
   * `allowSpecialTokens` lets messages do so too. `check` sees the text before it is encoded, and may throw.
   * @throws TemplateError when the template objects, or there is none
   */
  encodePrompt(
    input: PromptInput,
    allowSpecialTokens = false,
    check: (text: string) => void = () => {},
  ): EncodedPrompt {
    switch (input.type) {
      case "ids":
        return { ids: input.ids, rendered: null };
      case "text":
        check(input.text);
        return { ids: this.encode(input.text, input.addSpecialTokens ?? true), rendered: input.text };
      case "chat": {
        if (!this.chatTemplate) throw new TemplateError("this model has no chat template; send plain text");
        const rendered = this.chatTemplate.render(input.messages, input);
        check(rendered.value);
        // The template writes the frame; only a missing beginning-of-text is added.
        const ids = this.encode(allowSpecialTokens ? rendered.value : rendered, false);
        const missesBos = this.bosId !== null && this.#prefix[0] === this.bosId && ids[0] !== this.bosId;
        return { ids: missesBos ? Uint32Array.from([this.bosId!, ...ids]) : ids, rendered: rendered.value };
      }
    }
  }

  /** The text of ids; half characters show as U+FFFD. */
  decode(ids: Iterable<number>, skipSpecialTokens: boolean): string {
    return this.vocabulary.decode(ids, skipSpecialTokens);
  }
}

function createEncoder(json: unknown, path: string): Encoder {
  try {
    return new Encoder(json as object, {});
  } catch (error) {
    throw new ModelError(`${path}: ${(error as Error).message.slice(0, 300)}`, { cause: error });
  }
}

/** bos_token, eos_token, … as texts, for templates. */
function readNamedTokens(config: Fields): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (
    const name of ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"]
  ) {
    const value = config.raw(name);
    const text = typeof value === "object" && value !== null
      ? (value as { content?: unknown }).content
      : value;
    if (text === undefined) continue;
    if (typeof text !== "string") {
      throw new ModelError(`${config.where}: "${name}" must be a text, not ${shown(value)}`);
    }
    tokens[name] = text;
  }
  return tokens;
}

/** What the post-processor puts around a text, corrected by `add_bos_token`. */
function readAffixes(encoder: Encoder, config: Fields, bosId: number | null): {
  prefix: number[];
  suffix: number[];
} {
  const probe = "a";
  const { ids: plain } = encoder.encode(probe, { add_special_tokens: false });
  const { ids: framed } = encoder.encode(probe, { add_special_tokens: true });
  const at = framed.findIndex((_, i) => plain.every((id, j) => framed[i + j] === id));
  const prefix = at < 0 ? [] : framed.slice(0, at);
  const suffix = at < 0 ? [] : framed.slice(at + plain.length);
  if (bosId !== null && config.has("add_bos_token")) {
    const wanted = config.boolean("add_bos_token", false);
    if (wanted && prefix[0] !== bosId) prefix.unshift(bosId);
    if (!wanted && prefix[0] === bosId) prefix.shift();
  }
  return { prefix, suffix };
}
