// Memory of one GPU that other GPUs of the process read and write under the same address. Only this memory is shared:
// switching peer access on between contexts would share all of it, and every later allocation or release would then wait
// for kernels on all GPUs, which themselves may be waiting for the rank that allocates.

import type { CudaDevice } from "../device.ts";
import { Code, type Driver } from "../driver.ts";
import { cudaError } from "../errors.ts";

/** Where it is, and what must be known to give it back, which any rank may do. */
export interface SharedMemory {
  /** The same on all GPUs. */
  readonly address: bigint;
  /** Its size, a multiple of what the driver maps at a time. */
  readonly bytes: number;
}

/** The driver's numbers: memory that stays in its place, of a device, that may be read and written. */
const pinned = 1, onDevice = 1, readAndWrite = 3;

/** Allocates zeroed memory on a device for GPUs with these ordinals. @throws {CudaError} */
export function shareMemory(device: CudaDevice, bytes: number, ordinals: readonly number[]): SharedMemory {
  const { driver, properties: { ordinal } } = device;
  const number = new BigUint64Array(1), to = new Uint8Array(number.buffer);
  const check = (code: number, what: string) => {
    if (code !== Code.Success) throw cudaError(code, what);
    return number[0]!;
  };
  // CUmemAllocationProp: type, handles asked for, location (type, id), and what does not matter here.
  const properties = new Uint8Array(Int32Array.of(pinned, 0, onDevice, ordinal, 0, 0, 0, 0).buffer);
  const unit = check(
    driver.cuMemGetAllocationGranularity(to, properties, 0),
    "cuMemGetAllocationGranularity",
  );
  const size = (BigInt(bytes) + unit - 1n) / unit * unit;
  const address = check(driver.cuMemAddressReserve(to, size, 0n, 0n, 0n), "cuMemAddressReserve");
  using stack = new DisposableStack();
  stack.defer(() => driver.cuMemAddressFree(address, size));
  const handle = check(driver.cuMemCreate(to, size, properties, 0n), `cuMemCreate of ${size} bytes`);
  const mapped = driver.cuMemMap(address, size, 0n, handle, 0n);
  // The mapping keeps it.
  driver.cuMemRelease(handle);
  check(mapped, "cuMemMap");
  stack.defer(() => driver.cuMemUnmap(address, size));
  const access = Int32Array.from(ordinals.flatMap((other) => [onDevice, other, readAndWrite]));
  const allowed = driver.cuMemSetAccess(
    address,
    size,
    new Uint8Array(access.buffer),
    BigInt(ordinals.length),
  );
  check(allowed, `cuMemSetAccess for ${ordinals.length} GPUs`);
  device.fill(address, 0, Number(size) / 4);
  device.synchronize("zeroing shared memory");
  stack.move();
  return { address, bytes: Number(size) };
}

/** Gives it back; errors say nothing new by then. */
export function releaseMemory(driver: Driver, { address, bytes }: SharedMemory): void {
  driver.cuMemUnmap(address, BigInt(bytes));
  driver.cuMemAddressFree(address, BigInt(bytes));
}
