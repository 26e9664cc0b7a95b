// Finds stop strings in a text that arrives in pieces, and holds back what may become one.
//
// The result does not depend on how the text is cut into pieces: of several matches the one that ends first wins,
// and of those the one that began first.

/** What may be shown after a piece of text, and the stop string that was completed in it. */
export interface StopResult {
  /** What can be shown now. */
  readonly text: string;
  /** The stop string that was completed, if one was. */
  readonly matched: string | null;
}

/** Looks for stop strings in a text that comes in pieces. */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";

  /** None of them empty. */
  constructor(stops: readonly string[]) {
    // Decoded text is well-formed, so nothing else can ever match.
    this.#stops = stops.filter((stop) => stop.length > 0 && stop.isWellFormed());
  }

  /** Takes the next piece. After a match the matcher is spent: what follows the stop string is not text. */
  push(piece: string): StopResult {
    const text = this.#held + piece;
    let best: { start: number; end: number; stop: string } | null = null;
    for (const stop of this.#stops) {
      const start = text.indexOf(stop);
      if (start < 0) continue;
      const end = start + stop.length;
      if (best === null || end < best.end || (end === best.end && start < best.start)) {
        best = { start, end, stop };
      }
    }
    if (best !== null) {
      this.#held = "";
      return { text: text.slice(0, best.start), matched: best.stop };
    }
    const held = this.#couldBegin(text);
    this.#held = text.slice(text.length - held);
    return { text: text.slice(0, text.length - held), matched: null };
  }

  /** What is still held back, at the end of the text. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** Length of the longest end of the text that a stop string begins with. */
  #couldBegin(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
