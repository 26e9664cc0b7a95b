/**
 * What scheduler and grammar worker say to each other. A request is known by a number, so that what is still on its
 * way for one that has ended is never taken for another's.
 */
import type { GrammarSource } from "../source.ts";

/** What a request asks of its output; plain data. */
export interface OutputGrammar {
  /** What is allowed. */
  readonly source: GrammarSource;
  /** A `<think>…</think>` block may come first; where the prompt ends with `<think>`, its rest has to. */
  readonly reasoning: boolean;
}

/** scheduler → grammar worker */
export type ToGrammar =
  /** Compile, and make the first mask. `tail`: the prompt's last ids. */
  | {
    readonly type: "open";
    readonly key: number;
    readonly grammar: OutputGrammar;
    readonly tail: Uint32Array;
  }
  /** A token was drawn under the last mask: make the next one. */
  | { readonly type: "accept"; readonly key: number; readonly token: number }
  /** The request has ended. */
  | { readonly type: "close"; readonly key: number };

/** grammar worker → scheduler: one answer to every "open" and "accept" of a request that goes on. */
export type FromGrammar =
  | { readonly type: "mask"; readonly key: number; readonly mask: Uint32Array<ArrayBuffer> }
  /** Nothing but an end may follow. */
  | { readonly type: "complete"; readonly key: number }
  | {
    readonly type: "refused";
    readonly key: number;
    /** `invalid`: the grammar is at fault; `unavailable`: the worker was lost. */
    readonly code: "invalid" | "internal" | "unavailable";
    readonly message: string;
  };

/** What was said at once, in order: one message between workers costs as much as several things said. */
export interface Said<T> {
  /** Tells it from the worker's setup. */
  readonly type: "said";
  /** In order. */
  readonly messages: readonly T[];
}
