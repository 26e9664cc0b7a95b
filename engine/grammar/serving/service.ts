/**
 * The grammars and matchers of all constrained requests. Equal sources are compiled once. It does one thing at a time
 * and every thing has its budget (`limits.ts`): a hostile grammar costs its own request, and others a wait.
 */
import { GrammarError } from "../errors.ts";
import { compileGrammar, type Grammar } from "../grammar.ts";
import { Matcher } from "../matcher.ts";
import { MaskMaker } from "../vocabulary/masks.ts";
import type { Vocabulary } from "../vocabulary/vocabulary.ts";
import type { FromGrammar, ToGrammar } from "./messages.ts";
import { isOnly } from "./only.ts";
import { reasoned } from "./reasoning.ts";

/** Compiled grammars that are kept for requests to come. */
const keptGrammars = 256;

/** Characters of the sources of those. */
const keptCharacters = 16 << 20;

/**
 * A constrained request. Its masks stand in shared memory, so that all workers on their way see them without a copy: in
 * two places by turns, because a rank may still draw under one when another has told the token.
 */
interface Entry {
  /** Where its text is. */
  readonly matcher: Matcher;
  /** The last one and the one before it; the other way round for the next. */
  readonly masks: Uint32Array[];
}

/** Answers the scheduler. */
export class GrammarService {
  readonly #masks: MaskMaker;
  readonly #decode: (ids: Uint32Array) => string;
  readonly #entries = new Map<number, Entry>();
  /** By source as JSON; the one that was not used for longest comes first. */
  readonly #grammars = new Map<string, Grammar>();
  #characters = 0;

  /** `decode` gives the text of a prompt's last ids, special tokens included. */
  constructor(vocabulary: Vocabulary, decode: (ids: Uint32Array) => string) {
    this.#masks = new MaskMaker(vocabulary);
    this.#decode = decode;
  }

  /** The answer to a message; null where there is none to give. */
  handle(message: ToGrammar): FromGrammar | null {
    const { key } = message;
    if (message.type === "close") {
      this.#entries.delete(key);
      return null;
    }
    try {
      return message.type === "open" ? this.#open(message) : this.#accept(key, message.token);
    } catch (error) {
      this.#entries.delete(key);
      if (error instanceof GrammarError) {
        return { type: "refused", key, code: "invalid", message: error.message };
      }
      throw error;
    }
  }

  #open({ key, grammar: { source, reasoning }, tail }: ToGrammar & { type: "open" }): FromGrammar {
    const whole = reasoning ? reasoned(source, this.#decode(tail).trimEnd().endsWith("<think>")) : source;
    const text = JSON.stringify(whole);
    const grammar = this.#grammars.get(text) ?? compileGrammar(whole);
    if (!this.#grammars.delete(text)) this.#characters += text.length;
    this.#grammars.set(text, grammar);
    for (const [old] of this.#grammars) {
      if (this.#grammars.size <= keptGrammars && this.#characters <= keptCharacters) break;
      this.#grammars.delete(old);
      this.#characters -= old.length;
    }
    const bytes = 4 * this.#masks.vocabulary.words, memory = new SharedArrayBuffer(2 * bytes);
    const masks = [0, bytes].map((at) => new Uint32Array(memory, at, bytes / 4));
    const entry = { matcher: new Matcher(grammar, this.#masks), masks };
    this.#entries.set(key, entry);
    return this.#next(key, entry);
  }

  #accept(key: number, token: number): FromGrammar | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null; // refused before
    if (entry.matcher.accept(token)) return this.#next(key, entry);
    const message =
      `token ${token} was drawn although the grammar forbids it: every allowed one was impossible`;
    return { type: "refused", key, code: "internal", message };
  }

  #next(key: number, { matcher, masks }: Entry): FromGrammar {
    const mask = masks.reverse()[0]!;
    const any = matcher.fillMask(mask);
    if (matcher.canEnd && isOnly(mask, this.#masks.vocabulary.endIds)) return { type: "complete", key };
    if (any) return { type: "mask", key, mask };
    const message = "the model's vocabulary has no token with which the grammar could go on";
    return { type: "refused", key, code: "internal", message };
  }
}
