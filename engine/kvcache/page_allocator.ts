// The free pages of the key/value pool.
//
// A page is a fixed number of consecutive token slots in every layer's key and value buffer; a request's tokens
// may lie in any pages (PagedAttention, Kwon et al. 2023, arXiv 2309.06180). A stack of free numbers is all it
// takes: pages have no neighbours, so there is no fragmentation. Page `numPages` exists too, as the target of
// padding, and is never handed out.

/** Hands out page numbers 0 … numPages − 1, each to one owner at a time. */
export class PageAllocator {
  /** Pages in the pool, free or not. */
  readonly numPages: number;
  readonly #free: number[] = [];
  readonly #isFree: Uint8Array;

  /** All pages are free at first. */
  constructor(numPages: number) {
    this.numPages = numPages;
    this.#isFree = new Uint8Array(numPages).fill(1);
    for (let page = numPages - 1; page >= 0; page--) this.#free.push(page);
  }

  /** How many pages are free. */
  get freePages(): number {
    return this.#free.length;
  }

  /** Takes `count` pages; all or, if there are too few, none (null). */
  allocate(count: number): number[] | null {
    if (count > this.#free.length) return null;
    const pages = this.#free.splice(this.#free.length - count, count).reverse();
    for (const page of pages) this.#isFree[page] = 0;
    return pages;
  }

  /** Gives pages back. Throws if one is free already or does not exist: a holder would still use it. */
  free(pages: readonly number[]): void {
    for (const page of pages) {
      if (this.#isFree[page] !== 0) throw new Error(`page ${page} was freed while it was free`);
      this.#isFree[page] = 1;
      this.#free.push(page);
    }
  }

  /** Whether the page is free. */
  isFree(page: number): boolean {
    return this.#isFree[page] === 1;
  }
}
