// A vocabulary shared by the ranks of a tensor-parallel group: each holds some rows of the output head and computes
// the logits of those. What a step needs of all of them is exchanged here.
//
// A greedy row needs one candidate per rank, its best logit and token (Megatron-LM's vocabulary-parallel head,
// arXiv 1909.08053, without the gathering). A row with penalties, filters or log-probabilities needs the whole row,
// which every rank then holds, so that all draw the same token.

import { isPenalized, type Sampler } from "./sampling.ts";
import type { Collective } from "./ops.ts";

/** The rows of one rank: as even as it can be, for any vocabulary of at least one token per rank. */
export function vocabularyShare(
  vocabSize: number,
  { rank, size }: { readonly rank: number; readonly size: number },
): { start: number; rows: number } {
  const start = Math.floor(vocabSize * rank / size);
  return { start, rows: Math.floor(vocabSize * (rank + 1) / size) - start };
}

/** What of a sampled row decides it. */
export interface WholeRowReasons extends Sampler {
  /** As in a sampled row. */
  readonly logprobs: number;
  /** As in a sampled row. */
  readonly bias: { readonly length: number };
  /** As in a sampled row. */
  readonly mask?: Uint32Array | undefined;
}

/** Whether the best logit of each rank does not settle a sampled row. */
export function needsWholeRow(row: WholeRowReasons): boolean {
  return row.temperature !== 0 || row.logprobs !== 0 || isPenalized(row) || row.bias.length > 0 ||
    row.mask !== undefined;
}

/** Some rows of logits, `stride` numbers from one to the next, the first at `offset`. */
export interface LogitRows {
  /** Where the logits stand, with whatever else. */
  readonly data: Float32Array;
  /** Index of the first row's first logit. */
  readonly offset: number;
  /** From one row to the next. */
  readonly stride: number;
}

/** Puts whole rows, made of all ranks' shares, into `whole`. `local` holds this rank's share; they may be the same. */
export function gatherRows(
  collective: Collective,
  vocabSize: number,
  rows: readonly number[],
  local: LogitRows,
  whole: LogitRows,
): void {
  const own = vocabularyShare(vocabSize, collective).rows;
  // Shares differ by a row at most; every rank sends as much as the largest.
  const width = Math.ceil(vocabSize / collective.size);
  const sent = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    const at = local.offset + row * local.stride;
    sent.set(local.data.subarray(at, at + own), i * width);
  });
  const all = new Float32Array(collective.size * sent.length);
  collective.allGather(sent, all);
  for (let rank = 0; rank < collective.size; rank++) {
    const share = vocabularyShare(vocabSize, { rank, size: collective.size });
    rows.forEach((row, i) => {
      const from = rank * sent.length + i * width;
      whole.data.set(
        all.subarray(from, from + share.rows),
        whole.offset + row * whole.stride + share.start,
      );
    });
  }
}

/** A logit and its token. */
export interface Candidate {
  /** The logit. */
  readonly value: number;
  /** The token's id. */
  readonly token: number;
}

/** Of each row the best of all ranks' candidates; the lowest token wins a tie. */
export function gatherBest(collective: Collective, candidates: readonly Candidate[]): Candidate[] {
  // Tokens are below 2²² (see `weights/huggingface/config.ts`), which a float32 holds exactly.
  const sent = Float32Array.from(candidates.flatMap(({ value, token }) => [value, token]));
  const all = new Float32Array(collective.size * sent.length);
  collective.allGather(sent, all);
  return candidates.map((_, i) => {
    let best = { value: all[2 * i]!, token: all[2 * i + 1]! };
    // Ranks hold ascending tokens, so a later one must be better.
    for (let at = sent.length + 2 * i; at < all.length; at += sent.length) {
      if (all[at]! > best.value) best = { value: all[at]!, token: all[at + 1]! };
    }
    return best;
  });
}
