// The batch plan: what the scheduler tells every executor to compute in one step, and what comes back.
//
// Token ids live on the device, in `token_pool[row][position]`: a step begins by gathering its input ids from
// there and ends by scattering the sampled ids into it. A decode plan therefore contains no token values and can
// be made, sent and recorded while the step before it still runs (SGLang's overlap scheduling). The plan is a few
// typed arrays, so that posting it between workers is a copy of a few hundred bytes.

import type { Sampling } from "./sampling.ts";

/** One message from the scheduler to every rank: `steps` forwards over the same B sequences. */
export interface BatchPlan {
  /** Ascending number of the step. */
  readonly id: number;
  /**
   * Number of forwards, 1 unless every sequence decodes (`extendLength` 1, drawn). Forward i runs at
   * `cachedLength + i`; the pages for all of them are already in the page table.
   */
  readonly steps: number;
  /** Page-table entries to set first: triples (row, page index within the row, page). */
  readonly pageWrites: Uint32Array;
  /** Token ids to put into the pool first: (row, first position, count) triples, ids one after the other. */
  readonly tokenWrites: Uint32Array;
  /** Ids of all `tokenWrites`. */
  readonly tokenIds: Uint32Array;
  /** Per sequence (B): its row, how many positions already have keys and values, how many are computed now. */
  readonly row: Uint32Array;
  /** Positions that already have keys and values. */
  readonly cachedLength: Uint32Array;
  /** Positions computed now; at least 1. */
  readonly extendLength: Uint32Array;
  /** Which logits are wanted, and how they are sampled. */
  readonly sampling: Sampling;
  /** For tests and tools: return the logits of every sampled row (S × vocabulary), before penalties. */
  readonly returnLogits?: boolean;
  /**
   * Return what the sampled rows are after the last norm: embeddings. "only": nothing else is wanted of any row, so
   * the head is left out, and tokens and log-probabilities mean nothing.
   */
  readonly hidden?: "also" | "only";
  /**
   * Nothing is computed: sampled rows are drawn from the logits that were last kept of their rows. Sequences are those
   * of the plan that kept them, each with its last position alone.
   */
  readonly draws?: boolean;
}

/** What a step leaves behind; rows are ordered [forward][sampled row]. */
export interface StepResult {
  /** The plan's id. */
  readonly id: number;
  /** steps × S token ids: the drawn one, or for a scored row the one that stood there. */
  readonly tokens: Uint32Array;
  /** steps × S; NaN where not asked for. Natural logarithms, of the model's own distribution (before penalties and bias). */
  readonly logprobs: Float32Array;
  /** `topCount` alternatives a row, most likely first (0 when no row asked). */
  readonly topCount: number;
  /** Ids of the alternatives. */
  readonly topTokens: Uint32Array;
  /** Log-probabilities of the alternatives. */
  readonly topLogprobs: Float32Array;
  /** S × vocabulary, if `returnLogits`. */
  readonly logits?: Float32Array;
  /** S × hidden size (see `StateSpec`), if `hidden` was asked for. */
  readonly hidden?: Float32Array;
  /** Milliseconds from submission to the result. */
  readonly milliseconds: number;
}

/** Number of tokens a plan computes in its first forward. */
export function tokenCount(plan: BatchPlan): number {
  let total = 0;
  for (const n of plan.extendLength) total += n;
  return total;
}
