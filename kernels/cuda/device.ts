// One GPU as the backend uses it: the primary context, a stream, memory, launches, and errors with names.
//
// Everything runs in the order of the calls on one stream.

import { type Argument, argumentBytes, type Grid, LaunchArguments, type LaunchTraits } from "./arguments.ts";
import { Code, type Driver, type Handle, maxDynamicSharedBytes } from "./driver.ts";
import { type CudaError, cudaError, isSticky, outOfMemory } from "./errors.ts";
import type { KernelLaunch } from "./gemm/launch.ts";
import { type ModuleName, modules } from "./modules.ts";
import { type PinnedBuffer, PinnedMemory } from "./pinned.ts";
import type { DeviceProperties } from "./properties.ts";
import { TensorMaps } from "./tensor_maps.ts";
import { unpack } from "./unpack.ts";

/** Memory on the device. */
export interface DeviceBuffer {
  /** Unique per device object. */
  readonly id: number;
  /** Where it begins. */
  readonly address: bigint;
  /** Its size. */
  readonly bytes: number;
}

/** A kernel that can be launched. */
export interface Kernel {
  /** Module and function, for messages. */
  readonly name: string;
  /** The driver's. */
  readonly handle: Handle;
  /** It waits for the kernel in front of it by itself, and may be started before that one has ended. */
  readonly overlaps: boolean;
}

/** One GPU, with the context that all of this process shares. */
export class CudaDevice implements Disposable {
  /** The library. */
  readonly driver: Driver;
  /** Of the GPU. */
  readonly properties: DeviceProperties;
  /** Everything runs on it. */
  readonly stream: Handle;
  readonly #modules = new Map<ModuleName, Handle>();
  readonly #kernels = new Map<string, Kernel>();
  readonly #live = new Set<DeviceBuffer>();
  readonly #pinned: PinnedMemory;
  readonly #arguments: LaunchArguments;
  readonly #tensorMaps: TensorMaps;
  /** Waits after every launch, so that an error names its kernel. */
  readonly #checking: boolean;
  /** Kernels and graphs launched lately. */
  readonly #launched = new Set<string>();
  #nextId = 1;
  #failed: CudaError | null = null;

