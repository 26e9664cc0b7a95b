// Layout of a layer's keys or values on the device: [page][kvHead][slot][headDim], so that the keys of one head in
// one page are one run of memory. Elements are f16 (packed in pairs; needs no device feature) or f32.

import type { HeadLayout, StateSpec } from "../../ops.ts";
import type { ElementType } from "../kernel.ts";

/** What kernels need to know to find a key. */
export interface CacheLayout {
  readonly element: ElementType;
  readonly numKvHeads: number;
  readonly headDim: number;
  /** Tokens per page, a power of two. */
  readonly pageSize: number;
  /** Entries per row of the page table. */
  readonly pagesPerRow: number;
  /** Part of pipeline keys. */
  readonly key: string;
}

export function cacheLayout(state: StateSpec, element: ElementType): CacheLayout {
  const { heads: { numKvHeads, headDim }, pageSize, contextLength } = state;
  const pagesPerRow = Math.ceil(contextLength / pageSize);
  const key = `${element} page ${pageSize} row ${pagesPerRow}`;
  return { element, numKvHeads, headDim, pageSize, pagesPerRow, key };
}

/** Bytes of keys (or of values) per token and layer. */
export function cacheBytes({ numKvHeads, headDim }: HeadLayout, element: ElementType): number {
  return numKvHeads * headDim * (element === "f16" ? 2 : 4);
}

/** WGSL of `slotOf(row, position, kvHead)`: index of the first element; needs a buffer `pageTable`. */
export function slotFunction({ numKvHeads, headDim, pageSize, pagesPerRow }: CacheLayout): string {
  const shift = Math.log2(pageSize);
  return `fn slotOf(row: u32, position: u32, kvHead: u32) -> u32 {
  let page = pageTable[row * ${pagesPerRow}u + (position >> ${shift}u)];
  return ((page * ${numKvHeads}u + kvHead) * ${pageSize}u + (position & ${pageSize - 1}u)) * ${headDim}u;
}`;
}
