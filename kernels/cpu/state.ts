// Token pool, page table and key/value pages of the CPU backend.
//
// Token ids are needed by the executor's thread alone and stay in plain memory. Pages lie layer by layer wherever
// a bank has room; each bank with pages has a copy of the page table.

import type { BatchPlan } from "../plan.ts";
import type { KvFormats } from "../kv_format.ts";
import type { StateSpec } from "../ops.ts";
import type { Bank } from "./bank.ts";

/**
 * Where a layer's pages are: keys [page][kv head][headDim][pageSize] and values [page][kv head][pageSize][headDim],
 * integers of 16 or of 8 bits, with float32 scales [page][kv head][pageSize].
 */
export interface LayerPages {
  /** Where they lie; the addresses are in it. */
  readonly bank: Bank;
  /** Address of the keys. */
  readonly keys: number;
  /** Address of the values. */
  readonly values: number;
  /** Address of the keys' scales. */
  readonly keyScales: number;
  /** Address of the values' scales. */
  readonly valueScales: number;
}

/** Integers with a float32 scale. */
export const kvFormats = {
  auto: { numberBytes: 2, scaleBytes: 4 },
  int8: { numberBytes: 1, scaleBytes: 4 },
} as const satisfies KvFormats;

/** Everything that outlives a step. */
export class CpuState {
  /** [maxRows + 1, contextLength] */
  readonly tokenPool: Uint32Array;
  /** This rank's logits for a later draw, by row. */
  readonly kept = new Map<number, Float32Array>();
  /** In order of depth. */
  readonly layers: readonly LayerPages[];
  /** Entries of a page table's row. */
  readonly pagesPerRow: number;
  /** Base-two logarithm of the page size. */
  readonly pageShift: number;
  /** Bytes of a cached number. */
  readonly numberBytes: number;
  readonly #tables = new Map<Bank, number>();
  /** Scales in one page of keys or of values. */
  readonly #pageScales: number;

  /** Allocates everything; throws a RangeError for shapes that the kernels cannot do. */
  constructor(readonly spec: StateSpec, place: (bytes: number) => Bank) {
    const { numKvHeads, headDim, numHeads } = spec.heads;
    if (headDim % 8 !== 0) {
      throw new RangeError(`the CPU kernels need heads of a multiple of 8, not ${headDim}`);
    }
    if (numHeads % numKvHeads !== 0) {
      throw new RangeError(`${numHeads} heads do not divide into ${numKvHeads} groups`);
    }
    this.pageShift = Math.log2(spec.pageSize);
    if (!Number.isInteger(this.pageShift)) {
      throw new RangeError(`page size ${spec.pageSize} is not a power of two`);
    }
    this.tokenPool = new Uint32Array((spec.maxRows + 1) * spec.contextLength);
    this.pagesPerRow = Math.ceil(spec.contextLength / spec.pageSize);
    const { numberBytes, scaleBytes } = kvFormats[spec.kvDType ?? "auto"];
    this.numberBytes = numberBytes;
    this.#pageScales = numKvHeads * spec.pageSize;
    const scales = (spec.numPages + 1) * this.#pageScales * scaleBytes,
      numbers = scales / scaleBytes * headDim * numberBytes;
    this.layers = Array.from({ length: spec.numLayers }, () => {
      const bank = place(2 * (numbers + scales));
      return {
        bank,
        keys: bank.allocate(numbers),
        values: bank.allocate(numbers),
        keyScales: bank.allocate(scales),
        valueScales: bank.allocate(scales),
      };
    });
    const entries = (spec.maxRows + 1) * this.pagesPerRow;
    for (const { bank } of this.layers) {
      if (this.#tables.has(bank)) continue;
      const table = bank.allocate(entries * 4);
      bank.words.fill(spec.numPages, table / 4, table / 4 + entries);
      this.#tables.set(bank, table);
    }
  }

  /** Address of the page table, [maxRows + 1, pagesPerRow], in a bank that has pages. */
  pageTable(bank: Bank): number {
    return this.#tables.get(bank)!;
  }

  /** Applies a plan's page and token writes. */
  apply(plan: BatchPlan): void {
    for (let i = 0; i < plan.pageWrites.length; i += 3) {
      const entry = plan.pageWrites[i]! * this.pagesPerRow + plan.pageWrites[i + 1]!;
      for (const [bank, table] of this.#tables) bank.words[table / 4 + entry] = plan.pageWrites[i + 2]!;
    }
    let next = 0;
    for (let i = 0; i < plan.tokenWrites.length; i += 3) {
      const count = plan.tokenWrites[i + 2]!;
      const at = plan.tokenWrites[i]! * this.spec.contextLength + plan.tokenWrites[i + 1]!;
      this.tokenPool.set(plan.tokenIds.subarray(next, next + count), at);
      next += count;
    }
  }

  /** Fills pages with NaN in every layer: a NaN scale makes NaN of all that it applies to. */
  poison(pages: Uint32Array): void {
    for (const { bank, keyScales, valueScales } of this.layers) {
      for (const page of pages) {
        for (const base of [keyScales, valueScales]) {
          const at = base / 4 + page * this.#pageScales;
          bank.floats.fill(NaN, at, at + this.#pageScales);
        }
      }
    }
  }
}
