// Runs the kernel calls of a matrix product on whatever adapter there is, without the engine's backend: one bind
// group for the plan, one for the buffers, as `kernels/webgpu/kernel.ts` says.

import assert from "node:assert/strict";
import type { DeviceCaps, KernelCall } from "../../kernels/webgpu/shader/kernel.ts";
import type { LinearPlan, LinearRole } from "../../kernels/webgpu/linear/linear.ts";

/** A device for the tests of one file; close it at the end. */
export class LinearDevice implements Disposable {
  readonly caps: DeviceCaps;
  readonly #device: GPUDevice;
  readonly #errors: string[] = [];

  private constructor(device: GPUDevice, caps: DeviceCaps) {
    this.#device = device;
    this.caps = caps;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
  }

  static async open(): Promise<LinearDevice> {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    assert(adapter, "no WebGPU adapter: install a Vulkan driver (mesa-vulkan-drivers has a software one)");
    const { limits, info } = adapter;
    const device = await adapter.requestDevice({
      requiredFeatures: ["shader-f16", "subgroups"] as GPUFeatureName[],
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
        maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      },
    });
    const software = /llvmpipe|lavapipe|swiftshader/i.test(`${info.description} ${info.device}`);
    return new LinearDevice(device, {
      minSubgroup: info.subgroupMinSize,
      maxSubgroup: info.subgroupMaxSize,
      f16: true,
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      maxWorkgroupThreads: limits.maxComputeInvocationsPerWorkgroup,
      maxBindingBytes: limits.maxStorageBufferBindingSize,
      parallelism: software ? 8 : 512,
      software,
    });
  }

  /** Runs a plan's calls in order and returns a buffer's bytes; scratch is poisoned with NaN first. */
  async run(
    plan: LinearPlan,
    planWords: Uint32Array,
    contents: Partial<Record<LinearRole, Uint8Array>>,
    wanted: LinearRole = "output",
  ): Promise<Uint8Array> {
    const device = this.#device;
    using buffers = new DisposableStack();
    const create = (bytes: Uint8Array, usage: number): GPUBuffer => {
      const size = Math.max(16, Math.ceil(bytes.byteLength / 16) * 16);
      const buffer = device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST });
      buffers.defer(() => buffer.destroy());
      const padded = new Uint8Array(size);
      padded.set(bytes);
      device.queue.writeBuffer(buffer, 0, padded);
      return buffer;
    };
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const poison = (bytes: number) => new Uint8Array(bytes).fill(0xff);
    const roles: Partial<Record<LinearRole, GPUBuffer>> = {};
    const scratch = Object.entries(plan.scratch).map(([role, bytes]) => [role, poison(bytes)] as const);
    const all = { ...Object.fromEntries(scratch), ...contents };
    for (const [role, bytes] of Object.entries(all)) roles[role as LinearRole] = create(bytes, storage);
    const words = create(new Uint8Array(planWords.buffer), storage);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const call of plan.calls) this.#record(pass, call, words, roles);
    pass.end();
    const output = roles[wanted]!;
    const staging = device.createBuffer({
      size: output.size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    buffers.defer(() => staging.destroy());
    encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const result = new Uint8Array(staging.getMappedRange().slice(0));
    staging.unmap();
    assert.deepEqual(this.#errors, []);
    return result;
  }

  #record(
    pass: GPUComputePassEncoder,
    call: KernelCall<LinearRole>,
    words: GPUBuffer,
    roles: Partial<Record<LinearRole, GPUBuffer>>,
  ): void {
    const device = this.#device;
    const entry = (binding: number, type: GPUBufferBindingType, hasDynamicOffset: boolean) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type, hasDynamicOffset },
    });
    const planLayout = device.createBindGroupLayout({ entries: [entry(0, "read-only-storage", true)] });
    const layout = device.createBindGroupLayout({
      entries: call.source.access.map((access, i) =>
        entry(i, access === "read" ? "read-only-storage" : "storage", false)
      ),
    });
    const pipeline = device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [planLayout, layout] }),
      compute: { module: device.createShaderModule({ code: call.source.code() }), entryPoint: "main" },
    });
    pass.setPipeline(pipeline);
    const planGroup = device.createBindGroup({
      layout: planLayout,
      entries: [{ binding: 0, resource: { buffer: words } }],
    });
    pass.setBindGroup(0, planGroup, [0]);
    const group = device.createBindGroup({
      layout,
      entries: call.bindings.map((role, binding) => ({ binding, resource: { buffer: roles[role]! } })),
    });
    pass.setBindGroup(1, group);
    pass.dispatchWorkgroups(...call.workgroups);
  }

  [Symbol.dispose](): void {
    this.#device.destroy();
  }
}
