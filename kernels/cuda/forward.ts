// What every operation of a forward works with.

import type { Collective } from "../ops.ts";
import type { ForwardShape } from "../webgpu/plan/pack.ts";
import type { SamplingNeeds } from "../webgpu/plan/pack_sampling.ts";
import type { PrefillTile } from "./attention/attention.ts";
import type { CudaDevice, DeviceBuffer } from "./device.ts";
import type { PinnedBuffer } from "./pinned.ts";
import type { Peers } from "./peers/peers.ts";
import type { CudaState, Scratch, ScratchRole } from "./memory.ts";

/** Everything that lives as long as the backend's state. */
export interface Context {
  /** The GPU. */
  readonly device: CudaDevice;
  /** Pages, page table, token pool. */
  readonly state: CudaState;
  /** Of the steps. */
  readonly scratch: Scratch;
  /** Null for a single rank. */
  readonly collective: Collective | null;
  /** The group, where its GPUs see each other's memory. */
  readonly peers: Peers | null;
  /** How prompts attend; null where every query goes over the pages by itself. */
  readonly prefill: PrefillTile | null;
  /** Elements of a matrix from which on its products run on the matrix units. */
  readonly halfFrom: number;
}

/** One forward being launched or captured. */
export interface Forward {
  /** What it works with. */
  readonly context: Context;
  /** Its sizes; `tokens` and `decodes` may be more than the plan has, so that steps of several sizes share a graph. */
  readonly shape: ForwardShape;
  /** Where its region of the plan stands on the device. */
  readonly plan: bigint;
  /** Which forward of the plan it is. */
  readonly step: number;
  /** Parts of the sampler that some row needs. */
  readonly needs: SamplingNeeds;
  /** Alternatives that a row reports. */
  readonly topCount: number;
  /** Results of all forwards. */
  readonly results: DeviceBuffer;
  /** What of the sampled rows is returned, and where to; `only`: nothing else is wanted of them. */
  readonly returned: {
    readonly name: "logits" | "hidden";
    readonly width: number;
    readonly only: boolean;
    readonly to: PinnedBuffer;
    readonly offset: number;
  } | null;
}

/** At least `bytes` of scratch; its address. */
export function scratch({ context }: Forward, role: ScratchRole, bytes: number): bigint {
  return context.scratch.get(role, bytes).address;
}

/** a / b rounded up. */
export const divideUp = (a: number, b: number): number => Math.ceil(a / b);
