// Steps of one shape are the same dispatches on the same buffers: only the plan's words differ. Running a decoder's
// code for each costs as much as WebGPU's own part of recording; what a forward has recorded once is kept, and the
// next one of its shape is recorded from there.
//
// A tape is good for as long as no shared buffer has been replaced, and for the function that made it.

import type { Ops } from "../../ops.ts";
import type { ForwardShape } from "../plan/pack.ts";
import type { SamplingNeeds } from "../plan/pack_sampling.ts";
import type { Prepared } from "./recorder.ts";

/** Dispatches in order, and where the region of the plan changes: to the forward's own (0) or a group's (1, 2, …). */
export type Tape = readonly (Prepared | number)[];

/** Most tapes kept; prompts of ever different lengths would fill the memory otherwise. */
const mostTapes = 256;

/** Where the regions of a forward begin, in the order in which tapes number them. */
export function regionsOf({ offset, groups }: ForwardShape): readonly number[] {
  return [offset, ...groups.map((group) => group.offset)];
}

/** What the dispatches of a forward depend on beside the function; null where it is too much to tell. */
export function tapeKey(
  shape: ForwardShape,
  needs: SamplingNeeds,
  topCount: number,
  resultsId: number,
): string | null {
  // The kernels that count a history grow with it, from forward to forward.
  if (needs.history > 0) return null;
  const { tokens, decodes, decodeOnly, tiles, splits, threads, headBlock, batch, groups } = shape;
  return `${tokens} ${decodes} ${decodeOnly} ${tiles} ${splits} ${threads} ${headBlock} ${batch} ` +
    `${
      groups.map(({ first, count }) => `${first}+${count}`).join()
    } ${needs.biases} ${needs.limits} ${needs.logprobs} ` +
    `${needs.wholeRows} ${topCount} ${resultsId}`;
}

/** The tapes of a backend. */
export class Tapes {
  #byForward = new WeakMap<(ops: Ops) => void, Map<string, Tape>>();
  #generation = 0;

  /** What `forward` recorded for a shape, unless that was before shared buffers reached this generation. */
  get(forward: (ops: Ops) => void, key: string, generation: number): Tape | null {
    return generation === this.#generation ? this.#byForward.get(forward)?.get(key) ?? null : null;
  }

  /** Keeps a tape. */
  set(forward: (ops: Ops) => void, key: string, generation: number, tape: Tape): void {
    if (generation !== this.#generation) {
      this.#byForward = new WeakMap();
      this.#generation = generation;
    }
    const known = this.#byForward.get(forward) ?? new Map<string, Tape>();
    if (known.size >= mostTapes) known.clear();
    known.set(key, tape);
    this.#byForward.set(forward, known);
  }
}
