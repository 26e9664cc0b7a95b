/**
 * Sets of Unicode code points as sorted, disjoint, inclusive ranges in one flat array: [lo, hi, lo, hi, …].
 * Surrogates are no code points of a text and never belong to a set.
 */

/** Flat inclusive ranges, sorted, disjoint and not adjacent. */
export type CharSet = readonly number[];

/** The last code point. */
export const MAX_CODE_POINT = 0x10ffff;
/** Every code point but the surrogates. */
export const ANY_CHAR: CharSet = [0, 0xd7ff, 0xe000, MAX_CODE_POINT];

/** Makes a set of ranges in any order, overlapping or not; surrogates are dropped. */
export function charSet(ranges: readonly (readonly [number, number])[]): CharSet {
  const sorted = [...ranges].filter(([lo, hi]) => lo <= hi).sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [lo, hi] of sorted) {
    const last = out.length - 1;
    if (last > 0 && lo <= out[last]! + 1) out[last] = Math.max(out[last]!, hi);
    else out.push(lo, hi);
  }
  return intersectSets(out, ANY_CHAR);
}

/** The set of one code point; empty for half of a surrogate pair, which no text has. */
export function oneChar(codePoint: number): CharSet {
  return codePoint >= 0xd800 && codePoint <= 0xdfff ? [] : [codePoint, codePoint];
}

/** All of either. */
export function unionSets(a: CharSet, b: CharSet): CharSet {
  const ranges: [number, number][] = [];
  for (const set of [a, b]) for (let i = 0; i < set.length; i += 2) ranges.push([set[i]!, set[i + 1]!]);
  return charSet(ranges);
}

/** What both have. */
export function intersectSets(a: CharSet, b: CharSet): CharSet {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const lo = Math.max(a[i]!, b[j]!);
    const hi = Math.min(a[i + 1]!, b[j + 1]!);
    if (lo <= hi) out.push(lo, hi);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return out;
}

/** Every code point that is not in the set. */
export function complementSet(set: CharSet): CharSet {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < set.length; i += 2) {
    if (set[i]! > next) out.push(next, set[i]! - 1);
    next = set[i + 1]! + 1;
  }
  if (next <= MAX_CODE_POINT) out.push(next, MAX_CODE_POINT);
  return intersectSets(out, ANY_CHAR);
}
