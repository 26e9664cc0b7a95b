// The buffer that plans are written to, and the bind group through which kernels see one region of it at a time.

import type { GpuDevice } from "../device/device.ts";
import type { PipelineCache } from "../device/pipelines.ts";
import type { PackedPlan } from "./pack.ts";
import { powerOfTwo } from "../shader/wgsl.ts";

/** Where a plan goes. */
export interface Slot {
  /** What the plan is written to. */
  readonly buffer: GPUBuffer;
  /** Shows kernels one region of it. */
  readonly group: GPUBindGroup;
  /** Its size. */
  readonly bytes: number;
  /** How far kernels see from a region's beginning. */
  readonly regionBytes: number;
}

/**
 * Grows with the plans. A replaced buffer is left to the garbage collector, because steps that are recorded but not
 * yet submitted refer to it.
 */
export class PlanSlot {
  readonly #gpu: GpuDevice;
  readonly #pipelines: PipelineCache;
  #slot: Slot | null = null;

  /** Nothing is allocated yet. */
  constructor(gpu: GpuDevice, pipelines: PipelineCache) {
    this.#gpu = gpu;
    this.#pipelines = pipelines;
  }

  /** A slot that holds the plan. */
  fit({ words, regionBytes }: PackedPlan): Slot {
    const known = this.#slot;
    if (known && words.byteLength + known.regionBytes <= known.bytes && regionBytes <= known.regionBytes) {
      return known;
    }
    const region = powerOfTwo(Math.max(2 ** 14, regionBytes, known?.regionBytes ?? 0));
    // The window from the last region must end inside the buffer.
    const bytes = powerOfTwo(Math.max(words.byteLength + region, known?.bytes ?? 0));
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = this.#gpu.device.createBuffer({ label: "plan", size: bytes, usage });
    this.#slot = { buffer, group: this.#pipelines.planGroup(buffer, region), bytes, regionBytes: region };
    return this.#slot;
  }
}
