/**
 * Follows one text through a grammar, token by token. A state never changes, so going back and copying cost nothing.
 */
import type { State } from "./automaton/automaton.ts";
import type { Grammar } from "./grammar.ts";
import type { MaskMaker } from "./vocabulary/masks.ts";

/** Tokens that can be taken back. A text that went further is walked again from its start. */
const MAX_ROLLBACK = 256;

/** One text's way through a grammar. */
export class Matcher {
  /** Whose text. */
  readonly grammar: Grammar;
  readonly #masks: MaskMaker;
  #state: State;
  #history: (readonly [State, ended: boolean])[] = [];
  #ended = false;

  /** At the start of a text. */
  constructor(grammar: Grammar, masks: MaskMaker) {
    this.grammar = grammar;
    this.#masks = masks;
    this.#begin();
    this.#state = grammar.start;
  }

  /** Whether the text may end here. */
  get canEnd(): boolean {
    return this.#state.canEnd;
  }

  /** Whether an end of text was taken. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The state, for measurements and tests. */
  get state(): State {
    return this.#state;
  }

  /**
   * Takes a token; false, and nothing changes, where the grammar does not allow it.
   * @throws GrammarError where the text becomes too ambiguous or costly
   */
  accept(token: number): boolean {
    if (this.#ended) return false;
    const { vocabulary } = this.#masks;
    if (vocabulary.endIds.includes(token)) {
      if (!this.#state.canEnd) return false;
      this.#remember();
      this.#ended = true;
      return true;
    }
    const bytes = vocabulary.bytes(token);
    if (bytes.length === 0) return false;
    const after = this.#after(bytes);
    if (after === null) return false;
    this.#remember();
    this.#state = after;
    return true;
  }

  #begin(): void {
    this.grammar.begin();
    this.#masks.use(this.grammar);
  }

  #remember(): void {
    this.#history.push([this.#state, this.#ended]);
    if (this.#history.length > 2 * MAX_ROLLBACK) this.#history = this.#history.slice(-MAX_ROLLBACK);
  }

  #after(bytes: Uint8Array): State | null {
    this.#begin();
    const { automaton } = this.grammar;
    let state: State | null = this.#state;
    for (let i = 0; i < bytes.length && state !== null; i++) {
      state = automaton.step(state, bytes[i]!);
    }
    return state;
  }

  /**
   * Writes which tokens may come next, a bit for each: ⌈vocabulary / 32⌉ words. False where none may, which ends the
   * request with an error: the vocabulary cannot spell what the grammar asks for.
   * @throws GrammarError where the mask becomes too costly
   */
  fillMask(bits: Uint32Array): boolean {
    if (this.#ended) {
      bits.fill(0);
      return false;
    }
    this.#begin();
    return this.#masks.fill(this.grammar, this.#state, bits);
  }

  /** The bytes that have to come next, whatever the model wants: for drafts. At most `most` of them. */
  forcedBytes(most = 256): Uint8Array {
    this.#begin();
    const { automaton } = this.grammar;
    const out: number[] = [];
    for (let state = this.#state; out.length < most && !state.canEnd;) {
      let only = -1;
      let after: State | undefined;
      for (let byte = 0; byte < 256 && only > -2; byte++) {
        const next = automaton.step(state, byte);
        if (next === null) continue;
        [only, after] = only === -1 ? [byte, next] : [-2, undefined];
      }
      if (after === undefined) break;
      out.push(only);
      state = after;
    }
    return Uint8Array.from(out);
  }

  /** Takes the last `count` tokens back; at most 256 are remembered. @throws RangeError where there are fewer */
  rollback(count: number): void {
    if (count === 0) return;
    const before = this.#history.at(-count);
    if (before === undefined) {
      throw new RangeError(`cannot take back ${count} tokens; ${this.#history.length} are remembered`);
    }
    this.#history.length -= count;
    [this.#state, this.#ended] = before;
  }

  /** A matcher at the same place that goes its own way. */
  clone(): Matcher {
    const copy = new Matcher(this.grammar, this.#masks);
    copy.#state = this.#state;
    copy.#history = this.#history.slice();
    copy.#ended = this.#ended;
    return copy;
  }
}
