// Token pool, page table and key/value pages in plain arrays.

import type { BatchPlan } from "../plan.ts";
import type { StateSpec } from "../ops.ts";

/** Everything that outlives a step. */
export class ReferenceState {
  /** Sizes. */
  readonly spec: StateSpec;
  /** [maxRows + 1, contextLength] */
  readonly tokenPool: Uint32Array;
  /** [maxRows + 1, pages per row]; entries begin as the dummy page. */
  readonly pageTable: Uint32Array;
  /** Per layer, [(numPages + 1) · pageSize, numKvHeads · headDim]. */
  readonly keys: Float64Array[];
  /** Per layer. */
  readonly values: Float64Array[];
  /** Logits for a later draw, by row. */
  readonly kept = new Map<number, Float64Array>();
  readonly #pagesPerRow: number;
  readonly #width: number;

  /** Allocates everything. */
  constructor(spec: StateSpec) {
    this.spec = spec;
    this.#pagesPerRow = Math.ceil(spec.contextLength / spec.pageSize);
    this.#width = spec.heads.numKvHeads * spec.heads.headDim;
    this.tokenPool = new Uint32Array((spec.maxRows + 1) * spec.contextLength);
    this.pageTable = new Uint32Array((spec.maxRows + 1) * this.#pagesPerRow).fill(spec.numPages);
    const size = (spec.numPages + 1) * spec.pageSize * this.#width;
    this.keys = Array.from({ length: spec.numLayers }, () => new Float64Array(size));
    this.values = Array.from({ length: spec.numLayers }, () => new Float64Array(size));
  }

  /** Applies a plan's page and token writes. */
  apply(plan: BatchPlan): void {
    for (let i = 0; i < plan.pageWrites.length; i += 3) {
      const [row, index, page] = [plan.pageWrites[i]!, plan.pageWrites[i + 1]!, plan.pageWrites[i + 2]!];
      this.pageTable[row * this.#pagesPerRow + index] = page;
    }
    let next = 0;
    for (let i = 0; i < plan.tokenWrites.length; i += 3) {
      const [row, first, count] = [plan.tokenWrites[i]!, plan.tokenWrites[i + 1]!, plan.tokenWrites[i + 2]!];
      const ids = plan.tokenIds.subarray(next, next + count);
      this.tokenPool.set(ids, row * this.spec.contextLength + first);
      next += count;
    }
  }

  /** Index of a position's key or value vector in a layer's array. */
  offset(row: number, position: number): number {
    const { pageSize } = this.spec;
    const page = this.pageTable[row * this.#pagesPerRow + Math.floor(position / pageSize)]!;
    return (page * pageSize + position % pageSize) * this.#width;
  }

  /** Token ids at positions 0 … length − 1. */
  history(row: number, length: number): Uint32Array {
    const start = row * this.spec.contextLength;
    return this.tokenPool.subarray(start, start + length);
  }

  /** Fills pages with NaN in every layer. */
  poison(pages: Uint32Array): void {
    const size = this.spec.pageSize * this.#width;
    for (const page of pages) {
      for (const array of [...this.keys, ...this.values]) array.fill(NaN, page * size, (page + 1) * size);
    }
  }
}
