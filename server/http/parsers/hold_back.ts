// How much of a text's end could be the beginning of a tag that has not come in whole.

/** Length of the longest end of `text` that is a proper beginning of `tag`. */
export function partialTag(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--) {
    if (text.endsWith(tag.slice(0, length))) return length;
  }
  return 0;
}

/** Length of the white space at the end of `text`. */
export function trailingSpace(text: string): number {
  return text.length - text.trimEnd().length;
}
