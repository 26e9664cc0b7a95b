// The memory of recorded forwards. Steps of one shape are the same commands on the same buffers; only the plan's words
// differ. To run the decoder's code for each would cost as much as WebGPU's own part of recording. So what a forward
// has recorded once is kept, and the next one of its shape is recorded from there.
//
// A tape is good for as long as no shared buffer has been replaced, and for the function that made it.

import type { Ops } from "../../ops.ts";
import type { ForwardShape } from "../plan/pack.ts";
import type { SamplingNeeds } from "../plan/pack_sampling.ts";
import type { SharedBuffers } from "../state/state.ts";
import type { Recorder, Tape } from "./recorder.ts";

/** Most tapes kept of a function; prompts of ever different lengths would fill the memory otherwise. */
const mostTapes = 512;

/** Where the regions of a forward begin, in the order in which tapes number them. */
const regionsOf = ({ offset, groups }: ForwardShape): readonly number[] => [
  offset,
  ...groups.map((group) => group.offset),
];

/** What the commands of a forward depend on beside the function. */
export function tapeKey(
  { tokens, decodes, decodeOnly, tiles, splits, threads, headBlock, batch, groups }: ForwardShape,
  { biases, masks, limits, logprobs, wholeRows, kept }: SamplingNeeds,
  history: number,
  topCount: number,
  resultsId: number,
): string {
  const rows = groups.map(({ first, count }) => `${first}+${count}`).join();
  return `${tokens} ${decodes} ${decodeOnly} ${tiles} ${splits} ${threads} ${headBlock} ${batch} ${rows} ` +
    `${history} ${biases} ${masks} ${limits} ${logprobs} ${wholeRows} ${kept} ${topCount} ${resultsId}`;
}

/** The tapes of a backend. */
export class Tapes {
  readonly #shared: SharedBuffers;
  #byForward = new WeakMap<(ops: Ops) => void, Map<string, Tape>>();
  #generation = 0;

  /** `shared` are the buffers that may be replaced. */
  constructor(shared: SharedBuffers) {
    this.#shared = shared;
  }

  /** Records a forward of `shape`: from the tape of `key`, or by `run`, which calls `forward`. */
  record(
    recorder: Recorder,
    forward: (ops: Ops) => void,
    key: string,
    shape: ForwardShape,
    run: () => void,
  ): void {
    const { generation } = this.#shared;
    if (generation !== this.#generation) {
      this.#byForward = new WeakMap();
      this.#generation = generation;
    }
    const known = this.#byForward.get(forward) ?? new Map<string, Tape>();
    this.#byForward.set(forward, known);
    const regions = regionsOf(shape);
    let tape = known.get(key) ?? null;
    if (tape !== null) {
      recorder.replay(tape, regions);
      known.delete(key);
    } else {
      recorder.begin();
      run();
      tape = recorder.taped(regions);
      // Its first dispatches may name a buffer that was replaced after them.
      if (this.#shared.generation !== generation) return;
      if (known.size >= mostTapes) known.delete(known.keys().next().value!);
    }
    // The last used one stands last.
    known.set(key, tape);
  }
}
