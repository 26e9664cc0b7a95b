/**
 * What scheduler and grammar worker say to each other. A request is known by a number, so that what is still on its
 * way for one that has ended is never taken for another's.
 */
import type { Tagged } from "../../tagged.ts";
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
  | Tagged<"open", { key: number; grammar: OutputGrammar; tail: Uint32Array }>
  /** A token was drawn under the last mask: make the next one. */
  | Tagged<"accept", { key: number; token: number }>
  /** The request has ended. */
  | Tagged<"close", { key: number }>;

/** grammar worker → scheduler: one answer to every "open" and "accept" of a request that goes on. */
export type FromGrammar =
  /** In shared memory; it stays as it is until the mask after the next one is made. */
  | Tagged<"mask", { key: number; mask: Uint32Array }>
  /** Nothing but an end may follow. */
  | Tagged<"complete", { key: number }>
  /** `invalid`: the grammar is at fault; `unavailable`: the worker was lost. */
  | Tagged<"refused", { key: number; code: "invalid" | "internal" | "unavailable"; message: string }>;

/** What was said at once, in order: one message between workers costs as much as several things said. */
export interface Said<T> {
  /** Tells it from the worker's setup. */
  readonly type: "said";
  /** In order. */
  readonly messages: readonly T[];
}
