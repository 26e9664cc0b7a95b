// A driver that keeps what it is told and answers with codes, for tests of what stands on top of it. Its device memory
// is nothing but addresses; pinned memory is real.

import type { Driver } from "../../../kernels/cuda/driver.ts";
import type { DeviceProperties } from "../../../kernels/cuda/properties.ts";

/** A launch as the driver sees it. */
export interface FakeLaunch {
  readonly kernel: bigint;
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  /** Eight bytes of each of the first arguments. */
  readonly args: DataView;
  /** May begin before the kernel in front of it has ended. */
  readonly early: boolean;
}

/** One fake driver. */
export class FakeDriver {
  /** Names of the calls so far. */
  readonly calls: string[] = [];
  readonly launches: FakeLaunch[] = [];
  /** Codes to give instead of success, by call. */
  readonly fail = new Map<string, number>();
  /** How many times memory is pinned already. */
  stale = 0;
  /** Bytes that are left. */
  free = 2 ** 30;
  #next = 4096n;
  #pinned: { data: Uint8Array<ArrayBuffer>; address: bigint }[] = [];

  /** What the backend takes for the library. */
  readonly driver: Driver = new Proxy({}, {
    get: (_, name: string) => (...args: unknown[]) => {
      this.calls.push(name);
      return this.fail.get(name) ?? this.#answer(name, args);
    },
  }) as Driver;

  #out(to: unknown, value: bigint): number {
    const bytes = to as Uint8Array<ArrayBuffer>;
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(0, value, true);
    return 0;
  }

  /** Words of pinned memory. */
  #words(address: bigint, count: number): Uint32Array<ArrayBuffer> {
    const { data, address: start } = this.#pinned[0]!;
    const at = Number(address - start);
    return new Uint32Array(data.slice(at, at + 4 * count).buffer);
  }

  #launch(kernel: bigint, sizes: readonly number[], table: bigint, early: boolean): number {
    const pointers = new BigUint64Array(this.#words(table, 40).buffer);
    const args = new Uint32Array(2 * pointers.length);
    pointers.forEach((pointer, i) => args.set(this.#words(pointer, 2), 2 * i));
    const [x, y, z, threads] = sizes as [number, number, number, number];
    this.launches.push({ kernel, grid: [x, y, z], threads, args: new DataView(args.buffer), early });
    return 0;
  }

  #answer(name: string, args: unknown[]): number {
    switch (name) {
      case "cuMemAlloc_v2": {
        const bytes = Number(args[1]);
        if (bytes > this.free) return 2;
        this.free -= bytes;
        this.#next += BigInt(bytes);
        return this.#out(args[0], this.#next);
      }
      case "cuMemGetInfo_v2":
        this.#out(args[0], BigInt(this.free));
        return this.#out(args[1], 2n ** 30n);
      case "cuMemHostRegister_v2":
        if (this.stale > 0) {
          this.stale--;
          return 712;
        }
        this.#pinned.push({ data: args[0] as Uint8Array<ArrayBuffer>, address: this.#next <<= 1n });
        return 0;
      case "cuMemHostGetDevicePointer_v2":
        return this.#out(args[0], this.#pinned.find(({ data }) => data === args[1])!.address);
      case "cuLaunchKernel":
        return this.#launch(args[0] as bigint, args.slice(1, 5) as number[], args[9] as bigint, false);
      case "cuLaunchKernelEx": {
        const configuration = this.#words(args[0] as bigint, 14);
        const attribute = new BigUint64Array(configuration.buffer)[5]!;
        const early = configuration[12] === 1 && this.#words(attribute, 3)[0] === 6 &&
          this.#words(attribute, 3)[2] === 1;
        return this.#launch(args[1] as bigint, [...configuration.subarray(0, 4)], args[2] as bigint, early);
      }
      case "cuDeviceCanAccessPeer":
      case "cuDeviceGetP2PAttribute":
        (args[0] as Uint8Array)[0] = 1;
        return 0;
      case "cuMemGetAllocationGranularity":
        return this.#out(args[0], 2n ** 21n);
      case "cuMemAddressReserve":
      case "cuMemCreate":
      case "cuDevicePrimaryCtxRetain":
      case "cuStreamCreate":
      case "cuModuleLoadData":
      case "cuModuleGetFunction":
      case "cuEventCreate":
        return this.#out(args[0], ++this.#next);
      case "cuStreamEndCapture":
        return this.#out(args[1], ++this.#next);
      case "cuGraphInstantiateWithFlags":
        return this.#out(args[0], ++this.#next);
      default:
        return 0;
    }
  }
}

/** A GPU for it. */
export const fakeProperties: DeviceProperties = {
  ordinal: 0,
  name: "a GPU",
  capability: 89,
  multiprocessors: 132,
  memoryBytes: 2 ** 30,
  sharedAddresses: true,
  sharedBytes: 227 * 1024,
  address: "0000:01:00.0",
  uuid: "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f",
};
