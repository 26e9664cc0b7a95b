// A grammar made of hashes: what may follow is a hash of the pattern and of all tokens so far. And a worker that answers
// when it is told to, in any order.

import assert from "node:assert/strict";
import type { FromGrammar, OutputGrammar, ToGrammar } from "../../../engine/grammar/serving/messages.ts";
import { hash } from "./fake_model.ts";

/** What the worker says after these tokens, whoever asks. */
type Answer = FromGrammar extends infer T ? T extends FromGrammar ? Omit<T, "key"> : never : never;

/** A grammar of its own for each number. */
export const grammarOf = (seed: number): OutputGrammar => ({
  source: { kind: "regex", pattern: `${seed}` },
  reasoning: false,
});

/** A mask of half of the tokens, or of one alone; now and then the end, or a refusal. */
export function fakeGrammar({ source }: OutputGrammar, tokens: readonly number[], vocabSize: number): Answer {
  assert.equal(source.kind, "regex");
  const state = hash(Number(source.kind === "regex" ? source.pattern : 0), ...tokens);
  if (state % 23 === 0 && tokens.length > 0) return { type: "complete" };
  if (state % 61 === 0) {
    return { type: "refused", code: "invalid", message: `no token after ${tokens.length}` };
  }
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  const allow = (token: number) => void (mask[token >> 5]! |= 1 << (token & 31));
  // Not the end alone, which a minimum of tokens would be at odds with.
  allow(1 + state % (vocabSize - 1));
  if (state % 7 !== 0) {
    for (let token = 0; token < vocabSize; token++) if (hash(state, token) % 2) allow(token);
  }
  return { type: "mask", mask };
}

/** Checks the protocol, and answers when it is told to. */
export class FakeGrammarWorker {
  /** Keys of which an answer is owed. */
  readonly owed: number[] = [];
  readonly #open = new Map<number, { readonly grammar: OutputGrammar; readonly tokens: number[] }>();

  constructor(readonly vocabSize: number) {}

  receive(message: ToGrammar): void {
    const { key } = message, known = this.#open.get(key);
    switch (message.type) {
      case "open":
        assert.ok(known === undefined, "opened twice");
        this.#open.set(key, { grammar: message.grammar, tokens: [] });
        break;
      case "accept": {
        assert.ok(
          known !== undefined && !this.owed.includes(key),
          "a token before the mask that it was drawn under",
        );
        known.tokens.push(message.token);
        break;
      }
      case "close":
        assert.ok(this.#open.delete(key), "closed twice");
        // Its answer may still be on the way.
        return;
    }
    this.owed.push(key);
  }

  /** One of the answers that are owed; null if there is none. */
  answer(which: number): FromGrammar | null {
    while (this.owed.length > 0) {
      const [key] = this.owed.splice(which % this.owed.length, 1) as [number];
      const known = this.#open.get(key);
      if (known) return { ...fakeGrammar(known.grammar, known.tokens, this.vocabSize), key } as FromGrammar;
    }
    return null;
  }
}
