// Text → token ids, with a model's own tokenizer and chat template.
//
// Encoding is `@huggingface/tokenizers`' (a TypeScript port of the Rust library); decoding is ours, see
// vocabulary.ts. Beginning-of-text is put in front exactly once: when the tokenizer wants it and the text (a
// template that writes it itself) does not begin with it already.

import { Tokenizer as Encoder } from "@huggingface/tokenizers";
import { z } from "zod";
import { checked, field, ModelError, optional } from "../model/json.ts";
import type { PromptInput } from "../messages.ts";
import { type ChatTemplate, chatTemplateField, findChatTemplate, TemplateError } from "./chat_template.ts";
import { corrected } from "../weights/huggingface/tokenizer_steps.ts";
import { Text } from "../jinja/text.ts";
import { SpecialTokens } from "./special_tokens.ts";
import { readTokenizerFiles, type TokenizerFiles } from "../weights/tokenizer_files.ts";
import { Vocabulary } from "./vocabulary.ts";

/** A prompt as ids, and as text where there is one. */
export interface EncodedPrompt {
  /** Token ids. */
  readonly ids: Uint32Array;
  /** The text after the template; null for a prompt of ids. */
  readonly rendered: string | null;
}

/** A token as text, or as an object that has it. */
const namedToken = optional(
  z.union(
    [z.string(), field.object({ content: optional(field.string) }).transform(({ content }) => content)],
    {
      error: "a text",
    },
  ),
);
/** The tokens that `tokenizer_config.json` names, for templates. */
const namedTokens = field.object(Object.fromEntries(
  ["bos", "eos", "unk", "pad", "sep", "cls", "mask"].map((name) => [`${name}_token`, namedToken]),
));
const configSchema = field.object({
  add_bos_token: optional(field.boolean),
  chat_template: optional(chatTemplateField),
});

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

  private constructor({ json, path, config, configPath, template }: TokenizerFiles) {
    if (json === undefined) throw new ModelError(`${path}: no such file`);
    const { add_bos_token, chat_template } = checked(configSchema, config, configPath);
    const named = Object.fromEntries(
      Object.entries(checked(namedTokens, config, configPath)).flatMap(([name, text]) =>
        text === undefined ? [] : [[name, text]]
      ),
    );
    this.vocabulary = new Vocabulary(json, path);
    this.#specialTokens = new SpecialTokens(corrected(json, path));
    this.#encoder = createEncoder(this.#specialTokens.json, path);
    const { bos_token: bos } = named;
    this.bosId = bos === undefined
      ? null
      : this.vocabulary.addedTokenId(bos) ?? this.#encoder.token_to_id(bos) ?? null;
    this.chatTemplate = findChatTemplate(template, chat_template, configPath, named);
    [this.#prefix, this.#suffix] = readAffixes(this.#encoder, add_bos_token, this.bosId);
  }

  /**
   * Loads the tokenizer and the chat template of a model: a folder, or a GGUF file.
   * @throws ModelError naming the file at fault
   */
  static async load(model: string): Promise<Tokenizer> {
    return new Tokenizer(await readTokenizerFiles(model));
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
      case "text": {
        check(input.text);
        const text = input.foreign ? Text.foreign(input.text) : input.text;
        return { ids: this.encode(text, input.addSpecialTokens ?? true), rendered: input.text };
      }
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

/** What the post-processor puts around a text, corrected by `add_bos_token`. */
function readAffixes(
  encoder: Encoder,
  addsBos: boolean | undefined,
  bosId: number | null,
): [prefix: number[], suffix: number[]] {
  const probe = "a";
  const { ids: plain } = encoder.encode(probe, { add_special_tokens: false });
  const { ids: framed } = encoder.encode(probe, { add_special_tokens: true });
  const at = framed.findIndex((_, i) => plain.every((id, j) => framed[i + j] === id));
  const prefix = at < 0 ? [] : framed.slice(0, at);
  const suffix = at < 0 ? [] : framed.slice(at + plain.length);
  if (bosId !== null && addsBos === true && prefix[0] !== bosId) prefix.unshift(bosId);
  if (bosId !== null && addsBos === false && prefix[0] === bosId) prefix.shift();
  return [prefix, suffix];
}
