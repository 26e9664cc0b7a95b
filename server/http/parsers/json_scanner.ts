// Where a JSON object ends, found while its text still comes in. It only counts brackets outside of strings: what
// the model wrote is passed on as it is, and whether it is valid JSON is for the one who reads it.

/** Finds where a JSON object ends that comes in pieces. */
export class ObjectScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #started = false;

  /** Number of characters of `text` that belong to the object, and whether it ended there. */
  scan(text: string): { readonly length: number; readonly ended: boolean } {
    for (let i = 0; i < text.length; i++) {
      const char = text[i];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (char === "\\") this.#escaped = true;
        else if (char === '"') this.#inString = false;
      } else if (char === '"') {
        this.#inString = true;
      } else if (char === "{" || char === "[") {
        this.#depth++;
        this.#started = true;
      } else if (char === "}" || char === "]") {
        this.#depth--;
      }
      if (this.#started && this.#depth === 0) return { length: i + 1, ended: true };
    }
    return { length: text.length, ended: false };
  }
}
