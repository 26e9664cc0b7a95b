// Token ids → bytes → text, read from `tokenizer.json`.
//
// Whatever the tokenizer, a token stands for a fixed run of bytes: byte-level BPE (GPT-2) spells bytes as printable
// characters, sentencepiece spells spaces as "▁" and unknown bytes as "<0x0A>". With a table of those runs, text is
// one UTF-8 decoder over the bytes of the tokens, which needs no look-back and streams by itself.

import { Fields } from "../model/fields.ts";
import { ModelError, shown } from "../model/json.ts";

/** How a token's text spells its bytes. */
type Spelling = "byte-level" | "sentencepiece";

interface Token {
  readonly text: string;
  readonly added: boolean;
  readonly special: boolean;
}

const mostTokens = 1 << 22;
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
    const fields = new Fields(json, path);
    this.#tokens = readTokens(fields);
    [this.#spelling, this.#stripsFirstSpace] = readDecoder(fields);
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

function readTokens(fields: Fields): Token[] {
  const model = fields.object("model");
  if (!model) throw new ModelError(`${fields.where}: "model" is missing`);
  const tokens: Token[] = [];
  const put = (id: unknown, text: unknown, rest: Omit<Token, "text">) => {
    if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0 || id >= mostTokens) {
      throw new ModelError(`${fields.where}: token id ${shown(id)} is not an integer below ${mostTokens}`);
    }
    if (typeof text !== "string") throw new ModelError(`${fields.where}: token ${id} has no text`);
    tokens[id] = { text, ...rest };
  };
  const vocab = model.raw("vocab");
  if (Array.isArray(vocab)) {
    // Unigram models list [text, score] pairs.
    vocab.forEach((entry, id) =>
      put(id, Array.isArray(entry) ? entry[0] : entry, { added: false, special: false })
    );
  } else if (typeof vocab === "object" && vocab !== null) {
    for (const [text, id] of Object.entries(vocab)) put(id, text, { added: false, special: false });
  } else {
    throw new ModelError(`${model.where}: "vocab" is missing`);
  }
  for (const entry of fields.list("added_tokens", mostTokens) ?? []) {
    const token = new Fields(entry, `${fields.where}: added_tokens`);
    put(token.raw("id"), token.raw("content"), { added: true, special: token.boolean("special", false) });
  }
  return tokens;
}

/** Which spelling the decoder undoes, and whether it drops the first space. */
function readDecoder(fields: Fields): [Spelling, boolean] {
  const decoder = fields.object("decoder");
  const steps = decoder?.string("type") === "Sequence"
    ? (decoder.list("decoders", 64) ?? []).map((step) => new Fields(step, decoder.where))
    : decoder
    ? [decoder]
    : [];
  let spelling: Spelling | null = null;
  let strips = false;
  for (const step of steps) {
    const type = step.string("type");
    switch (type) {
      case "ByteLevel":
        spelling = "byte-level";
        break;
      case "Replace": {
        const from = step.object("pattern")?.string("String");
        if (from !== "▁" || step.string("content") !== " ") {
          throw new ModelError(`${step.where}: unsupported replacement of ${shown(from)}`);
        }
        spelling = "sentencepiece";
        break;
      }
      case "Metaspace": {
        spelling = "sentencepiece";
        strips = step.boolean("add_prefix_space", true) && step.string("prepend_scheme") !== "never";
        break;
      }
      case "Strip":
        strips = step.string("content") === " " && step.integer("start", 0, 64, 0) > 0;
        break;
      case "ByteFallback":
      case "Fuse":
        break;
      default:
        throw new ModelError(`${step.where}: unsupported decoder type ${shown(type)}`);
    }
  }
  if (spelling === null) {
    throw new ModelError(`${fields.where}: unsupported decoder; known are byte-level and sentencepiece ones`);
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
