/** Whether a few names can be all that an object is asked for: a search over what is still missing, as bits. */

/**
 * Whether `places` names, each of one of these kinds, can satisfy all of `missing`.
 * @param kinds what one name of each kind satisfies, as bits
 * @param charge takes the steps of the search
 */
export function canCover(
  missing: number,
  kinds: readonly number[],
  places: number,
  charge: (steps: number) => void,
): boolean {
  const useful = new Set(kinds.map((kind) => kind & missing));
  let left = new Set([missing]);
  for (; !left.has(0); places--) {
    if (places <= 0) return false;
    const next = new Set(left);
    for (const bits of left) for (const kind of useful) next.add(bits & ~kind);
    charge(left.size * useful.size);
    if (next.size === left.size) return false;
    left = next;
  }
  return true;
}
