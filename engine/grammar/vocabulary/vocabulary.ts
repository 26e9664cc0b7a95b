/**
 * A vocabulary as masks need it: its tokens' bytes in two trees, those that are ordinary text inside a JSON string by
 * themselves and the others. Where any text may follow in a string, all tokens of the first kind are allowed at once.
 */
import type { Vocabulary as TokenizerVocabulary } from "../../tokenizer/vocabulary.ts";
import { makeTrie, type TokenBytes, type Trie } from "./trie.ts";

/** Characters of a short token at most. */
export const SHORT = 16;

/** Tokens of one kind: ordinary text inside a JSON string by themselves, and the others. */
export interface Tokens {
  /** Ordinary characters, the last of which may be unfinished: no quote, no backslash, no control character. */
  readonly plain: Trie;
  /** Tokens with a special byte, or that are no text. */
  readonly others: Trie;
  /** What is left of the other tokens without the ordinary characters that they begin with. */
  readonly endings: Trie;
  /** The mask of all plain tokens. */
  readonly plainMask: Uint32Array;
  /** Characters of the longest token at most. */
  readonly longest: number;
}

/** A vocabulary. */
export interface Vocabulary {
  /** Tokens, special ones included: a mask has a bit for each. */
  readonly size: number;
  /** 32-bit words of a mask. */
  readonly words: number;
  /** Ids that end a text. */
  readonly endIds: readonly number[];
  /** A token's bytes: none for special tokens, which are never allowed. */
  bytes(id: number): Uint8Array;
  /** Tokens of up to 16 characters: nearly all. They do not see the ends of counts that are further away. */
  readonly short: Tokens;
  /** The few longer ones. */
  readonly long: Tokens;
}

/** The vocabulary of a model: `size` ids of a tokenizer, of which `endIds` end a text. */
export function modelVocabulary(
  tokenizer: TokenizerVocabulary,
  size: number,
  endIds: readonly number[],
): Vocabulary {
  const bytes = (_: unknown, id: number) => tokenizer.isSpecial(id) ? undefined : tokenizer.bytes(id);
  return makeVocabulary(Array.from({ length: size }, bytes), endIds);
}

/**
 * Makes a vocabulary.
 * @param tokens each token's bytes by id; undefined for a special token, which is never allowed, as one without bytes
 * is: ids that only fill the embedding table
 * @param endIds ids that end a text: allowed where the grammar may end
 */
export function makeVocabulary(
  tokens: readonly (Uint8Array | undefined)[],
  endIds: readonly number[],
): Vocabulary {
  const ends = new Set(endIds);
  const words = Math.ceil(tokens.length / 32);
  const kinds = { short: kind(words), long: kind(words) };
  tokens.forEach((token, id) => {
    if (token === undefined || token.length === 0 || ends.has(id)) return;
    const text = binaryString(token);
    const length = characters(text);
    const { plain, others, mask, lengths } = length <= SHORT ? kinds.short : kinds.long;
    lengths.longest = Math.max(lengths.longest, length);
    if (ordinaryLength(text) === text.length && isText(token)) {
      plain.push({ id, bytes: text });
      mask[id >> 5]! |= 1 << (id & 31);
    } else others.push({ id, bytes: text });
  });
  const made = ({ plain, others, mask, lengths }: Kind): Tokens => ({
    plain: makeTrie(plain),
    others: makeTrie(others),
    endings: makeTrie(
      others.map(({ id, bytes }) => ({ id, bytes: bytes.slice(ordinaryPrefix(tokens[id]!, bytes)) })),
    ),
    plainMask: mask,
    longest: lengths.longest,
  });
  return {
    size: tokens.length,
    words,
    endIds: [...ends].filter((id) => id >= 0 && id < tokens.length),
    bytes: flat(tokens),
    short: made(kinds.short),
    long: made(kinds.long),
  };
}

// One array for all bytes: an object for each token would be work for every collection of the heap.
function flat(tokens: readonly (Uint8Array | undefined)[]): (id: number) => Uint8Array {
  const starts = new Uint32Array(tokens.length + 1);
  tokens.forEach((token, id) => starts[id + 1] = starts[id]! + (token?.length ?? 0));
  const all = new Uint8Array(starts[tokens.length]!);
  tokens.forEach((token, id) => all.set(token ?? [], starts[id]));
  return (id) => all.subarray(starts[id], starts[id + 1]);
}

interface Kind {
  readonly plain: TokenBytes[];
  readonly others: TokenBytes[];
  readonly mask: Uint32Array;
  readonly lengths: { longest: number };
}

function kind(words: number): Kind {
  return { plain: [], others: [], mask: new Uint32Array(words), lengths: { longest: 1 } };
}

// Bytes that do not continue a character: at least the characters.
function characters(bytes: string): number {
  let count = 0;
  for (let i = 0; i < bytes.length; i++) if ((bytes.charCodeAt(i) & 0xc0) !== 0x80) count++;
  return count;
}

function binaryString(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

// Bytes before the first that is special inside a JSON string.
function ordinaryLength(bytes: string): number {
  let at = 0;
  for (; at < bytes.length; at++) {
    const byte = bytes.charCodeAt(at);
    if (byte < 0x20 || byte === 0x22 || byte === 0x5c) break;
    // U+2028 and U+2029 end a line.
    if (byte === 0xe2 && bytes.charCodeAt(at + 1) === 0x80 && (bytes.charCodeAt(at + 2) | 1) === 0xa9) break;
  }
  return at;
}

// The ordinary characters that a token begins with, in bytes; none where its bytes are no text.
function ordinaryPrefix(token: Uint8Array, bytes: string): number {
  const length = ordinaryLength(bytes);
  return length < bytes.length && isText(token.subarray(0, length), true) ? length : 0;
}

// Whether bytes are the beginning of a text or, where `whole`, a text.
function isText(bytes: Uint8Array, whole = false): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !whole });
    return true;
  } catch {
    return false;
  }
}
