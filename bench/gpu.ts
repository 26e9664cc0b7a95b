// A bare device for kernel benchmarks: buffers with random contents, kernel calls bound by role, times from
// timestamp queries, and a readback that does not wait for a timer.
//
// A time is that of a pass of many dispatches divided by their number, median over passes, so it contains what a
// dispatch costs in a real step. Buffers rotate, so that weights come from memory and not from cache.

import type { DeviceCaps, KernelCall } from "../kernels/webgpu/shader/kernel.ts";

/** A call whose buffers are known, ready to be recorded. */
export interface Bound {
  readonly pipeline: GPUComputePipeline;
  readonly groups: readonly GPUBindGroup[];
  readonly workgroups: readonly [number, number, number];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

const FILL = `
struct Params { seed: u32, kind: u32, scale: f32, words: u32 }
@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;
fn hash(v: u32) -> u32 {
  var h = v * 747796405u + 2891336453u;
  h = ((h >> ((h >> 28u) + 4u)) ^ h) * 277803737u;
  return (h >> 22u) ^ h;
}
fn uniformNumber(v: u32) -> f32 { return (f32(hash(v) >> 8u) / 8388608.0 - 1.0) * 1.7320508 * params.scale; }
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let i = (group.y * 32768u + group.x) * 256u + thread;
  if (i >= params.words) { return; }
  let a = uniformNumber(2u * i + params.seed * 7919u);
  let b = uniformNumber(2u * i + 1u + params.seed * 7919u);
  switch (params.kind) {
    case 0u: { x[i] = bitcast<u32>(a); }
    case 1u: { x[i] = pack2x16float(vec2<f32>(a, b)); }
    default: { x[i] = (bitcast<u32>(a) >> 16u) | (bitcast<u32>(b) & 0xffff0000u); }
  }
}`;

export class BenchDevice implements Disposable {
  readonly device: GPUDevice;
  readonly caps: DeviceCaps;
  readonly description: string;
  readonly errors: string[] = [];
  readonly #queries: GPUQuerySet;
  readonly #resolve: GPUBuffer;
  readonly #fill: GPUComputePipeline;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  readonly #planLayout: GPUBindGroupLayout;
  #staging: GPUBuffer;
  /** Milliseconds spent making pipelines. */
  compileTime = 0;

