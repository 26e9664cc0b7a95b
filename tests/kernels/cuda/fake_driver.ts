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
}

/** One fake driver. */
export class FakeDriver {
  /** Names of the calls so far. */
  readonly calls: string[] = [];
  readonly launches: FakeLaunch[] = [];
  /** Codes to give instead of success, by call. */
  readonly fail = new Map<string, number>();
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
        this.#pinned.push({ data: args[0] as Uint8Array<ArrayBuffer>, address: this.#next <<= 1n });
        return 0;
      case "cuMemHostGetDevicePointer_v2":
        return this.#out(args[0], this.#pinned.find(({ data }) => data === args[1])!.address);
      case "cuLaunchKernel": {
        const { data, address } = this.#pinned[0]!;
        const table = new BigUint64Array(data.buffer, data.byteOffset, 20);
        const bytes = new Uint8Array(8 * table.length);
        table.forEach((pointer, i) => {
          const at = Number(pointer - address);
          bytes.set(data.subarray(at, at + 8), 8 * i);
        });
        this.launches.push({
          kernel: args[0] as bigint,
          grid: [args[1], args[2], args[3]] as [number, number, number],
          threads: args[4] as number,
          args: new DataView(bytes.buffer),
        });
        return 0;
      }
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
  capability: 90,
  multiprocessors: 132,
  memoryBytes: 2 ** 30,
  sharedAddresses: true,
  sharedBytes: 227 * 1024,
  address: "0000:01:00.0",
};
