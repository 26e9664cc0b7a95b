/**
 * What each byte leads to, in pages of 16 made when they are needed: a walk over a vocabulary passes thousands of places
 * that few bytes lead on from, nearly all of them lower-case letters. A page of bytes that lead nowhere is a number, a
 * bit for each byte known; a place has many of those.
 */

/** Values by byte; null: leads nowhere. */
export type ByByte<T extends object> = ((T | null | undefined)[] | number | undefined)[];

/** The value of a byte: null where it leads nowhere, undefined where it is not known. */
export function getByte<T extends object>(table: ByByte<T> | undefined, byte: number): T | null | undefined {
  const page = table?.[byte >> 4];
  if (typeof page !== "number") return page?.[byte & 15];
  return (page >> (byte & 15) & 1) === 1 ? null : undefined;
}

/** A table without values. */
export function makeByByte<T extends object>(): ByByte<T> {
  return new Array(16);
}

/** Sets the value of a byte, and returns it. */
export function setByte<T extends object, V extends T | null>(table: ByByte<T>, byte: number, value: V): V {
  let page = table[byte >> 4];
  if (value === null && typeof page !== "object") {
    table[byte >> 4] = (page ?? 0) | 1 << (byte & 15);
    return value;
  }
  if (typeof page !== "object") {
    const dead = page ?? 0;
    table[byte >> 4] = page = new Array(16);
    for (let i = 0; i < 16; i++) if ((dead >> i & 1) === 1) page[i] = null;
  }
  page[byte & 15] = value;
  return value;
}
