// Special tokens under secret names. A special token such as `<|im_end|>` frames a conversation; written by a user it
// would forge a turn. The encoder therefore does not know special tokens by their texts but by names that nobody can
// guess, made anew at each start; before encoding, the occurrences that count are replaced by those names. An
// occurrence counts unless any of its characters is foreign (jinja/text.ts). All else is ordinary text to the encoder,
// which has no way left to make a special token of it.
//
// The same distinction elsewhere: transformers' `split_special_tokens`, llama.cpp's `parse_special`.

import { Text } from "../jinja/text.ts";

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}
interface TokenizerJson {
  readonly added_tokens?: readonly AddedToken[];
  readonly model?: { readonly vocab?: unknown; readonly unk_token?: unknown };
  readonly post_processor?: unknown;
}
interface TrieNode {
  readonly next: Map<string, TrieNode>;
  /** The added token that ends here, as the encoder knows it. */
  token?: { readonly name: string; readonly special: boolean };
}

/** The special tokens of one tokenizer. */
export class SpecialTokens {
  /** What the encoder is to be made of: `tokenizer.json` with the secret names. */
  readonly json: object;
  readonly #trie: TrieNode = { next: new Map() };

  /** From a parsed and checked `tokenizer.json`, which is not changed. */
  constructor(json: object) {
    const tokenizer = json as TokenizerJson;
    const names = new Map<string, string>();
    const secret = Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => letters[byte % 26]).join(
      "",
    );
    for (const { content, special } of tokenizer.added_tokens ?? []) {
      if (special) {
        names.set(content, secret + names.size.toString(26).replace(/./g, digitLetter).padStart(5, "a"));
      }
      if (content !== "") this.#remember(content, names.get(content));
    }
    const renamed = (text: string) => names.get(text) ?? text;
    const unknown = tokenizer.model?.unk_token;
    this.json = {
      ...tokenizer,
      added_tokens: tokenizer.added_tokens?.map((token) => ({ ...token, content: renamed(token.content) })),
      model: {
        ...tokenizer.model,
        vocab: renamedVocabulary(tokenizer.model?.vocab, (text) => text === unknown ? text : renamed(text)),
      },
      post_processor: renamedTree(tokenizer.post_processor, renamed),
    };
  }

  /** The text for the encoder: special tokens that are not foreign by their secret names. */
  mark(text: Text): string {
    const { value } = text;
    let marked = "";
    let done = 0;
    for (let at = 0; at < value.length;) {
      let node: TrieNode | undefined = this.#trie;
      let end = 0;
      let name = "";
      // The longest token that begins here, as the library itself looks for them.
      for (let i = at; i < value.length && (node = node.next.get(value[i]!)); i++) {
        if (!node.token || (node.token.special && text.isForeign(at, i + 1))) continue;
        [end, name] = [i + 1, node.token.name];
      }
      if (end === 0) {
        at++;
        continue;
      }
      marked += value.slice(done, at) + name;
      done = at = end;
    }
    return marked + value.slice(done);
  }

  #remember(content: string, secret: string | undefined): void {
    let node = this.#trie;
    for (let i = 0; i < content.length; i++) {
      const next: TrieNode = node.next.get(content[i]!) ?? { next: new Map() };
      node.next.set(content[i]!, next);
      node = next;
    }
    node.token = { name: secret ?? content, special: secret !== undefined };
  }
}

const letters = "abcdefghijklmnopqrstuvwxyz";

function digitLetter(digit: string): string {
  return letters[parseInt(digit, 26)]!;
}

/** Pieces of the vocabulary; only those that change are made anew. */
function renamedVocabulary(vocab: unknown, renamed: (text: string) => string): unknown {
  if (Array.isArray(vocab)) {
    return vocab.map((entry) =>
      Array.isArray(entry) && typeof entry[0] === "string" ? [renamed(entry[0]), ...entry.slice(1)] : entry
    );
  }
  if (typeof vocab !== "object" || vocab === null) return vocab;
  if (Object.keys(vocab).every((text) => renamed(text) === text)) return vocab;
  return Object.fromEntries(Object.entries(vocab).map(([text, id]) => [renamed(text), id]));
}

/** Post-processors name special tokens, as keys and as values. */
function renamedTree(tree: unknown, renamed: (text: string) => string): unknown {
  if (typeof tree === "string") return renamed(tree);
  if (Array.isArray(tree)) return tree.map((item) => renamedTree(item, renamed));
  if (typeof tree !== "object" || tree === null) return tree;
  return Object.fromEntries(
    Object.entries(tree).map(([key, value]) => [renamed(key), renamedTree(value, renamed)]),
  );
}
