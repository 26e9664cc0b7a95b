// Layout of a layer's keys or values on the device: [page][kvHead][slot][headDim], so that the keys of one head in one
// page are one run of memory. Kernels pack and unpack the numbers themselves, which needs no device feature, and load
// eight at a time.
//
// Numbers are f16, or, in a cache of eight bits, integers to ± 127 of the largest number of their key or value. These
// largest numbers are apart, [page][kvHead][slot] pairs (of the key, of the value), so that one load brings both.

import type { KvFormats } from "../../kv_format.ts";
import type { StateSpec } from "../../ops.ts";
import { type Binding, read, write } from "../shader/kernel.ts";

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
  /** Whether numbers have eight bits, and scales; else they are f16. */
  readonly int8: boolean;
  /** Part of pipeline keys. */
  readonly key: string;
}

/** The formats that the kernels know. */
export const kvFormats = {
  auto: { numberBytes: 2, scaleBytes: 0 },
  int8: { numberBytes: 1, scaleBytes: 4 },
} as const satisfies KvFormats;

/** The layout for these heads and pages. */
export function cacheLayout(state: StateSpec): CacheLayout {
  const { heads: { numKvHeads, headDim }, pageSize, contextLength } = state;
  const pagesPerRow = Math.ceil(contextLength / pageSize), int8 = state.kvDType === "int8";
  const key = `page ${pageSize} row ${pagesPerRow}${int8 ? " int8" : ""}`;
  return { numKvHeads, headDim, pageSize, pagesPerRow, int8, key };
}

/** Bytes of a page: the numbers of its keys (or of its values), and its scales of both. */
export function pageBytes({ heads: { numKvHeads, headDim }, pageSize, kvDType = "auto" }: StateSpec) {
  const { numberBytes, scaleBytes } = kvFormats[kvDType], slots = pageSize * numKvHeads;
  return { numbers: slots * headDim * numberBytes, scales: 2 * slots * scaleBytes };
}

/** WGSL of `slotOf(row, position, kvHead)`, the number of a slot; needs a buffer `pageTable`. */
export function slotFunction({ numKvHeads, pageSize, pagesPerRow }: CacheLayout): string {
  const shift = Math.log2(pageSize);
  return `fn slotOf(row: u32, position: u32, kvHead: u32) -> u32 {
  let page = pageTable[row * ${pagesPerRow}u + (position >> ${shift}u)];
  return (page * ${numKvHeads}u + kvHead) * ${pageSize}u + (position & ${pageSize - 1}u);
}`;
}

/** WGSL type of eight numbers, the elements of a buffer of keys or values. */
export const cacheElement = ({ int8 }: CacheLayout): string => int8 ? "vec2<u32>" : "vec4<u32>";

/** WGSL type of four numbers. */
export const quadElement = ({ int8 }: CacheLayout): string => int8 ? "u32" : "vec2<u32>";

/** The buffers of the pages, as a kernel sees them that reads them, or writes them too. */
export function pageBuffers(cache: CacheLayout, access: typeof read | typeof write) {
  const numbers: Binding = access(cacheElement(cache));
  return { keys: numbers, values: numbers, scales: cache.int8 && access("vec2<f32>") };
}

/** Elements 0–3 and 4–7 of a loaded vec; integers come as their part of the scale. */
export function vecHalf({ int8 }: CacheLayout, vec: string, half: 0 | 1): string {
  if (int8) return `unpack4x8snorm(${vec}.${"xy"[half]})`;
  const [low, high] = half === 0 ? "xy" : "zw";
  return `vec4<f32>(unpack2x16float(${vec}.${low}), unpack2x16float(${vec}.${high}))`;
}

/** WGSL of something, times a scale where there are scales. */
export const scaled = ({ int8 }: CacheLayout, value: string, scale: string): string =>
  int8 ? `${scale} * ${value}` : value;

/** Four elements as the cache holds them; integers need `inverse`, one part of the scale. */
export const packQuad = ({ int8 }: CacheLayout, quad: string): string =>
  int8
    ? `pack4x8snorm(inverse * ${quad})`
    : `vec2<u32>(pack2x16float(${quad}.xy), pack2x16float(${quad}.zw))`;
