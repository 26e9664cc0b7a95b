// Where the words of a packed plan stand. A plan is an array of 32-bit words for all forwards of a step, in regions
// that kernels see one at a time; positions inside a region are words from its beginning.

import { RowWord, rowWords } from "../../sampling.ts";

/** Words of a region's header. */
export const Word = {
  /** Tokens in this forward (T). */
  Tokens: 0,
  /** Sampled rows (S). */
  Samples: 2,
  /** Where the tokens' (row, position) pairs begin. */
  TokensAt: 3,
  /** Queries of the decode kernel. */
  Decodes: 4,
  /** Keys per split of a decode sequence. */
  SplitKeys: 5,
  /** Query tiles of longer sequences: where their (first token, row, first position, tokens) begin, how many. */
  TilesAt: 6,
  Tiles: 7,
  /** Where this group's results begin in the result buffer, in words, and how many alternatives a row has. */
  ResultsAt: 10,
  TopCount: 11,
  /** (destination, value) pairs for the page table, and behind them for the token pool: how many. */
  PageWrites: 8,
  TokenWrites: 9,
  /** Splits there is room for per decode sequence. */
  Splits: 12,
  /** In the first region only: number of the step, read back as proof that the step has run. */
  Serial: 13,
} as const;

/** Words of a header. */
export const headerWords = 16;

/**
 * What stands right behind the header, so that kernels need not look up where: of a forward the (token, row,
 * position) triples of its decode queries, of a group of sampled rows their records, of the first region the writes.
 */
export const contentAt: number = headerWords;

/** Words of a sampled row's record: the plan's own, and what the device needs on top. */
export const Sample = {
  ...RowWord,
  /** Where the mask begins; 0 for none. It takes the place of `sequence`, which the device has no use for. */
  maskAt: RowWord.sequence,
  row: rowWords,
  position: rowWords + 1,
  biasAt: rowWords + 2,
  biasCount: rowWords + 3,
} as const;

/** Words of a record. */
export const sampleWords: number = rowWords + 4;
