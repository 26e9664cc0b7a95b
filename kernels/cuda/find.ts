// Whether there is a driver and a GPU that the backend can use, and if not, why: one line that says what to do.

import { Code, type Driver, libraryName, openDriver } from "./driver.ts";
import { CudaError, cudaError } from "./errors.ts";
import { type Reach, reach } from "./peers/reach.ts";
import { type DeviceProperties, listDevices } from "./properties.ts";

/** PTX of the kernels is that of CUDA 12.4, which drivers know from 550 on. */
const leastCuda = 12_040, leastDriver = 550;

/** Ampere: cp.async, bfloat16 on the matrix units. Major · 10 + minor. */
const leastCapability = 80;

/** What `doctor` says. */
export interface CudaReport {
  /** For example "580.95.05", where the system tells; null where there is no driver. */
  readonly driver: string | null;
  /** For example "13.0"; null where there is no driver. */
  readonly cuda: string | null;
  /** All GPUs of this process. */
  readonly devices: readonly DeviceProperties[];
  /** How each of them reaches the memory of each. */
  readonly reach: readonly (readonly Reach[])[];
  /** Why there is nothing to use; null if there is. */
  readonly problem: string | null;
}

/** Looks, and never throws. */
export async function probeCuda(): Promise<CudaReport> {
  let found: Found | null = null;
  try {
    found = findDriver();
    const devices = listDevices(found.driver);
    const problem = devices.some(isUsable) ? null : tooOld(devices);
    const { driver, version } = found;
    const links = devices.map(({ ordinal }) => devices.map((to) => reach(driver, ordinal, to.ordinal)));
    return { driver: await driverVersion(), cuda: cudaVersion(version), devices, reach: links, problem };
  } catch (error) {
    return {
      driver: found && await driverVersion(),
      cuda: found && cudaVersion(found.version),
      devices: [],
      reach: [],
      problem: error instanceof Error ? error.message : String(error),
    };
  }
}

/** The GPUs that can be used, as `--gpus` and `--tp` know them. */
export async function listCudaGpus(): Promise<
  { address: string; kind: string; name: string; uuid: string }[]
> {
  const { devices } = await probeCuda();
  return devices.filter(isUsable).map(({ address, name, uuid }) => ({ address, kind: name, name, uuid }));
}

/** The device in words. */
export async function describe({ name, capability }: DeviceProperties): Promise<string> {
  const version = await driverVersion();
  return `${name} (CUDA${version === null ? "" : `, driver ${version}`}, compute capability ${
    decimal(capability)
  })`;
}

/** A driver that can be used. */
export interface Found {
  /** The library. */
  readonly driver: Driver;
  /** As the driver gives it: 12040 is 12.4. */
  readonly version: number;
}

/** The driver, ready. @throws {CudaError} saying what is missing */
export function findDriver(): Found {
  const name = libraryName();
  if (name === null) throw new CudaError(`there is no CUDA for ${Deno.build.os}`);
  const driver = openDriver();
  if (driver === null) {
    throw new CudaError(
      `there is no NVIDIA driver (${name} is not there): install NVIDIA's driver ${leastDriver} or newer`,
    );
  }
  const code = driver.cuInit(0);
  if (code !== Code.Success) throw cudaError(code, "cuInit");
  const version = new Int32Array(1);
  driver.cuDriverGetVersion(new Uint8Array(version.buffer));
  if (version[0]! < leastCuda) {
    throw new CudaError(
      `NVIDIA's driver is too old: it knows CUDA ${cudaVersion(version[0]!)}, but ${
        cudaVersion(leastCuda)
      } is needed: ` +
        `install driver ${leastDriver} or newer`,
    );
  }
  return { driver, version: version[0]! };
}

/** Whether the kernels run on it. */
export const isUsable = ({ capability, sharedAddresses }: DeviceProperties): boolean =>
  capability >= leastCapability && sharedAddresses;

/** Why none of these can be used. */
export function tooOld(devices: readonly DeviceProperties[]): string {
  if (devices.length === 0) return cudaError(Code.NoDevice, "cuDeviceGetCount").message;
  const list = devices.map(({ name, capability }) => `${name} has ${decimal(capability)}`).join(", ");
  return devices.every(({ capability }) => capability < leastCapability)
    ? `no GPU of compute capability ${decimal(leastCapability)} or more: ${list}`
    : "the driver gives host memory another address on the GPU, which is not supported";
}

const decimal = (capability: number) => `${Math.floor(capability / 10)}.${capability % 10}`;
const cudaVersion = (version: number) => `${Math.floor(version / 1000)}.${version % 1000 / 10}`;

/** Linux tells; elsewhere it is not known. */
async function driverVersion(): Promise<string | null> {
  try {
    const text = await Deno.readTextFile("/proc/driver/nvidia/version");
    return /\b\d{3,}\.\d+(\.\d+)?\b/.exec(text)?.[0] ?? null;
  } catch {
    return null;
  }
}
