// How a model is cut for tensor parallelism (Megatron-LM, arXiv 1909.08053): q, k, v, gate and up by output rows,
// o and down by input columns, the vocabulary by rows. Key/value heads are replicated when there are fewer than
// ranks, as SGLang does.

import type { HeadLayout } from "../../kernels/ops.ts";
import { vocabularyShare } from "../../kernels/vocabulary.ts";
import type { ModelConfig } from "../model/config.ts";
import { ModelError } from "../model/json.ts";

/** A half-open range of rows or columns. */
export interface Range {
  /** First of the range. */
  readonly start: number;
  /** One past the last. */
  readonly end: number;
}

/** How a model is cut: this rank's part. One rank has it all. */
export interface Shard {
  /** Which of the ranks, from 0. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
}

/** One rank that has everything. */
export const wholeModel: Shard = { rank: 0, size: 1 };

/** This rank's heads. Throws when the heads do not divide by the ranks. */
export function headLayout(config: ModelConfig, shard: Shard): HeadLayout {
  const { numHeads, numKvHeads, headDim } = config;
  const { size } = shard;
  if (numHeads % size !== 0 || (numKvHeads % size !== 0 && size % numKvHeads !== 0)) {
    throw new ModelError(
      `${size} ranks cannot share ${numHeads} heads and ${numKvHeads} key/value heads evenly; ` +
        `choose a --tp that divides both`,
    );
  }
  return { numHeads: numHeads / size, numKvHeads: Math.max(1, numKvHeads / size), headDim };
}

/** This rank's query heads, and its key/value heads (the same ones for several ranks where they are replicated). */
export function headRanges(config: ModelConfig, shard: Shard): { query: Range; kv: Range } {
  const layout = headLayout(config, shard);
  const query = { start: shard.rank * layout.numHeads, end: (shard.rank + 1) * layout.numHeads };
  const firstKv = Math.floor(shard.rank * config.numKvHeads / shard.size);
  return { query, kv: { start: firstKv, end: firstKv + layout.numKvHeads } };
}

/** This rank's rows of embedding and head. */
export function vocabRange(config: ModelConfig, shard: Shard): { start: number; rows: number } {
  if (config.vocabSize < shard.size) {
    throw new ModelError(`a vocabulary of ${config.vocabSize} is too small for ${shard.size} ranks`);
  }
  return vocabularyShare(config.vocabSize, shard);
}

/**
 * Refuses a number of ranks that a model cannot be cut into; costs nothing.
 * @throws ModelError, one line with the numbers
 */
export function checkRanks(config: ModelConfig, size: number): void {
  const shard = { rank: 0, size };
  headLayout(config, shard);
  vocabRange(config, shard);
}

/** A width as kernels take it, eight numbers at a time; what is added stays zero. */
export function paddedWidth(width: number): number {
  return Math.ceil(width / 8) * 8;
}

/** This rank's share of a feed-forward's inner dimension, and its width on the device: the last ones may be short. */
export function innerShare(intermediateSize: number, shard: Shard): { range: Range; width: number } {
  const width = paddedWidth(Math.ceil(intermediateSize / shard.size));
  const at = (rank: number) => Math.min(intermediateSize, rank * width);
  return { range: { start: at(shard.rank), end: at(shard.rank + 1) }, width };
}
