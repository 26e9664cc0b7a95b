// Layout of a layer's keys or values on the device: [page][kvHead][slot][headDim] in f16, so that the keys of one
// head in one page are one run of memory. Kernels pack and unpack pairs of elements themselves, which needs no
// device feature, and load eight at a time.

import type { KvFormats } from "../../kv_format.ts";
import type { StateSpec } from "../../ops.ts";

/** What kernels need to know to find a key. */
export interface CacheLayout {
  /** Of this rank. */
  readonly numKvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Tokens per page, a power of two. */
  readonly pageSize: number;
  /** Entries per row of the page table. */
  readonly pagesPerRow: number;
  /** Part of pipeline keys. */
  readonly key: string;
}

/** The layout for these heads and pages. */
export function cacheLayout(state: StateSpec): CacheLayout {
  const { heads: { numKvHeads, headDim }, pageSize, contextLength } = state;
  const pagesPerRow = Math.ceil(contextLength / pageSize);
  const key = `page ${pageSize} row ${pagesPerRow}`;
  return { numKvHeads, headDim, pageSize, pagesPerRow, key };
}

/** The formats that the kernels know. */
export const kvFormats: KvFormats = { auto: { numberBytes: 2, scaleBytes: 0 } };

/** Bytes of the numbers of a page's keys (or of its values). */
export function pageBytes({ heads: { numKvHeads, headDim }, pageSize, kvDType = "auto" }: StateSpec): number {
  return pageSize * numKvHeads * headDim * kvFormats[kvDType]!.numberBytes;
}

/** WGSL of `slotOf(row, position, kvHead)`: index of the first element; needs a buffer `pageTable`. */
export function slotFunction({ numKvHeads, headDim, pageSize, pagesPerRow }: CacheLayout): string {
  const shift = Math.log2(pageSize);
  return `fn slotOf(row: u32, position: u32, kvHead: u32) -> u32 {
  let page = pageTable[row * ${pagesPerRow}u + (position >> ${shift}u)];
  return ((page * ${numKvHeads}u + kvHead) * ${pageSize}u + (position & ${pageSize - 1}u)) * ${headDim}u;
}`;
}

/** WGSL type of the elements of a buffer of keys or values: eight numbers each. */
export const cacheElement = "vec4<u32>";

/** Elements 0–3 and 4–7 of a loaded vec. */
export function vecHalf(vec: string, half: 0 | 1): string {
  const [low, high] = half === 0 ? "xy" : "zw";
  return `vec4<f32>(unpack2x16float(${vec}.${low}), unpack2x16float(${vec}.${high}))`;
}
