// One request's tokens → text that is never revised.
//
// Tokens are runs of bytes (see tokenizer/vocabulary.ts); a streaming UTF-8 decoder keeps the bytes of half a
// character until the rest arrives, and the stop matcher keeps what may become a stop string. So the concatenation
// of all pieces is the decoding of all tokens at once, up to a stop string.

import { newUtf8Decoder, type Vocabulary } from "../tokenizer/vocabulary.ts";
import { StopMatcher, type StopResult } from "./stop.ts";

/** What of a request concerns its text. */
export interface StreamOptions {
  /** Leave special tokens out. */
  readonly skipSpecialTokens: boolean;
  /** Stop strings, none of them empty. */
  readonly stop: readonly string[];
  /** Stop strings do not count among the first tokens. */
  readonly minTokens: number;
}

/** One request's text. */
export class TextStream {
  readonly #vocabulary: Vocabulary | null;
  readonly #options: StreamOptions;
  readonly #decoder = newUtf8Decoder();
  readonly #stops: StopMatcher;
  #tokens = 0;

  /** Without a vocabulary there is no text: every piece is empty. */
  constructor(vocabulary: Vocabulary | null, options: StreamOptions) {
    this.#vocabulary = vocabulary;
    this.#options = options;
    this.#stops = new StopMatcher(options.stop);
  }

  /** Takes in the next token. */
  push(id: number): StopResult {
    this.#tokens++;
    const vocabulary = this.#vocabulary;
    if (!vocabulary || (this.#options.skipSpecialTokens && vocabulary.isSpecial(id))) return nothing;
    return this.#match(this.#decoder.decode(vocabulary.bytes(id), { stream: true }));
  }

  /** The end of the text: what was held back comes out, half a character as U+FFFD. */
  finish(): StopResult {
    const last = this.#match(this.#decoder.decode());
    return last.matched === null ? { text: last.text + this.#stops.flush(), matched: null } : last;
  }

  #match(text: string): StopResult {
    return this.#tokens <= this.#options.minTokens ? { text, matched: null } : this.#stops.push(text);
  }
}

const nothing: StopResult = { text: "", matched: null };
