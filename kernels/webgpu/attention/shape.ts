// What the attention kernels have in common.

import type { HeadLayout } from "../../ops.ts";
import type { ElementType } from "../kernel.ts";
import type { CacheLayout } from "./cache.ts";

/** Fixed properties of a layer's attention. */
export interface AttentionShape {
  /** This rank's heads. */
  readonly heads: HeadLayout;
  /** Layout of the pages. */
  readonly cache: CacheLayout;
  /** Multiplies q·k. */
  readonly scale: number;
  /** Keys that a query sees, itself included; null for all. */
  readonly window: number | null;
  /** Type of q|k|v. */
  readonly qkv: ElementType;
  /** Type of the result. */
  readonly output: ElementType;
}

/** Numbers of one query head and split in the partial results: the output, the maximum and the sum. */
export const partialWords = (headDim: number): number => headDim + 2;

/** First key a query at `position` sees. */
export const firstKey = (window: number | null, position: string): string =>
  window === null ? "0u" : `select(0u, ${position} - ${window - 1}u, ${position} >= ${window}u)`;
