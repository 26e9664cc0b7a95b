// What every operation of the backend works with while a forward is recorded.

import type { Activation, Collective } from "../../ops.ts";
import type { DeviceBuffer } from "../device/buffers.ts";
import type { GpuDevice } from "../device/device.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import type { Preparation } from "../linear/linear.ts";
import type { ForwardShape } from "../plan/pack.ts";
import type { SamplingNeeds } from "../plan/pack_sampling.ts";
import type { ElementType, KernelCall } from "../shader/kernel.ts";
import type { DeviceState, SharedBuffers, SharedRole } from "../state/state.ts";
import { prepare, type Recorder } from "./recorder.ts";

/** Room for [maxTokens, width] numbers. */
export class DeviceActivation implements Activation {
  /** Of `width` elements per token. */
  constructor(readonly width: number, readonly element: ElementType, readonly buffer: DeviceBuffer) {}
}

/** Everything that lives as long as the backend's state. */
export interface Context {
  /** The device. */
  readonly gpu: GpuDevice;
  /** Of all kernels. */
  readonly pipelines: PipelineCache;
  /** Pages, page table, token pool. */
  readonly state: DeviceState;
  /** Scratch of the steps. */
  readonly shared: SharedBuffers;
  /** Null for a single rank. */
  readonly collective: Collective | null;
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
  /** What of the sampled rows is returned, and where to; `only`: nothing else is wanted of them. */
  readonly returned: {
    readonly name: "logits" | "hidden";
    readonly width: number;
    readonly only: boolean;
    readonly staging: GPUBuffer;
    readonly offset: number;
  } | null;
  /** Left by the product before, for the one behind it alone. */
  handover: Handover | null;
}

/** A shared buffer of at least `bytes`. */
export function sharedBuffer({ context, serial }: Forward, role: SharedRole, bytes: number): DeviceBuffer {
  return context.shared.get(role, bytes, serial);
}

/** Records a kernel with the buffers that it binds. */
export function dispatch<Role extends string>(
  { context: { pipelines }, recorder }: Forward,
  call: KernelCall<Role>,
  buffers: { readonly [R in Role]?: DeviceBuffer | null },
): void {
  recorder.dispatch(prepare(pipelines, call, buffers));
}
