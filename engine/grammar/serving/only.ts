/** Masks that leave no choice. */

/** Whether a mask allows none but these tokens. */
export function isOnly(mask: Uint32Array, tokens: Iterable<number>): boolean {
  const rest = new Map<number, number>();
  for (const token of tokens) {
    const at = token >> 5;
    rest.set(at, (rest.get(at) ?? mask[at]!) & ~(1 << (token & 31)));
  }
  return mask.every((word, at) => (rest.get(at) ?? word) === 0);
}
