/**
 * The bytes behind each token of a `tokenizer.json`: byte-level BPE writes a byte as one printable character (GPT-2),
 * SentencePiece writes a space as ▁ and odd bytes as <0xNN>. Special tokens have no bytes: they are no text.
 */

/** The parts of a `tokenizer.json` that are read. */
export interface TokenizerFile {
  /** Token texts and ids. */
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly byte_fallback?: boolean };
  /** Tokens beside the model. */
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special: boolean;
  }[];
  /** Tells byte-level tokenizers. */
  readonly pre_tokenizer?: unknown;
  /** Tells byte-level tokenizers. */
  readonly decoder?: unknown;
}

/**
 * Bytes by token id.
 * @param size the model's vocabulary where it is larger than the tokenizer's; ids without a token are undefined
 */
export function tokenBytes(file: TokenizerFile, size = 0): (Uint8Array | undefined)[] {
  const byteLevel = JSON.stringify([file.pre_tokenizer, file.decoder]).includes('"ByteLevel"');
  const encoder = new TextEncoder();
  const entries = Object.entries(file.model.vocab);
  const added = file.added_tokens ?? [];
  const last = [...entries.map(([, id]) => id), ...added.map(({ id }) => id)]
    .reduce((most, id) => Math.max(most, id), size - 1);
  const out = new Array<Uint8Array | undefined>(last + 1).fill(undefined);
  const alphabet = byteAlphabet();
  for (const [text, id] of entries) {
    if (byteLevel) {
      const bytes = [...text].map((char) => alphabet.get(char));
      if (bytes.every((byte) => byte !== undefined)) out[id] = Uint8Array.from(bytes);
    } else {
      const odd = /^<0x([0-9A-F]{2})>$/.exec(text);
      out[id] = odd === null
        ? encoder.encode(text.replaceAll("▁", " "))
        : Uint8Array.of(parseInt(odd[1]!, 16));
    }
  }
  for (const { id, content, special } of added) out[id] = special ? undefined : encoder.encode(content);
  return out;
}

// GPT-2's: printable Latin-1 stands for itself, the other bytes for characters from U+0100 on.
function byteAlphabet(): ReadonlyMap<string, number> {
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    map.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return map;
}