  /** Retains the primary context and makes it this thread's. `checking` waits after every launch. */
  constructor(driver: Driver, properties: DeviceProperties, checking = false) {
    this.driver = driver;
    this.properties = properties;
    this.#checking = checking;
    const context = this.#out((to) => driver.cuDevicePrimaryCtxRetain(to, properties.ordinal), "context");
    this.check(driver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    // Not joined with the default stream, which is not used.
    this.stream = this.#out((to) => driver.cuStreamCreate(to, 1), "cuStreamCreate");
    this.#pinned = new PinnedMemory(driver, (code, what) => this.check(code, what));
    this.#arguments = new LaunchArguments(this.pin(argumentBytes));
    this.#tensorMaps = new TensorMaps(driver, (code, what) => this.check(code, what), this.pin(256));
  }

  /** Throws for a code that is not 0, and from then on the same again where the device is lost. */
  check(code: number, what: string): void {
    if (code === Code.Success) return;
    const error = cudaError(code, isSticky(code) ? `${what}; ${this.#suspects()}` : what);
    if (isSticky(code)) this.#failed ??= error;
    throw this.#failed ?? error;
  }

  /** Throws if the device is lost. */
  assertAlive(): void {
    if (this.#failed !== null) throw this.#failed;
  }

  /** Uninitialised memory. */
  alloc(bytes: number, what: string): DeviceBuffer {
    const size = Math.max(256, Math.ceil(bytes / 256) * 256);
    const address = new BigUint64Array(1);
    const code = this.driver.cuMemAlloc_v2(new Uint8Array(address.buffer), BigInt(size));
    if (code === Code.OutOfMemory) {
      throw outOfMemory(what, size, this.memory().free, this.properties.memoryBytes);
    }
    this.check(code, `cuMemAlloc of ${size} bytes for ${what}`);
    const buffer = { id: this.#nextId++, address: address[0]!, bytes: size };
    this.#live.add(buffer);
    return buffer;
  }

  /** Gives memory back; waits for what runs. */
  free(buffer: DeviceBuffer): void {
    if (this.#live.delete(buffer)) this.check(this.driver.cuMemFree_v2(buffer.address), "cuMemFree");
  }

  /** Bytes free now, and in all. */
  memory(): { free: number; total: number } {
    const free = new BigUint64Array(1), total = new BigUint64Array(1);
    this.check(
      this.driver.cuMemGetInfo_v2(new Uint8Array(free.buffer), new Uint8Array(total.buffer)),
      "cuMemGetInfo",
    );
    return { free: Number(free[0]), total: Number(total[0]) };
  }

  /** Memory of the host that the device reaches by itself, for as long as the device is open. */
  pin(bytes: number): PinnedBuffer {
    return this.#pinned.take(bytes);
  }

  /** Writes memory, after all that was launched before; done when the call returns. */
  write(to: bigint, data: Uint8Array | Uint32Array | Float32Array): void {
    if (data.byteLength === 0) return;
    // On the own stream: the plain copy is on another one, and may return before it has arrived.
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    this.check(
      this.driver.copyFromBuffer(to, bytes, BigInt(data.byteLength), this.stream),
      "cuMemcpyHtoDAsync",
    );
    this.synchronize("a write");
  }

  /** Reads memory, after all that was launched before. */
  read(from: bigint, bytes: number): ArrayBuffer {
    const data = new Uint8Array(bytes);
    if (bytes === 0) return data.buffer;
    this.synchronize("a readback");
    this.check(this.driver.cuMemcpyDtoH_v2(data, from, BigInt(bytes)), "cuMemcpyDtoH");
    return data.buffer;
  }

  /** A copy from pinned memory, in the order of the stream. */
  copyIn(to: bigint, from: PinnedBuffer, offset: number, bytes: number): void {
    const code = this.driver.cuMemcpyHtoDAsync_v2(
      to,
      from.address + BigInt(offset),
      BigInt(bytes),
      this.stream,
    );
    this.check(code, "cuMemcpyHtoDAsync");
  }

  /** A copy to pinned memory, in the order of the stream. */
  copyOut(to: PinnedBuffer, offset: number, from: bigint, bytes: number): void {
    const code = this.driver.cuMemcpyDtoHAsync_v2(
      to.address + BigInt(offset),
      from,
      BigInt(bytes),
      this.stream,
    );
    this.check(code, "cuMemcpyDtoHAsync");
  }

  /** A copy on the device, in the order of the stream. */
  copy(to: bigint, from: bigint, bytes: number): void {
    this.check(this.driver.cuMemcpyDtoDAsync_v2(to, from, BigInt(bytes), this.stream), "cuMemcpyDtoDAsync");
  }

  /** Sets words, in the order of the stream. */
  fill(to: bigint, value: number, words: number): void {
    this.check(this.driver.cuMemsetD32Async(to, value, BigInt(words), this.stream), "cuMemsetD32Async");
  }

  /** A kernel; its module is compiled by the driver, or found in its cache, the first time. */
  kernel(module: ModuleName, name: string, dynamicBytes = 0): Kernel {
    // The build whose kernels may begin early, where the GPU can.
    const early = `${module}_sm90` as ModuleName;
    const overlaps = this.properties.capability >= 90 && early in modules;
    return this.#find(overlaps ? early : module, name, dynamicBytes, overlaps);
  }

  #find(module: ModuleName, name: string, dynamicBytes: number, overlaps: boolean): Kernel {
    const key = `${module}/${name}`;
    const known = this.#kernels.get(key);
    if (known) return known;
    let owner = this.#modules.get(module);
    if (owner === undefined) {
      const ptx = text(unpack(modules[module]));
      owner = this.#out((to) => this.driver.cuModuleLoadData(to, ptx), `loading ${module}`);
      this.#modules.set(module, owner);
    }
    const from = owner;
    const handle = this.#out((to) => this.driver.cuModuleGetFunction(to, from, text(name)), key);
    const kernel = { name: key, handle, overlaps };
    if (dynamicBytes > 40 * 1024) {
      const code = this.driver.cuFuncSetAttribute(handle, maxDynamicSharedBytes, dynamicBytes);
      this.check(code, `${dynamicBytes} bytes of shared memory for ${key}`);
    }
    this.#kernels.set(key, kernel);
    return kernel;
  }

  /** Launches a kernel. */
  launch(kernel: Kernel, grid: Grid, threads: number, shared: number, args: readonly Argument[]): void {
    this.#launch(kernel, grid, threads, shared, args, { programmatic: kernel.overlaps, cluster: 1 });
  }

  /** Launches a kernel as its own module describes it. */
  start(launch: KernelLaunch): void {
    const { kernel, grid, threads, sharedBytes, cluster, parameters } = launch;
    // Not every module has a build of its own for kernels that may begin early.
    const missing = !(launch.module in modules);
    const module = missing ? launch.module.replace(/_sm90$/, "") : launch.module;
    const programmatic = launch.programmatic && !missing;
    this.#launch(
      this.#find(module as ModuleName, kernel, sharedBytes, programmatic),
      grid,
      threads,
      sharedBytes,
      parameters.map((parameter) =>
        parameter instanceof Uint8Array ? parameter : this.#tensorMaps.get(parameter)
      ),
      { programmatic, cluster },
    );
  }

  #launch(
    kernel: Kernel,
    grid: Grid,
    threads: number,
    shared: number,
    args: readonly Argument[],
    traits: LaunchTraits,
  ): void {
    const table = this.#arguments.set(args), { driver, stream } = this;
    const code = traits.programmatic || traits.cluster > 1
      ? driver.cuLaunchKernelEx(
        this.#arguments.configure(grid, threads, shared, stream, traits),
        kernel.handle,
        table,
        0n,
      )
      : driver.cuLaunchKernel(
        kernel.handle,
        grid[0],
        grid[1],
        grid[2] ?? 1,
        threads,
        1,
        1,
        shared,
        stream,
        table,
        0n,
      );
    this.check(code, `launching ${kernel.name}`);
    if (this.#checking) this.#launched.clear();
    this.#launched.add(kernel.name);
    if (this.#checking) this.check(driver.cuStreamSynchronize(stream), `in ${kernel.name}`);
  }

  /** Blocks until all that was launched is done. */
  synchronize(what: string): void {
    this.check(this.driver.cuStreamSynchronize(this.stream), what);
    this.#launched.clear();
  }

  /** Records everything that `record` launches instead of running it. */
  capture(record: () => void): Handle {
    // Thread-local: others of the process go on using the driver meanwhile.
    this.check(this.driver.cuStreamBeginCapture_v2(this.stream, 1), "cuStreamBeginCapture");
    try {
      record();
    } catch (error) {
      this.driver.cuStreamEndCapture(this.stream, new Uint8Array(8));
      throw error;
    }
    const graph = this.#out((to) => this.driver.cuStreamEndCapture(this.stream, to), "cuStreamEndCapture");
    const made = this.#out(
      (to) => this.driver.cuGraphInstantiateWithFlags(to, graph, 0n),
      "cuGraphInstantiate",
    );
    this.check(this.driver.cuGraphDestroy(graph), "cuGraphDestroy");
    return made;
  }

  /** Runs what was captured. */
  replay(graph: Handle): void {
    this.check(this.driver.cuGraphLaunch(graph, this.stream), "cuGraphLaunch");
  }

  /** Ends a captured graph. */
  forget(graph: Handle): void {
    this.check(this.driver.cuGraphExecDestroy(graph), "cuGraphExecDestroy");
  }

  /** An event; without times it is cheaper. */
  event(timing = false): Handle {
    return this.#out((to) => this.driver.cuEventCreate(to, timing ? 0 : 2), "cuEventCreate");
  }

  /** Marks this point of the stream. */
  mark(event: Handle): void {
    this.check(this.driver.cuEventRecord(event, this.stream), "cuEventRecord");
  }

  /** Blocks until the stream has passed the mark. */
  wait(event: Handle): void {
    this.check(this.driver.cuEventSynchronize(event), "waiting for a step");
  }

  /** Milliseconds between two marks that have been passed. */
  elapsed(from: Handle, to: Handle): number {
    const milliseconds = new Float32Array(1);
    this.check(
      this.driver.cuEventElapsedTime(new Uint8Array(milliseconds.buffer), from, to),
      "cuEventElapsedTime",
    );
    return milliseconds[0]!;
  }

  /** Gives memory, modules and stream back; the context stays while others of the process use it. */
  [Symbol.dispose](): void {
    // A lost device gives errors for all of these, and nothing can be done about them.
    this.driver.cuStreamSynchronize(this.stream);
    for (const { address } of this.#live) this.driver.cuMemFree_v2(address);
    this.#pinned.release();
    for (const module of this.#modules.values()) this.driver.cuModuleUnload(module);
    this.driver.cuStreamDestroy_v2(this.stream);
    this.driver.cuDevicePrimaryCtxRelease_v2(this.properties.ordinal);
    this.#live.clear();
    this.#modules.clear();
    this.#kernels.clear();
  }

  /** Which kernels may have caused an error that shows only now. */
  #suspects(): string {
    const names = [...this.#launched];
    if (names.length === 0) return "in a kernel of a step";
    if (names.length === 1) return `in kernel ${names[0]}`;
    return `in one of the kernels ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""} ` +
      "(RADISH_CUDA_CHECK=1 waits after each and names it)";
  }

  #out(call: (to: Uint8Array<ArrayBuffer>) => number, what: string): Handle {
    const value = new BigUint64Array(1);
    this.check(call(new Uint8Array(value.buffer)), what);
    return value[0]!;
  }
}

const text = (value: string) => new TextEncoder().encode(value + "\0");
