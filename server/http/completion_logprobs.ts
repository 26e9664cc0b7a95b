// The `logprobs` of OpenAI's text completions: parallel lists, with the offset of each token in the text.

import type { TextLogprob } from "../../engine/messages.ts";

/** The lists, of equal length. */
export interface Lists {
  /** Texts of the tokens; half a character as its bytes. */
  readonly tokens: string[];
  /** Null for the first token of a prompt. */
  readonly token_logprobs: (number | null)[];
  /** By text, the token itself among them. */
  readonly top_logprobs: (Record<string, number> | null)[];
  /** Where each token's text begins, in UTF-16 units. */
  readonly text_offset: number[];
}

/** Smallest log-probability reported: JSON has no infinity. */
const lowest = -9999;

/** A log-probability that JSON can hold. */
export const finiteLogprob = (logprob: number): number => Math.max(logprob, lowest);

/** Log-probabilities of one choice in the form of /v1/completions. */
export class CompletionLogprobs {
  #lists: Lists | null = null;
  #offset = 0;

  /** A token without a log-probability is the first of a prompt. */
  add(tokens: readonly (TextLogprob | { readonly text: string })[]): void {
    const lists = this.#lists ??= { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    for (const token of tokens) {
      lists.text_offset.push(this.#offset);
      this.#offset += token.text.length;
      if (!("id" in token)) {
        lists.tokens.push(token.text);
        lists.token_logprobs.push(null);
        lists.top_logprobs.push(null);
        continue;
      }
      lists.tokens.push(label(token));
      lists.token_logprobs.push(finiteLogprob(token.logprob));
      // The chosen token is always among them, so there may be one more than asked for.
      const top = [...token.top, token].map((each) => [label(each), finiteLogprob(each.logprob)] as const);
      lists.top_logprobs.push(Object.fromEntries(top));
    }
  }

  /** What was added since the last call; null if nothing. */
  take(): Lists | null {
    const lists = this.#lists;
    this.#lists = null;
    return lists;
  }
}

/** A token's text, or for half a character its bytes, as OpenAI writes them: `bytes:\xe2\x98`. */
function label(token: { readonly text: string; readonly bytes: readonly number[] }): string {
  if (!token.text.includes("\ufffd")) return token.text;
  return "bytes:" + token.bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
