// What the attention kernels have in common.

import type { HeadLayout } from "../../ops.ts";
import type { ElementType } from "../shader/kernel.ts";
import { Word } from "../plan/words.ts";
import { capped, float } from "../shader/wgsl.ts";
import type { CacheLayout } from "./cache.ts";

/** Buffers of a layer's kernels: what it is given, its angles and norms, its pages, its splits' results, its result. */
export type AttentionRole =
  | ("qkv" | "cosine" | "sine" | "qNorm" | "kNorm" | "sinks")
  | ("pageTable" | "keys" | "values" | "scales" | "partials" | "output");

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
  /** Scores become cap · tanh(score / cap); absent: they do not. */
  readonly softCap?: number | null;
  /** Whether each query head has a further score without a value. */
  readonly sinks?: boolean;
  /** Type of q|k|v. */
  readonly qkv: ElementType;
  /** Type of the result. */
  readonly output: ElementType;
}

/** Epsilons of the norms that heads go through before they are rotated; null where there is none. */
export interface HeadNorms {
  /** Of the query heads. */
  readonly qNorm: number | null;
  /** Of the key heads. */
  readonly kNorm: number | null;
}

/** Part of pipeline keys: what happens to scores. */
export const scoreKey = ({ scale, window, softCap, sinks }: AttentionShape): string =>
  `${scale} ${window}${softCap == null ? "" : ` cap ${softCap}`}${sinks ? " sinks" : ""}`;

/** WGSL that caps scores (in units of log2), numbers or vectors; nothing where they are not capped. */
export const capScore = (
  { softCap }: { readonly softCap?: number | null | undefined },
  score: string,
  type = "f32",
): string => softCap == null ? "" : `${score} = ${capped(score, softCap, Math.LOG2E, type)};`;

/** WGSL of a softmax's `sum` of scores relative to `maximum`, with the sink of query head `head`. */
export const withSink = ({ sinks }: AttentionShape, sum: string, maximum: string, head: string): string =>
  sinks ? `(${sum} + exp2(sinks[${head}] * ${float(Math.LOG2E)} - ${maximum}))` : sum;

/** Numbers of one query head and split in the partial results: the output, the maximum and the sum. */
export const partialWords = (headDim: number): number => headDim + 2;

/** First key a query at `position` sees. */
export const firstKey = (window: number | null, position: string): string =>
  window === null ? "0u" : `select(0u, ${position} - ${window - 1}u, ${position} >= ${window}u)`;

/**
 * WGSL of a tile's place, for a workgroup that takes `heads` query heads of a key/value head, in one of `blocks`
 * blocks: its first `token`, their number `tokens`, the sequence's `row`, the `position` of the first and of the `last`,
 * the key/value head and the first query `head`. The last tiles come first, because they see the most keys.
 */
export function tileEntry({ heads: layout }: AttentionShape, heads: number, blocks: number): string {
  const group = layout.numHeads / layout.numKvHeads;
  return `  let entry = plan[${Word.TilesAt}] + 4u * (plan[${Word.Tiles}] - 1u - group.y);
  let token = plan[entry];
  let row = plan[entry + 1u];
  let position = plan[entry + 2u];
  let tokens = plan[entry + 3u];
  let last = position + tokens - 1u;
  let kvHead = group.x / ${blocks}u;
  // The last block of a group may begin earlier and repeat heads of the one before it.
  let head = kvHead * ${group}u + min((group.x % ${blocks}u) * ${heads}u, ${group - heads}u);`;
}
