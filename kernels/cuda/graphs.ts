// Decode steps of one shape are the same launches with the same arguments: what changes lies in the plan on the device.
// Launching some two hundred kernels costs the processor about a millisecond; as a graph, a few microseconds.
//
// The first step of a shape is launched kernel by kernel, so that modules are loaded and scratch is grown; the second
// one is captured; from then on it is replayed, until scratch is replaced. Numbers of sequences share shapes in
// buckets: surplus rows are computed and left alone.

import type { Ops } from "../ops.ts";
import type { ForwardShape } from "../webgpu/plan/pack.ts";
import type { SamplingNeeds } from "../webgpu/plan/pack_sampling.ts";
import type { CudaDevice } from "./device.ts";
import type { Handle } from "./driver.ts";
import { historyStep } from "./sample/sample.ts";

/** Most graphs kept. */
const mostGraphs = 128;

/** Sizes of steps that share a graph: exact up to eight, then two to a power of two. */
export function bucket(count: number): number {
  if (count <= 8) return count;
  const power = 2 ** Math.floor(Math.log2(count));
  return count === power ? count : count <= 1.5 * power ? 1.5 * power : 2 * power;
}

/** The shape with which a decode step is launched; prompts are launched as they are. */
export function bucketShape(shape: ForwardShape, mostTokens: number): ForwardShape {
  if (!shape.decodeOnly) return shape;
  const size = (n: number) => Math.min(bucket(n), Math.max(n, mostTokens));
  return {
    ...shape,
    tokens: size(shape.tokens),
    decodes: size(shape.decodes),
    groups: shape.groups.map((group) => ({ ...group, count: size(group.count) })),
  };
}

/** What the launches of a decode step depend on beside the function. */
export function graphKey(
  { tokens, decodes, splits, headBlock, offset, groups }: ForwardShape,
  { history, biases, masks, limits, logprobs, kept }: SamplingNeeds,
  topCount: number,
  step: number,
): string {
  const sampled = groups.map((group) => `${group.offset - offset}+${group.count}`).join();
  const positions = history === 0 ? 0 : Math.ceil((history + step) / historyStep);
  return `${tokens} ${decodes} ${splits} ${headBlock} ${sampled} ${positions} ${
    bucket(biases)
  } ${masks} ${limits} ${logprobs} ${kept} ${topCount}`;
}

/** The graphs of a backend. */
export class Graphs {
  readonly #device: CudaDevice;
  /** Null: seen once. */
  #byForward = new Map<(ops: Ops) => void, Map<string, Handle | null>>();
  #generation = 0;

  /** None yet. */
  constructor(device: CudaDevice) {
    this.#device = device;
  }

  /** Runs `launch`, or what it did for the same function and key. `generation` is that of the scratch. */
  run(forward: (ops: Ops) => void, key: string, generation: () => number, launch: () => void): void {
    if (generation() !== this.#generation) this.clear(generation());
    let known = this.#byForward.get(forward);
    if (known === undefined) this.#byForward.set(forward, known = new Map());
    let graph = known.get(key);
    if (graph === undefined) {
      if (known.size >= mostGraphs) this.clear(generation());
      launch();
      // What was replaced on the way may be named by other graphs; this shape begins anew, too.
      if (generation() !== this.#generation) this.clear(generation());
      else this.#remember(forward, key, null);
      return;
    }
    if (graph === null) this.#remember(forward, key, graph = this.#device.capture(launch));
    this.#device.replay(graph);
  }

  /** Ends all graphs. */
  clear(generation = this.#generation): void {
    // One that runs must not be ended.
    if (this.#byForward.size > 0) this.#device.synchronize("replacing graphs");
    for (const graphs of this.#byForward.values()) {
      for (const graph of graphs.values()) if (graph !== null) this.#device.forget(graph);
    }
    this.#byForward.clear();
    this.#generation = generation;
  }

  #remember(forward: (ops: Ops) => void, key: string, graph: Handle | null): void {
    const known = this.#byForward.get(forward) ?? new Map<string, Handle | null>();
    known.set(key, graph);
    this.#byForward.set(forward, known);
  }
}
