// An array of words, divided into regions that begin at multiples of the binding alignment.

import { headerWords } from "./words.ts";

/** Fills an array with regions. */
export class Regions {
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #floats: Float32Array;
  #start = 0;
  #end = 0;
  /** Words of the longest region. */
  longest = 0;

  /** What stands in `words` already means nothing. */
  constructor(words: Uint32Array<ArrayBuffer>) {
    this.#words = words;
    this.#floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  }

  /** Begins a region; returns its first word's index. */
  begin(alignWords: number): number {
    this.#start = Math.ceil(this.#end / alignWords) * alignWords;
    this.#words.fill(0, this.#end, this.#start);
    this.#end = this.#start;
    this.take(headerWords);
    return this.#start;
  }

  /** Sets a header word. */
  header(word: number, value: number): void {
    this.#words[this.#start + word] = value;
  }

  /** Room for `count` words; returns their offset within the region. */
  take(count: number): number {
    const at = this.#end - this.#start, before = this.#end;
    this.#end += count;
    if (this.#end > this.#words.length) {
      throw new RangeError(`a plan of ${this.#end} words was given room for ${this.#words.length}`);
    }
    this.#words.fill(0, before, this.#end);
    this.longest = Math.max(this.longest, this.#end - this.#start);
    return at;
  }

  /** Sets a word of the current region. */
  set(at: number, value: number): void {
    this.#words[this.#start + at] = value;
  }

  /** Sets many words of the current region. */
  setAll(at: number, values: Uint32Array): void {
    this.#words.set(values, this.#start + at);
  }

  /** Sets a word of the current region to a float's bits. */
  setFloat(at: number, value: number): void {
    this.#floats[this.#start + at] = value;
  }

  /** All regions. */
  finish(): Uint32Array<ArrayBuffer> {
    return this.#words.subarray(0, this.#end);
  }
}
