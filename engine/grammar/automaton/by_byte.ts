/**
 * Values by byte, in pages of 16 made when they are needed: a walk over a vocabulary passes thousands of places that
 * few bytes lead on from, nearly all of them lower-case letters. An array of 256 for each would be two kilobytes.
 */

/** Values by byte. */
export type ByByte<T> = ((T | undefined)[] | undefined)[];

/** The value of a byte. */
export function getByte<T>(table: ByByte<T> | undefined, byte: number): T | undefined {
  return table?.[byte >> 4]?.[byte & 15];
}

/** A table without values. */
export function makeByByte<T>(): ByByte<T> {
  return new Array(16);
}

/** Sets the value of a byte, and returns it. */
export function setByte<T>(table: ByByte<T>, byte: number, value: T): T {
  return (table[byte >> 4] ??= new Array(16))[byte & 15] = value;
}
