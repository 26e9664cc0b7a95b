// A small binding to the CUDA driver for benches of single kernels: memory, modules, launches as `KernelLaunch` describes
// them, and times by events around replays of a graph.

import type { KernelLaunch, KernelParameter, TensorMapSpec } from "../../kernels/cuda/gemm/launch.ts";

const symbols = {
  cuInit: { parameters: ["u32"], result: "i32" },
  cuDeviceGet: { parameters: ["buffer", "i32"], result: "i32" },
  cuDeviceGetName: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDevicePrimaryCtxRetain: { parameters: ["buffer", "i32"], result: "i32" },
  cuCtxSetCurrent: { parameters: ["pointer"], result: "i32" },
  cuModuleLoadData: { parameters: ["buffer", "buffer"], result: "i32" },
  cuModuleGetFunction: { parameters: ["buffer", "pointer", "buffer"], result: "i32" },
  cuFuncSetAttribute: { parameters: ["pointer", "i32", "i32"], result: "i32" },
  cuOccupancyMaxActiveBlocksPerMultiprocessor: {
    parameters: ["buffer", "pointer", "i32", "usize"],
    result: "i32",
  },
  cuMemAlloc_v2: { parameters: ["buffer", "usize"], result: "i32" },
  cuMemFree_v2: { parameters: ["u64"], result: "i32" },
  cuMemsetD8_v2: { parameters: ["u64", "u8", "usize"], result: "i32" },
  cuMemcpyDtoH_v2: { parameters: ["buffer", "u64", "usize"], result: "i32" },
  cuMemcpyHtoD_v2: { parameters: ["u64", "buffer", "usize"], result: "i32" },
  cuStreamCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuStreamSynchronize: { parameters: ["pointer"], result: "i32" },
  cuStreamBeginCapture_v2: { parameters: ["pointer", "u32"], result: "i32" },
  cuStreamEndCapture: { parameters: ["pointer", "buffer"], result: "i32" },
  cuGraphInstantiateWithFlags: { parameters: ["buffer", "pointer", "u64"], result: "i32" },
  cuGraphExecDestroy: { parameters: ["pointer"], result: "i32" },
  cuGraphDestroy: { parameters: ["pointer"], result: "i32" },
  cuGraphLaunch: { parameters: ["pointer", "pointer"], result: "i32" },
  cuLaunchKernelEx: { parameters: ["buffer", "pointer", "pointer", "pointer"], result: "i32" },
  cuEventCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuEventRecord: { parameters: ["pointer", "pointer"], result: "i32" },
  cuEventSynchronize: { parameters: ["pointer"], result: "i32" },
  cuEventElapsedTime: { parameters: ["buffer", "pointer", "pointer"], result: "i32" },
  cuTensorMapEncodeTiled: {
    parameters: [
      "buffer",
      "u32",
      "u32",
      "u64",
      "buffer",
      "buffer",
      "buffer",
      "buffer",
      "u32",
      "u32",
      "u32",
      "u32",
    ],
    result: "i32",
  },
} as const;

type Driver = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** A launch whose parameters are laid out. */
export interface Prepared {
  /** What it starts. */
  readonly launch: KernelLaunch;
  /** The kernel. */
  readonly kernel: Deno.PointerObject;
  /** Addresses of the parameters. */
  readonly table: BigUint64Array<ArrayBuffer>;
  /** Keeps them alive. */
  readonly cells: readonly Uint8Array<ArrayBuffer>[];
}

const words = (bytes: Uint8Array | BigUint64Array | Int32Array | Uint32Array | Float32Array) =>
  new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
const cString = (text: string) => new TextEncoder().encode(text + "\0");

/** One GPU and the modules in a folder of PTX files. */
export class Gpu {
  readonly #driver: Driver;
  readonly #stream: Deno.PointerObject;
  readonly #modules = new Map<string, Deno.PointerObject>();
  readonly #kernels = new Map<string, Deno.PointerObject>();
  readonly #events: readonly [Deno.PointerObject, Deno.PointerObject];
  /** For the first line of the output. */
  readonly name: string;
  /** For example 90. */
  readonly capability: number;
  /** Multiprocessors. */
  readonly multiprocessors: number;

