/**
 * What each byte leads to, of many places in flat arrays. A walk over a vocabulary passes thousands of places and asks
 * each of them for dozens of bytes, nearly all of which lead nowhere: of those a bit is kept. The few others stand in
 * pages of 16. Objects for each place would be most of the heap, and collections of it stop the thread.
 */

/** Not known. */
export const UNKNOWN = 0;
/** It leads nowhere. */
export const NOWHERE = -1;

/** Words of bits of a place, pages of a place, values of a page: as shifts. */
const BITS = 3, PAGES = 4, VALUES = 4;
/** Places for which there is room at first. */
const FIRST = 8;

/** Numbers above 0 by place and byte. Places are numbers, too, best without gaps. */
export class ByteTable {
  #bits = new Int32Array(0);
  /** Which page; page 0 is empty. */
  #pages = new Int32Array(0);
  #values = new Int32Array(0);
  #used = 1;

  /** What a byte leads to: `UNKNOWN`, `NOWHERE` or what was set. */
  get(place: number, byte: number): number {
    if (place << BITS >= this.#bits.length) return UNKNOWN;
    const value = this.#values[this.#pages[place << PAGES | byte >> 4]! << VALUES | byte & 15]!;
    if (value !== UNKNOWN) return value;
    return (this.#bits[place << BITS | byte >> 5]! >>> (byte & 31) & 1) === 1 ? NOWHERE : UNKNOWN;
  }

  /** Sets what a byte leads to. */
  set(place: number, byte: number, value: number): void {
    if (place << BITS >= this.#bits.length) this.#widen(place + 1);
    if (value === NOWHERE) {
      this.#bits[place << BITS | byte >> 5]! |= 1 << (byte & 31);
      return;
    }
    let page = this.#pages[place << PAGES | byte >> 4]!;
    if (page === 0) {
      page = this.#pages[place << PAGES | byte >> 4] = this.#used++;
      if (this.#values.length < this.#used << VALUES) {
        this.#values = grown(this.#values, this.#used << VALUES);
      }
    }
    this.#values[page << VALUES | byte & 15] = value;
  }

  /** Forgets all, and gives the memory back. */
  clear(): void {
    this.#bits = this.#pages = this.#values = new Int32Array(0);
    this.#used = 1;
  }

  #widen(places: number): void {
    const room = Math.max(places, FIRST);
    this.#bits = grown(this.#bits, room << BITS);
    this.#pages = grown(this.#pages, room << PAGES);
    if (this.#values.length === 0) this.#values = new Int32Array(FIRST << VALUES);
  }
}

function grown(values: Int32Array<ArrayBuffer>, least: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(least, 2 * values.length));
  larger.set(values);
  return larger;
}
