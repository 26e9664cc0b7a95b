// The rows of token pool and page table: one for each request that runs.
//
// A row is given back only when no plan in flight contains its request, so the next owner's writes cannot meet a
// step that still reads or samples into the row.

import type { Request } from "./request.ts";

/** Hands out rows 0 … size − 1 and knows who holds which. */
export class RowTable {
  readonly #free: number[] = [];
  readonly #holders = new Map<number, Request>();

  /** `size` rows, all free. */
  constructor(size: number) {
    for (let row = size - 1; row >= 0; row--) this.#free.push(row);
  }

  /** Rows that no request holds. */
  get freeRows(): number {
    return this.#free.length;
  }

  /** Rows that requests hold. */
  get usedRows(): number {
    return this.#holders.size;
  }

  /** Requests that hold a row, runnable or on their way out. */
  holders(): Iterable<Request> {
    return this.#holders.values();
  }

  /** Takes a row. Throws if there is none: ask `freeRows` first. */
  take(request: Request): number {
    const row = this.#free.pop();
    if (row === undefined) throw new Error("there is no free row");
    this.#holders.set(row, request);
    return row;
  }

  /** Gives a row back; throws if no request held it. */
  release(row: number): void {
    if (!this.#holders.delete(row)) throw new Error(`row ${row} was released, but no request held it`);
    this.#free.push(row);
  }
}
