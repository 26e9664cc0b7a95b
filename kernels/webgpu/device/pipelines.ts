// Pipelines and bind groups, each made once.
//
// Layouts are explicit: group 0 is the plan with a dynamic offset, group 1 the kernel's buffers. Kernels with the
// same accesses share a layout, and so may share bind groups; a bind group is found by its layout and the numbers
// of its buffers.

import type { DeviceBuffer } from "./buffers.ts";
import type { GpuDevice } from "./device.ts";
import type { KernelSource } from "../shader/kernel.ts";

type Access = KernelSource["access"][number];

/** Layouts of kernels with the same accesses. */
export interface Layout {
  /** Tells layouts apart. */
  readonly id: number;
  /** Of group 1. */
  readonly group: GPUBindGroupLayout;
  /** Of both groups. */
  readonly pipeline: GPUPipelineLayout;
}

/** A compiled kernel. */
export interface Pipeline {
  /** Ready to dispatch. */
  readonly gpu: GPUComputePipeline;
  /** Shared by kernels with the same accesses. */
  readonly layout: Layout;
}

/** Compiles on first use. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #planLayout: GPUBindGroupLayout;
  readonly #layouts = new Map<string, Layout>();
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();

  /** Nothing is compiled yet. */
  constructor(gpu: GpuDevice) {
    this.#device = gpu.device;
    this.#planLayout = this.#device.createBindGroupLayout({
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "read-only-storage", hasDynamicOffset: true },
      }],
    });
  }

  /** Number of pipelines compiled so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  /** The pipeline of a kernel, compiled unless known. */
  pipeline(source: KernelSource): Pipeline {
    const known = this.#pipelines.get(source.key);
    if (known) return known;
    const layout = this.#layout(source.access);
    const module = this.#device.createShaderModule({ label: source.key, code: source.code() });
    const gpu = this.#device.createComputePipeline({
      label: source.key,
      layout: layout.pipeline,
      compute: { module },
    });
    const pipeline = { gpu, layout };
    this.#pipelines.set(source.key, pipeline);
    return pipeline;
  }

  /** The bind group of these buffers, made unless known. */
  bindGroup({ layout }: Pipeline, buffers: readonly DeviceBuffer[]): GPUBindGroup {
    let key = `${layout.id}`;
    for (const { id } of buffers) key += `,${id}`;
    const known = this.#bindGroups.get(key);
    if (known) return known;
    const bindGroup = this.#device.createBindGroup({
      layout: layout.group,
      entries: buffers.map(({ gpu }, binding) => ({ binding, resource: { buffer: gpu } })),
    });
    this.#bindGroups.set(key, bindGroup);
    return bindGroup;
  }

  /** The bind group of a plan buffer: `bytes` from a dynamic offset on. */
  planGroup(buffer: GPUBuffer, bytes: number): GPUBindGroup {
    return this.#device.createBindGroup({
      layout: this.#planLayout,
      entries: [{ binding: 0, resource: { buffer, offset: 0, size: bytes } }],
    });
  }

  /** Forgets bind groups that hold a released buffer. */
  forget(buffer: DeviceBuffer): void {
    const id = `${buffer.id}`;
    for (const key of this.#bindGroups.keys()) {
      if (key.split(",").indexOf(id, 1) > 0) this.#bindGroups.delete(key);
    }
  }

  #layout(access: readonly Access[]): Layout {
    const key = access.join();
    const known = this.#layouts.get(key);
    if (known) return known;
    const group = this.#device.createBindGroupLayout({
      entries: access.map((kind, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: kind === "read" ? "read-only-storage" as const : "storage" as const },
      })),
    });
    const pipeline = this.#device.createPipelineLayout({ bindGroupLayouts: [this.#planLayout, group] });
    const layout = { id: this.#layouts.size, group, pipeline };
    this.#layouts.set(key, layout);
    return layout;
  }
}
