/**
 * A vocabulary as masks need it: its tokens' bytes in two trees, those that are ordinary text inside a JSON string by
 * themselves and the others. Where any text may follow in a string, all tokens of the first kind are allowed at once.
 */
import { makeTrie, type TokenBytes, type Trie } from "./trie.ts";

/** A vocabulary. */
export interface Vocabulary {
  /** Tokens, special ones included: a mask has a bit for each. */
  readonly size: number;
  /** 32-bit words of a mask. */
  readonly words: number;
  /** Ids that end a text. */
  readonly endIds: readonly number[];
  /** Bytes by id, one character for each; undefined for special tokens, which are never allowed. */
  readonly bytes: readonly (string | undefined)[];
  /** Tokens of whole ordinary characters: no quote, no backslash, no control character. */
  readonly plain: Trie;
  readonly others: Trie;
  /** The mask of all plain tokens. */
  readonly plainMask: Uint32Array;
  /** Characters of the longest plain token, bytes of the longest other one. */
  readonly longest: number;
}

/**
 * Makes a vocabulary.
 * @param tokens each token's bytes by id; undefined for a special token, which is never allowed
 * @param endIds ids that end a text: allowed where the grammar may end
 */
export function makeVocabulary(tokens: readonly (Uint8Array | undefined)[], endIds: readonly number[]): Vocabulary {
  const bytes = tokens.map((token) => token === undefined ? undefined : binaryString(token));
  const ends = new Set(endIds);
  const plain: TokenBytes[] = [], others: TokenBytes[] = [];
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let longest = 1;
  bytes.forEach((text, id) => {
    if (text === undefined || ends.has(id)) return;
    const ordinary = isOrdinary(text) && isWhole(tokens[id]!, decoder);
    (ordinary ? plain : others).push({ id, bytes: text });
    longest = Math.max(longest, text.length);
  });
  const words = Math.ceil(tokens.length / 32);
  const plainMask = new Uint32Array(words);
  for (const { id } of plain) plainMask[id >> 5]! |= 1 << (id & 31);
  return {
    size: tokens.length,
    words,
    endIds: [...ends].filter((id) => id >= 0 && id < tokens.length),
    bytes,
    plain: makeTrie(plain),
    others: makeTrie(others),
    plainMask,
    longest,
  };
}

function binaryString(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

function isOrdinary(bytes: string): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c) return false;
  }
  return true;
}

function isWhole(bytes: Uint8Array, decoder: TextDecoder): boolean {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}
