// What the procedures that take a text apart have in common.

import { ObjectScanner } from "./json_scanner.ts";
import { certainLength, type Incoming } from "./streaming.ts";
import type { TextPiece, ToolPiece } from "./tool_format.ts";

/** Pieces, and null where more text is needed. */
export type Pieces<Result = void> = Generator<ToolPiece | null, Result>;

/** A piece of text, unless it is empty. */
export function* content(text: string, type: TextPiece["type"] = "content"): Generator<TextPiece, void> {
  if (text !== "") yield { type, text };
}

/** What is left of a text, as it comes. */
export function* restAsContent(text: Incoming): Generator<TextPiece | null, void> {
  for (;; yield null) {
    yield* content(text.take());
    if (text.over) return;
  }
}

/**
 * Gives out text until one of the tags is in front. Returns the white space before the tag, which is text after all if
 * no call follows; null where the text is over. Then white space behind one of `calls` calls is part of their form,
 * elsewhere it is text.
 */
export function* contentUntil(text: Incoming, tags: readonly string[], calls: number): Pieces<string | null> {
  for (;;) {
    const places = tags.map((tag) => text.held.indexOf(tag)).filter((at) => at >= 0);
    if (places.length > 0) {
      const before = text.take(Math.min(...places)), said = before.trimEnd();
      yield* content(said);
      return before.slice(said.length);
    }
    yield* content(text.take(certainLength(text.held, tags)));
    if (text.over) return yield* contentAtEnd(text, calls);
    yield null;
  }
}

/** The rest of a text that is over. */
export function* contentAtEnd(text: Incoming, calls: number): Pieces<null> {
  const rest = text.take();
  if (calls === 0 || rest.trim() !== "") yield* content(rest);
  return null;
}

/** The JSON object of a call's arguments, as far as there is one, as it is written. */
export function* jsonArguments(text: Incoming, index: number): Pieces {
  for (const scanner = new ObjectScanner();; yield null) {
    const { length, ended } = scanner.scan(text.held);
    if (length > 0) yield { type: "arguments", index, text: text.take(length) };
    if (ended || text.over) return;
  }
}