  /** `folder` has NAME.ptx for every module. */
  constructor(readonly folder: string) {
    this.#driver = Deno.dlopen(Deno.build.os === "windows" ? "nvcuda.dll" : "libcuda.so.1", symbols).symbols;
    this.#check(this.#driver.cuInit(0), "cuInit");
    const device = new Int32Array(1);
    this.#check(this.#driver.cuDeviceGet(words(device), 0), "cuDeviceGet");
    const context = this.#pointer((out) => this.#driver.cuDevicePrimaryCtxRetain(out, device[0]!), "context");
    this.#check(this.#driver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    this.#stream = this.#pointer((out) => this.#driver.cuStreamCreate(out, 1), "stream");
    const event = () => this.#pointer((out) => this.#driver.cuEventCreate(out, 0), "event");
    this.#events = [event(), event()];
    const text = new Uint8Array(256);
    this.#driver.cuDeviceGetName(text, 256, device[0]!);
    this.name = new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
    const attribute = (which: number) => {
      const value = new Int32Array(1);
      this.#check(this.#driver.cuDeviceGetAttribute(words(value), which, device[0]!), "attribute");
      return value[0]!;
    };
    this.capability = 10 * attribute(75) + attribute(76);
    this.multiprocessors = attribute(16);
  }

  #check(code: number, what: string): void {
    if (code !== 0) throw new Error(`${what}: CUDA error ${code}`);
  }

  #pointer(call: (out: Uint8Array<ArrayBuffer>) => number, what: string): Deno.PointerObject {
    const out = new BigUint64Array(1);
    this.#check(call(words(out)), what);
    return Deno.UnsafePointer.create(out[0]!)!;
  }

  /** Device memory. */
  alloc(bytes: number): bigint {
    const out = new BigUint64Array(1);
    this.#check(this.#driver.cuMemAlloc_v2(words(out), BigInt(bytes)), `allocating ${bytes} bytes`);
    return out[0]!;
  }
  /** Gives it back. */
  free(address: bigint): void {
    this.#check(this.#driver.cuMemFree_v2(address), "cuMemFree");
  }
  /** Sets bytes. */
  fill(address: bigint, byte: number, bytes: number): void {
    this.#check(this.#driver.cuMemsetD8_v2(address, byte, BigInt(bytes)), "cuMemsetD8");
  }
  /** Copies to the device. */
  write(address: bigint, data: ArrayBufferView<ArrayBuffer>): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#check(this.#driver.cuMemcpyHtoD_v2(address, bytes, BigInt(bytes.length)), "cuMemcpyHtoD");
  }
  /** Memory with these contents. */
  upload(data: ArrayBufferView<ArrayBuffer>): bigint {
    const address = this.alloc(Math.max(16, data.byteLength));
    this.write(address, data);
    return address;
  }
  /** Copies from the device, after all work. */
  read(address: bigint, bytes: number): ArrayBuffer {
    this.synchronize();
    const data = new Uint8Array(bytes);
    this.#check(this.#driver.cuMemcpyDtoH_v2(data, address, BigInt(bytes)), "cuMemcpyDtoH");
    return data.buffer;
  }
  /** Waits for all work. */
  synchronize(): void {
    this.#check(this.#driver.cuStreamSynchronize(this.#stream), "cuStreamSynchronize");
  }

  #kernel({ module, kernel, sharedBytes }: KernelLaunch): Deno.PointerObject {
    const key = `${module} ${kernel}`;
    let found = this.#kernels.get(key);
    if (found === undefined) {
      let loaded = this.#modules.get(module);
      if (loaded === undefined) {
        const ptx = cString(Deno.readTextFileSync(`${this.folder}/${module}.ptx`));
        loaded = this.#pointer((out) => this.#driver.cuModuleLoadData(out, ptx), `module ${module}`);
        this.#modules.set(module, loaded);
      }
      const from = loaded;
      found = this.#pointer(
        (out) => this.#driver.cuModuleGetFunction(out, from, cString(kernel)),
        `kernel ${key}`,
      );
      this.#kernels.set(key, found);
      if (Deno.args.includes("--verbose")) console.log(`loaded ${key}`);
      if (sharedBytes > 40 << 10) {
        this.#check(this.#driver.cuFuncSetAttribute(found, 8, sharedBytes), `shared memory of ${key}`);
      }
    }
    return found;
  }

  /** Workgroups of a launch that a multiprocessor holds. */
  occupancy(launch: KernelLaunch): number {
    const out = new Int32Array(1), kernel = this.#kernel(launch);
    this.#check(
      this.#driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(
        words(out),
        kernel,
        launch.threads,
        BigInt(launch.sharedBytes),
      ),
      "occupancy",
    );
    return out[0]!;
  }

  #tensorMap(spec: TensorMapSpec): Uint8Array<ArrayBuffer> {
    const room = new Uint8Array(256);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(room));
    const map = room.subarray(Number((64n - BigInt(address) % 64n) % 64n)).subarray(0, 128);
    const code = this.#driver.cuTensorMapEncodeTiled(
      map,
      spec.element === "bf16" ? 9 : 6,
      2,
      spec.address,
      words(new BigUint64Array([BigInt(spec.columns), BigInt(spec.rows)])),
      words(new BigUint64Array([BigInt(spec.columns * 2)])),
      words(new Uint32Array([64, spec.boxRows])),
      words(new Uint32Array([1, 1])),
      0,
      3,
      3,
      0,
    );
    this.#check(code, "cuTensorMapEncodeTiled");
    return map;
  }

  /** Lays out the parameters. */
  prepare(launch: KernelLaunch): Prepared {
    const kernel = this.#kernel(launch);
    const cells = launch.parameters.map((parameter: KernelParameter) =>
      parameter instanceof Uint8Array ? parameter as Uint8Array<ArrayBuffer> : this.#tensorMap(parameter)
    );
    const table = new BigUint64Array(
      cells.map((cell) => BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(cell)))),
    );
    return { launch, kernel, table, cells };
  }
  /** Starts it; `programmatic` lets it begin while the kernel before it ends, if it can. */
  launch({ launch, kernel, table }: Prepared, programmatic = true): void {
    const config = new DataView(new ArrayBuffer(56)), attributes = new DataView(new ArrayBuffer(2 * 72));
    let count = 0;
    if (launch.cluster > 1) {
      attributes.setUint32(72 * count, 4, true);
      [launch.cluster, 1, 1].forEach((n, i) => attributes.setUint32(72 * count + 8 + 4 * i, n, true));
      count++;
    }
    if (launch.programmatic && programmatic) {
      attributes.setUint32(72 * count, 6, true);
      attributes.setUint32(72 * count + 8, 1, true);
      count++;
    }
    [...launch.grid, launch.threads, 1, 1, launch.sharedBytes].forEach((n, i) =>
      config.setUint32(4 * i, n, true)
    );
    config.setBigUint64(32, BigInt(Deno.UnsafePointer.value(this.#stream)), true);
    config.setBigUint64(
      40,
      BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(attributes.buffer)))),
      true,
    );
    config.setUint32(48, count, true);
    const code = this.#driver.cuLaunchKernelEx(
      new Uint8Array(config.buffer),
      kernel,
      Deno.UnsafePointer.of(table),
      null,
    );
    this.#check(code, `launching ${launch.kernel}`);
  }
  /** Starts and waits. */
  run(launch: KernelLaunch): void {
    this.launch(this.prepare(launch));
    this.#check(this.#driver.cuStreamSynchronize(this.#stream), launch.kernel);
  }

  /** Median microseconds of one of these launches, which run one behind the other in a graph. */
  time(launches: readonly Prepared[], replays = 7, programmatic = true): number {
    this.#check(this.#driver.cuStreamBeginCapture_v2(this.#stream, 1), "capture");
    for (const one of launches) this.launch(one, programmatic);
    const graph = this.#pointer(
      (out) => this.#driver.cuStreamEndCapture(this.#stream, out),
      "end of capture",
    );
    const ready = this.#pointer(
      (out) => this.#driver.cuGraphInstantiateWithFlags(out, graph, 0n),
      "instantiate",
    );
    const [begin, end] = this.#events;
    const times: number[] = [];
    const elapsed = new Float32Array(1);
    for (let i = -1; i < replays; i++) {
      this.#driver.cuEventRecord(begin, this.#stream);
      this.#check(this.#driver.cuGraphLaunch(ready, this.#stream), "cuGraphLaunch");
      this.#driver.cuEventRecord(end, this.#stream);
      this.#check(this.#driver.cuEventSynchronize(end), launches[0]!.launch.kernel);
      this.#driver.cuEventElapsedTime(words(elapsed), begin, end);
      if (i >= 0) times.push(elapsed[0]!);
    }
    this.#driver.cuGraphExecDestroy(ready);
    this.#driver.cuGraphDestroy(graph);
    times.sort((a, b) => a - b);
    return 1000 * times[times.length >> 1]! / launches.length;
  }
}
