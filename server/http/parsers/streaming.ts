// Parsers of a text that comes in pieces, written as procedures: one looks at what has come, takes from it, yields
// what is certain, and yields null where it has to wait for more. So what it gives out is a function of the whole text
// alone, however that is cut into pieces.

/** What has come of a text and has not been taken. */
export class Incoming {
  /** From the first character that has not been taken. */
  held = "";
  /** Nothing more will come. */
  over = false;
  /** The text ended before its author did. */
  cut = false;

  /** Takes so many characters from the front; all when absent. */
  take(length: number = this.held.length): string {
    const taken = this.held.slice(0, length);
    this.held = this.held.slice(length);
    return taken;
  }
}

/** Drives a procedure: gives it text, and hands out its pieces. */
export class StreamParser<Piece> {
  readonly #text = new Incoming();
  readonly #procedure: Generator<Piece | null, void>;

  /** It is run when the first text comes. */
  constructor(procedure: (text: Incoming) => Generator<Piece | null, void>) {
    this.#procedure = procedure(this.#text);
  }

  /** Takes in a piece of text and returns what it makes certain. */
  push(text: string): Piece[] {
    this.#text.held += text;
    const pieces: Piece[] = [];
    for (
      let next = this.#procedure.next();
      !next.done && next.value !== null;
      next = this.#procedure.next()
    ) {
      pieces.push(next.value);
    }
    return pieces;
  }

  /** What is left when the text is over. `cut`: it ended before its author did. */
  end(cut = false): Piece[] {
    this.#text.over = true;
    this.#text.cut = cut;
    return this.push("");
  }
}

/** Takes the text up to a tag, and the tag, which is "" where the text is over without one. */
export function* takeUntil(text: Incoming, tag: string): Generator<null, [before: string, tag: string]> {
  for (let from = 0;; from = Math.max(0, text.held.length - tag.length), yield null) {
    const at = text.held.indexOf(tag, from);
    if (at >= 0) return [text.take(at), text.take(tag.length)];
    if (text.over) return [text.take(), ""];
  }
}

/** Characters that stand in front of anything that could belong to one of the tags or to white space before it. */
export function certainLength(text: string, tags: readonly string[]): number {
  const body = text.slice(0, text.length - Math.max(...tags.map((tag) => partialTag(text, tag))));
  return body.trimEnd().length;
}

/** Length of the longest end of `text` that is a proper beginning of `tag`. */
export function partialTag(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--) {
    if (text.endsWith(tag.slice(0, length))) return length;
  }
  return 0;
}
