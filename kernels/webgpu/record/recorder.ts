// Records dispatches into command buffers: one per step, or several where the host has to take part in between (the
// ranks of a tensor-parallel group add up their results through host memory).

import type { DeviceBuffer } from "../device/buffers.ts";
import type { GpuDevice } from "../device/device.ts";
import type { KernelCall } from "../shader/kernel.ts";
import type { Pipeline, PipelineCache } from "../device/pipelines.ts";
import type { Readback, Staging } from "../device/readback.ts";

/** A dispatch with everything looked up. */
export interface Prepared {
  /** What runs. */
  readonly pipeline: Pipeline;
  /** On which buffers. */
  readonly bindGroup: GPUBindGroup;
  /** The grid. */
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/**
 * What a forward has recorded: dispatches, numbers where the region of the plan changes, to the forward's own (0) or
 * a group's (1, 2, …), and everything else as a function that records it again.
 */
export type Tape = readonly (Prepared | number | ((recorder: Recorder) => void))[];

/** Looks up a kernel's pipeline and bind group. */
export function prepare<Role extends string>(
  pipelines: PipelineCache,
  { source, bindings, workgroups }: KernelCall<Role>,
  buffers: { readonly [R in Role]?: DeviceBuffer | null },
): Prepared {
  const pipeline = pipelines.pipeline(source);
  const bound = bindings.map((role) => {
    const buffer = buffers[role];
    if (!buffer) throw new Error(`${source.key}: there is no buffer for ${role}`);
    return buffer;
  });
  return { pipeline, bindGroup: pipelines.bindGroup(pipeline, bound), workgroups };
}

/** Commands, and what the host does once they are done. */
export interface Segment {
  /** To be submitted. */
  readonly commands: GPUCommandBuffer;
  /** Results that the host needs, and what it does with them; absent for a step's last segment. */
  readonly then?: {
    readonly staging: Staging;
    readonly bytes: number;
    readonly act: (data: ArrayBuffer) => void;
    /** No later segment reads through the same staging buffer. */
    readonly last: boolean;
  };
}

/** Records one step. */
export class Recorder {
  readonly #gpu: GpuDevice;
  readonly #readback: Readback;
  readonly #planGroup: GPUBindGroup;
  readonly #segments: Segment[] = [];
  readonly #offset = new Uint32Array(1);
  #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | null = null;
  #pipeline: Pipeline | null = null;
  /** What has been recorded since {@link begin}, with offsets of regions; null while no tape is made. */
  #tape: Tape[number][] | null = null;
  /** For what the host reads: one after the other, so one buffer serves a whole step. */
  #staging: Staging | null = null;

  /** `planGroup` shows kernels the plan. */
  constructor(gpu: GpuDevice, readback: Readback, planGroup: GPUBindGroup) {
    this.#gpu = gpu;
    this.#readback = readback;
    this.#planGroup = planGroup;
    this.#encoder = gpu.device.createCommandEncoder();
  }

  /** Begins a tape. */
  begin(): void {
    this.#tape = [];
  }

  /** What has been recorded since, with `regions` numbered in their order. */
  taped(regions: readonly number[]): Tape {
    const tape = this.#tape ?? [];
    this.#tape = null;
    return tape.map((entry) => typeof entry === "number" ? regions.indexOf(entry) : entry);
  }

  /** Records a tape again, for a forward with these regions. */
  replay(tape: Tape, regions: readonly number[]): void {
    for (const entry of tape) {
      if (typeof entry === "number") this.region(regions[entry]!);
      else if (typeof entry === "function") entry(this);
      else this.dispatch(entry);
    }
  }

  /** The plan region that the next dispatches see, by its byte offset. */
  region(offset: number): void {
    this.#tape?.push(offset);
    this.#offset[0] = offset;
    this.#pass?.setBindGroup(0, this.#planGroup, this.#offset, 0, 1);
  }

  /** Appends a dispatch. */
  dispatch(prepared: Prepared): void {
    this.#tape?.push(prepared);
    const { pipeline, bindGroup, workgroups: [x, y, z] } = prepared;
    let pass = this.#pass;
    if (pass === null) {
      pass = this.#pass = this.#encoder.beginComputePass();
      pass.setBindGroup(0, this.#planGroup, this.#offset, 0, 1);
      this.#pipeline = null;
    }
    if (this.#pipeline !== pipeline) {
      pass.setPipeline(pipeline.gpu);
      this.#pipeline = pipeline;
    }
    pass.setBindGroup(1, bindGroup);
    pass.dispatchWorkgroups(x, y, z);
  }

  /** Appends a copy between buffers. */
  copy(
    source: GPUBuffer,
    sourceOffset: number,
    target: GPUBuffer,
    targetOffset: number,
    bytes: number,
  ): void {
    this.#tape?.push((recorder) => recorder.copy(source, sourceOffset, target, targetOffset, bytes));
    this.#endPass();
    this.#encoder.copyBufferToBuffer(source, sourceOffset, target, targetOffset, bytes);
  }

  /** Once everything so far is done, `act` gets the first `bytes` of a buffer; what follows waits for it. */
  host(source: GPUBuffer, bytes: number, act: (data: ArrayBuffer) => void): void {
    this.#tape?.push((recorder) => recorder.host(source, bytes, act));
    const before = this.#segments.at(-1);
    if (this.#staging !== null && this.#staging.bytes >= bytes && before?.then) {
      this.#segments[this.#segments.length - 1] = { ...before, then: { ...before.then, last: false } };
    } else {
      this.#staging = this.#readback.acquire(bytes);
    }
    const staging = this.#staging;
    this.#endPass();
    this.#encoder.copyBufferToBuffer(source, 0, staging.buffer, 0, bytes);
    this.#segments.push({ commands: this.#encoder.finish(), then: { staging, bytes, act, last: true } });
    this.#encoder = this.#gpu.device.createCommandEncoder();
  }

  /** Ends the recording. */
  finish(): readonly Segment[] {
    this.#endPass();
    this.#segments.push({ commands: this.#encoder.finish() });
    return this.#segments;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
  }
}
