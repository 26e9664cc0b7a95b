/**
 * What each byte leads to. A walk over a vocabulary passes thousands of places and asks each of them for dozens of
 * bytes, nearly all of which lead nowhere: of those a place keeps a bit. The few others stand behind the bits as pairs
 * of byte and value, and where they become many, in pages of 16 made when they are needed.
 */

/** Values by byte; null: leads nowhere. Eight words of bits and some pairs, or as many pages as `PAGES`. */
export type ByByte<T extends object> = (T | Page<T> | number | null)[];

// A page of bytes that lead nowhere is a number, a bit for each byte known.
type Page<T extends object> = (T | null | undefined)[];

const BITS = 8;
const PAGES = 16;
/** Lengths of a table of two pairs and of five: not the one of a table of pages. */
const SMALL = BITS + 2 * 2, LARGER = BITS + 2 * 5;

/** The value of a byte: null where it leads nowhere, undefined where it is not known. */
export function getByte<T extends object>(table: ByByte<T> | undefined, byte: number): T | null | undefined {
  if (table === undefined) return undefined;
  if (table.length === PAGES) {
    const page = table[byte >> 4] as Page<T> | number;
    if (typeof page !== "number") return page[byte & 15];
    return (page >> (byte & 15) & 1) === 1 ? null : undefined;
  }
  if (((table[byte >> 5] as number) >> (byte & 31) & 1) === 1) return null;
  for (let i = BITS; i < table.length; i += 2) if (table[i] === byte) return table[i + 1] as T;
  return undefined;
}

/** The table, or a larger one in its place, with the value of a byte that was not known. */
export function withByte<T extends object>(
  table: ByByte<T> | undefined,
  byte: number,
  value: T | null,
): ByByte<T> {
  if (table === undefined) {
    table = [0, 0, 0, 0, 0, 0, 0, 0, -1, null, -1, null];
  }
  if (table.length === PAGES) setInPages(table, byte, value);
  else if (value === null) table[byte >> 5] = (table[byte >> 5] as number) | 1 << (byte & 31);
  else {
    let at = BITS;
    while (at < table.length && table[at] !== -1) at += 2;
    if (at === table.length) return withByte(at < LARGER ? larger(table) : toPages(table), byte, value);
    table[at] = byte;
    table[at + 1] = value;
  }
  return table;
}

function larger<T extends object>(table: ByByte<T>): ByByte<T> {
  const made: ByByte<T> = new Array(LARGER).fill(-1);
  for (let i = 0; i < SMALL; i++) made[i] = table[i]!;
  return made;
}

function toPages<T extends object>(table: ByByte<T>): ByByte<T> {
  const pages: ByByte<T> = new Array(PAGES);
  for (let i = 0; i < PAGES; i++) pages[i] = (table[i >> 1] as number) >> ((i & 1) << 4) & 0xffff;
  for (let i = BITS; i < table.length; i += 2) setInPages(pages, table[i] as number, table[i + 1] as T);
  return pages;
}

function setInPages<T extends object>(pages: ByByte<T>, byte: number, value: T | null): void {
  let page = pages[byte >> 4] as Page<T> | number;
  if (typeof page === "number") {
    if (value === null) {
      pages[byte >> 4] = page | 1 << (byte & 15);
      return;
    }
    const dead = page;
    pages[byte >> 4] = page = new Array(16);
    for (let i = 0; i < 16; i++) if ((dead >> i & 1) === 1) page[i] = null;
  }
  page[byte & 15] = value;
}
