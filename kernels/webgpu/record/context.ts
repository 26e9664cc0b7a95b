// What every operation of the backend works with, and the memory of what it has looked up.

import type { Activation, Collective } from "../../ops.ts";
import type { BufferAllocator, DeviceBuffer } from "../device/buffers.ts";
import type { GpuDevice } from "../device/device.ts";
import type { ElementType, KernelCall } from "../shader/kernel.ts";
import type { Preparation } from "../linear/linear.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import type { ForwardShape } from "../plan/pack.ts";
import type { SamplingNeeds } from "../plan/pack_sampling.ts";
import { prepare, type Prepared, type Recorder } from "./recorder.ts";
import type { DeviceState, SharedBuffers, SharedRole } from "../state/state.ts";

/** Room for [maxTokens, width] numbers. */
export class DeviceActivation implements Activation {
  /** Of `width` elements per token. */
  constructor(readonly width: number, readonly element: ElementType, readonly buffer: DeviceBuffer) {}
}

/** Everything that lives as long as the backend's state. */
export interface Context {
  /** The device. */
  readonly gpu: GpuDevice;
  /** Of all buffers. */
  readonly allocator: BufferAllocator;
  /** Of all kernels. */
  readonly pipelines: PipelineCache;
  /** Pages, page table, token pool. */
  readonly state: DeviceState;
  /** Scratch of the steps. */
  readonly shared: SharedBuffers;
  /** Null for a single rank. */
  readonly collective: Collective | null;
  /** What has been looked up before. */
  readonly memory: DispatchMemory;
}

/** What a product has left for the next one: its input, prepared. */
export interface Handover {
  /** Of this activation. */
  readonly activation: DeviceBuffer;
  /** Weight of its norm. */
  readonly norm: DeviceBuffer | null;
  /** How. */
  readonly preparation: Preparation;
  /** Where it stands. */
  readonly role: "preparedA" | "preparedB";
}

/** One forward being recorded. */
export interface Forward {
  /** What it works with. */
  readonly context: Context;
  /** Where its dispatches go. */
  readonly recorder: Recorder;
  /** Its sizes. */
  readonly shape: ForwardShape;
  /** Number of the step. */
  readonly serial: number;
  /** Which forward of the plan it is. */
  readonly step: number;
  /** Results of all forwards, and how many alternatives a row has. */
  readonly results: DeviceBuffer;
  /** Alternatives that a row reports. */
  readonly topCount: number;
  /** Parts of the sampler that some row needs. */
  readonly needs: SamplingNeeds;
  /** Where to copy logits, if they are asked for. */
  readonly logits?: { readonly staging: GPUBuffer; readonly offset: number } | null;
  /** Left by the product before, for the one behind it alone. */
  handover: Handover | null;
}

/** Most operations remembered; prefills of ever different lengths would fill the memory otherwise. */
const mostRemembered = 16384;

/** Dispatches of operations that were recorded before, by what they depend on. */
export class DispatchMemory {
  readonly #known = new Map<string, readonly Prepared[]>();
  #generation = 0;

  /** The dispatches of `key`, made by `make` unless known. */
  recall(key: string, shared: SharedBuffers, make: () => readonly Prepared[]): readonly Prepared[] {
    if (shared.generation === this.#generation) {
      const known = this.#known.get(key);
      if (known) return known;
    }
    let made = make();
    if (shared.generation !== this.#generation || this.#known.size >= mostRemembered) {
      // A shared buffer has been replaced, perhaps by `make` itself: what was looked up before may name the old one.
      this.#known.clear();
      this.#generation = shared.generation;
      made = make();
    }
    this.#known.set(key, made);
    return made;
  }
}

/** Records the dispatches of an operation; `key` names all that they depend on. */
export function recordOperation(
  { context: { memory, shared }, recorder }: Forward,
  key: string,
  make: () => readonly Prepared[],
): void {
  for (const dispatch of memory.recall(key, shared, make)) recorder.dispatch(dispatch);
}

/** A shared buffer of at least `bytes`. */
export function sharedBuffer({ context, serial }: Forward, role: SharedRole, bytes: number): DeviceBuffer {
  return context.shared.get(role, bytes, serial);
}

/** Looks a kernel up. */
export function look<Role extends string>(
  { context }: Forward,
  call: KernelCall<Role>,
  buffers: Readonly<Record<Role, DeviceBuffer>>,
): Prepared {
  return prepare(context.pipelines, call, buffers);
}
