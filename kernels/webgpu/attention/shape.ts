// What the attention kernels have in common.

import type { HeadLayout } from "../../ops.ts";
import type { ElementType } from "../kernel.ts";
import type { CacheLayout } from "./cache.ts";

/** Fixed properties of a layer's attention. */
export interface AttentionShape {
  readonly heads: HeadLayout;
  readonly cache: CacheLayout;
  readonly scale: number;
  readonly window: number | null;
  readonly qkv: ElementType;
  readonly output: ElementType;
}

/** Numbers of one query head and split in the partial results: the output, the maximum and the sum. */
export const partialWords = (headDim: number) => headDim + 2;

/** First key a query at `position` sees. */
export const firstKey = (window: number | null, position: string) =>
  window === null ? "0u" : `select(0u, ${position} - ${window - 1}u, ${position} >= ${window}u)`;