  private constructor(adapter: GPUAdapter, device: GPUDevice) {
    this.device = device;
    const { limits, info } = adapter;
    this.description = info.description || `${info.vendor} ${info.device}`;
    const software = /llvmpipe|lavapipe|swiftshader/i.test(info.description);
    this.caps = {
      minSubgroup: info.subgroupMinSize,
      maxSubgroup: info.subgroupMaxSize,
      f16: true,
      maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
      maxWorkgroupThreads: limits.maxComputeInvocationsPerWorkgroup,
      maxBindingBytes: limits.maxStorageBufferBindingSize,
      parallelism: software ? 8 : 512,
      software,
    };
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
    this.#queries = device.createQuerySet({ type: "timestamp", count: 2 });
    this.#resolve = device.createBuffer({
      size: 256,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    this.#staging = this.#createStaging(256);
    this.#fill = device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code: FILL }), entryPoint: "main" },
    });
    this.#planLayout = device.createBindGroupLayout({
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "read-only-storage", hasDynamicOffset: true },
      }],
    });
  }

  static async open(): Promise<BenchDevice> {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) throw new Error("no WebGPU adapter: install a Vulkan driver");
    const { limits } = adapter;
    const device = await adapter.requestDevice({
      requiredFeatures: ["shader-f16", "subgroups", "timestamp-query"] as GPUFeatureName[],
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
        maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      },
    });
    const bench = new BenchDevice(adapter, device);
    await bench.#warm();
    return bench;
  }

  buffer(bytes: number): GPUBuffer {
    const size = Math.max(256, Math.ceil(bytes / 256) * 256);
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.device.createBuffer({ size, usage });
  }

  /** A buffer of random numbers with the given standard deviation. */
  random(bytes: number, type: "f32" | "f16" | "bf16", scale: number, seed: number): GPUBuffer {
    const buffer = this.buffer(bytes);
    const words = buffer.size / 4;
    const params = this.device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    const values = new DataView(new ArrayBuffer(16));
    values.setUint32(0, seed, true);
    values.setUint32(4, type === "f32" ? 0 : type === "f16" ? 1 : 2, true);
    values.setFloat32(8, scale, true);
    values.setUint32(12, words, true);
    this.device.queue.writeBuffer(params, 0, values.buffer);
    const group = this.device.createBindGroup({
      layout: this.#fill.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }, { binding: 1, resource: { buffer: params } }],
    });
    const count = Math.ceil(words / 256);
    this.submit((pass) => {
      pass.setPipeline(this.#fill);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.min(count, 32768), Math.ceil(count / 32768));
    });
    return buffer;
  }

  words(values: Uint32Array): GPUBuffer {
    const buffer = this.buffer(values.byteLength);
    this.device.queue.writeBuffer(buffer, 0, values.slice());
    return buffer;
  }

  /** A call with its buffers; pipelines are made once per key. */
  bind<Role extends string>(
    call: KernelCall<Role>,
    plan: GPUBuffer,
    buffers: Readonly<Record<Role, GPUBuffer>>,
  ): Bound {
    const entry = (type: GPUBufferBindingType) => ({ type });
    const layout = this.device.createBindGroupLayout({
      entries: call.source.access.map((access, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: entry(access === "read" ? "read-only-storage" : "storage"),
      })),
    });
    let pipeline = this.#pipelines.get(call.source.key);
    if (pipeline === undefined) {
      const start = performance.now();
      pipeline = this.device.createComputePipeline({
        layout: this.device.createPipelineLayout({ bindGroupLayouts: [this.#planLayout, layout] }),
        compute: { module: this.device.createShaderModule({ code: call.source.code() }), entryPoint: "main" },
      });
      this.compileTime += performance.now() - start;
      this.#pipelines.set(call.source.key, pipeline);
    }
    const planGroup = this.device.createBindGroup({
      layout: this.#planLayout,
      entries: [{ binding: 0, resource: { buffer: plan } }],
    });
    const group = this.device.createBindGroup({
      layout,
      entries: call.bindings.map((role, binding) => ({ binding, resource: { buffer: buffers[role] } })),
    });
    return { pipeline, groups: [planGroup, group], workgroups: call.workgroups };
  }

  /** A shader outside the kernels' convention: group 0 holds `buffers`. */
  bindRaw(code: string, buffers: readonly GPUBuffer[], workgroups: readonly [number, number, number]): Bound {
    const pipeline = this.device.createComputePipeline({
      layout: "auto",
      compute: { module: this.device.createShaderModule({ code }), entryPoint: "main" },
    });
    const group = this.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    return { pipeline, groups: [group], workgroups };
  }

  record(pass: GPUComputePassEncoder, bound: Bound): void {
    pass.setPipeline(bound.pipeline);
    bound.groups.forEach((group, i) => {
      if (i === 0 && bound.groups.length > 1) pass.setBindGroup(0, group, [0]);
      else pass.setBindGroup(i, group);
    });
    pass.dispatchWorkgroups(...bound.workgroups);
  }

  submit(body: (pass: GPUComputePassEncoder) => void): void {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    body(pass);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  /** Microseconds of one pass. */
  passTime(body: (pass: GPUComputePassEncoder) => void): number {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
    });
    body(pass);
    pass.end();
    encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolve, 0);
    this.device.queue.submit([encoder.finish()]);
    const times = new BigUint64Array(this.read(this.#resolve, 16));
    return Number(times[1]! - times[0]!) / 1e3;
  }

  /** Median microseconds per item: `sequences` are run round and round, `count` items a pass. */
  time(sequences: readonly (readonly Bound[])[], count: number, passes = 7): number {
    const times: number[] = [];
    let next = 0;
    for (let p = 0; p < passes + 1; p++) {
      const total = this.passTime((pass) => {
        for (let i = 0; i < count; i++) {
          for (const bound of sequences[next++ % sequences.length]!) this.record(pass, bound);
        }
      });
      if (p > 0) times.push(total / count);
    }
    return median(times);
  }

  /** Copies out; blocks, without the timer that an awaited map waits for (see docs on readback). */
  read(buffer: GPUBuffer, bytes: number): ArrayBuffer {
    if (this.#staging.size < bytes) {
      throw new RangeError(`staging holds ${this.#staging.size} bytes, not ${bytes}`);
    }
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, this.#staging, 0, Math.ceil(bytes / 4) * 4);
    this.device.queue.submit([encoder.finish()]);
    this.#staging.mapAsync(GPUMapMode.READ).catch(() => {});
    const result = this.#staging.getMappedRange(0, Math.ceil(bytes / 8) * 8).slice(0, bytes);
    this.#staging.unmap();
    return result;
  }

  async #warm(): Promise<void> {
    this.#staging.destroy();
    this.#staging = this.#createStaging(64 << 20);
    // A buffer that was never mapped with an awaited call panics in getMappedRange.
    await this.#staging.mapAsync(GPUMapMode.READ);
    this.#staging.unmap();
  }

  #createStaging(bytes: number): GPUBuffer {
    return this.device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  [Symbol.dispose](): void {
    this.device.destroy();
  }
}
