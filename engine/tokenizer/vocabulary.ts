// Token ids → bytes → text, read from `tokenizer.json`.
//
// Whatever the tokenizer, a token stands for a fixed run of bytes: byte-level BPE (GPT-2) spells bytes as printable
// characters, sentencepiece spells spaces as "▁" and unknown bytes as "<0x0A>". With a table of those runs, text is
// one UTF-8 decoder over the bytes of the tokens, which needs no look-back and streams by itself.

import { z } from "zod";
import { checked, field, ModelError, optional, shown } from "../model/json.ts";

/** How a token's text spells its bytes. */
type Spelling = "byte-level" | "sentencepiece";

interface Token {
  readonly text: string;
  readonly added: boolean;
  readonly special: boolean;
}

const mostTokens = 1 << 22;
const tokenId = field.integer(0, mostTokens - 1);
const decoderFields = {
  type: optional(field.string),
  pattern: optional(field.object({ String: optional(field.string) })),
  content: optional(field.string),
  add_prefix_space: optional(field.boolean),
  prepend_scheme: optional(field.string),
  start: optional(field.integer(0, 64)),
};
const step = field.object(decoderFields);
const schema = field.object({
  // Not looked into here: a schema would copy what can be a quarter of a million entries.
  model: field.object({
    vocab: z.custom<object>((value) => typeof value === "object" && value !== null, "a list or an object"),
  }),
  added_tokens: optional(field.list(
    field.object({ id: tokenId, content: field.string, special: optional(field.boolean) }),
    mostTokens,
  )),
  decoder: optional(field.object({ ...decoderFields, decoders: optional(field.list(step, 64)) })),
});
type File = z.infer<typeof schema>;

const noBytes = new Uint8Array(0);

/** All tokens of a tokenizer, as bytes. */
export class Vocabulary {
  readonly #tokens: readonly (Token | undefined)[];
  readonly #spelling: Spelling;
  readonly #stripsFirstSpace: boolean;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  /**
   * From a parsed `tokenizer.json`; `path` names it in errors.
   * @throws ModelError when the file is malformed or its decoder is of an unknown kind
   */
  constructor(json: unknown, path: string) {
    const file = checked(schema, json, path);
    this.#tokens = readTokens(file, path);
    [this.#spelling, this.#stripsFirstSpace] = readDecoder(file, path);
  }

  /** One more than the largest id. */
  get size(): number {
    return this.#tokens.length;
  }

  /** Most UTF-16 units of text that one token stands for. */
  get longestToken(): number {
    // A token's spelling is at least as long as its text: a byte is spelled as one character or more.
    return this.#tokens.reduce((longest, token) => Math.max(longest, token?.text.length ?? 0), 0);
  }

  /** The id of an added token (special tokens are) by its text. */
  addedTokenId(text: string): number | undefined {
    const id = this.#tokens.findIndex((token) => token?.added && token.text === text);
    return id < 0 ? undefined : id;
  }

  /** Whether the token is special: left out of texts. */
  isSpecial(id: number): boolean {
    return this.#tokens[id]?.special ?? false;
  }

  /** What the token adds to a text; empty for ids without a token (padding of the embedding table). */
  bytes(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    const token = this.#tokens[id];
    if (!token) return noBytes;
    const bytes = token.added ? encoder.encode(token.text) : spelledBytes(token.text, this.#spelling);
    this.#bytes[id] = bytes;
    return bytes;
  }

  /**
   * Decodes a whole text. Invalid UTF-8 becomes U+FFFD. The space that sentencepiece puts before a text's first
   * word is dropped.
   */
  decode(ids: Iterable<number>, skipSpecialTokens: boolean): string {
    const decoder = newUtf8Decoder();
    let text = "";
    for (const id of ids) {
      if (!(skipSpecialTokens && this.isSpecial(id))) {
        text += decoder.decode(this.bytes(id), { stream: true });
      }
    }
    text += decoder.decode();
    return this.#stripsFirstSpace && text.startsWith(" ") ? text.slice(1) : text;
  }
}

/** A decoder that keeps byte-order marks, as tokenizers do. */
export function newUtf8Decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

const encoder = new TextEncoder();

function readTokens({ model: { vocab }, added_tokens }: File, path: string): Token[] {
  const tokens: Token[] = [];
  // Unigram models list [text, score] pairs.
  const entries = Array.isArray(vocab)
    ? vocab.map((entry, id) => [Array.isArray(entry) ? entry[0] : entry, id])
    : Object.entries(vocab);
  for (const [text, id] of entries) {
    if (!Number.isSafeInteger(id) || id < 0 || id >= mostTokens) {
      throw new ModelError(`${path}: token id ${shown(id)} is not an integer below ${mostTokens}`);
    }
    if (typeof text !== "string") throw new ModelError(`${path}: token ${id} has no text`);
    tokens[id] = { text, added: false, special: false };
  }
  for (const { id, content, special } of added_tokens ?? []) {
    tokens[id] = { text: content, added: true, special: special ?? false };
  }
  return tokens;
}

/** Which spelling the decoder undoes, and whether it drops the first space. */
function readDecoder({ decoder }: File, path: string): [Spelling, boolean] {
  const steps = decoder?.type === "Sequence" ? decoder.decoders ?? [] : decoder ? [decoder] : [];
  let spelling: Spelling | null = null;
  let strips = false;
  for (const { type, pattern, content, ...rest } of steps) {
    switch (type) {
      case "ByteLevel":
        spelling = "byte-level";
        break;
      case "Replace":
        if (pattern?.String !== "▁" || content !== " ") {
          throw new ModelError(`${path}: decoder: unsupported replacement of ${shown(pattern?.String)}`);
        }
        spelling = "sentencepiece";
        break;
      case "Metaspace":
        spelling = "sentencepiece";
        strips = (rest.add_prefix_space ?? true) && rest.prepend_scheme !== "never";
        break;
      case "Strip":
        strips = content === " " && (rest.start ?? 0) > 0;
        break;
      case "ByteFallback":
      case "Fuse":
        break;
      default:
        throw new ModelError(`${path}: decoder: unsupported decoder type ${shown(type)}`);
    }
  }
  if (spelling === null) {
    throw new ModelError(`${path}: unsupported decoder; known are byte-level and sentencepiece ones`);
  }
  return [spelling, strips];
}

function spelledBytes(text: string, spelling: Spelling): Uint8Array {
  switch (spelling) {
    case "byte-level": {
      const bytes: number[] = [];
      for (const character of text) {
        const byte = byteOfCharacter.get(character);
        if (byte === undefined) return encoder.encode(text);
        bytes.push(byte);
      }
      return Uint8Array.from(bytes);
    }
    case "sentencepiece": {
      const hex = /^<0x([0-9A-Fa-f]{2})>$/.exec(text);
      return hex ? Uint8Array.of(parseInt(hex[1]!, 16)) : encoder.encode(text.replaceAll("▁", " "));
    }
  }
}

/**
 * GPT-2's alphabet: bytes that print as Latin-1 characters stand for themselves, the others (controls, space, 0x7f
 * to 0xa0, soft hyphen) for the characters from U+0100 on, in ascending order.
 */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) map.set(String.fromCodePoint(printable(byte) ? byte : next++), byte);
  return map;
})();
