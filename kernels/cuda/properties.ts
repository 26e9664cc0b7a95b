// What the driver tells about the GPUs of this process, before one of them is used.

import { Attribute, Code, type Driver } from "./driver.ts";
import { cudaError } from "./errors.ts";

/** What is known about a GPU without using it. */
export interface DeviceProperties {
  /** The driver's number of it. */
  readonly ordinal: number;
  /** For example "NVIDIA H100 80GB HBM3". */
  readonly name: string;
  /** Major · 10 + minor. */
  readonly capability: number;
  /** Number of multiprocessors. */
  readonly multiprocessors: number;
  /** All of its memory. */
  readonly memoryBytes: number;
  /** Whether pinned memory has one address for host and device, which arguments of launches rely on. */
  readonly sharedAddresses: boolean;
  /** Most shared memory of a block. */
  readonly sharedBytes: number;
  /** For example "0000:17:00.0". */
  readonly address: string;
  /** For example "GPU-4f2c0e5a-5d0e-9f3b-6a51-0c1b8d7e9f10", as nvidia-smi -L gives it. */
  readonly uuid: string;
}

/** All GPUs that the driver shows to this process. */
export function listDevices(driver: Driver): DeviceProperties[] {
  const number = new Int32Array(1);
  const ask = (call: (to: Uint8Array<ArrayBuffer>) => number, what: string) => {
    const code = call(new Uint8Array(number.buffer));
    if (code !== Code.Success) throw cudaError(code, what);
    return number[0]!;
  };
  const count = ask((to) => driver.cuDeviceGetCount(to), "cuDeviceGetCount");
  return Array.from({ length: count }, (_, ordinal) => {
    const device = ask((to) => driver.cuDeviceGet(to, ordinal), "cuDeviceGet");
    const attribute = (which: number) =>
      ask((to) => driver.cuDeviceGetAttribute(to, which, device), "attribute");
    const name = new Uint8Array(256), memory = new BigUint64Array(1), uuid = new Uint8Array(16);
    driver.cuDeviceGetUuid(uuid, device);
    driver.cuDeviceGetName(name, name.length, device);
    driver.cuDeviceTotalMem_v2(new Uint8Array(memory.buffer), device);
    const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
    return {
      ordinal: device,
      name: new TextDecoder().decode(name).replace(/\0.*$/s, ""),
      capability: 10 * attribute(Attribute.CapabilityMajor) + attribute(Attribute.CapabilityMinor),
      multiprocessors: attribute(Attribute.MultiprocessorCount),
      memoryBytes: Number(memory[0]),
      sharedAddresses: attribute(Attribute.HostPointersAreDevicePointers) === 1,
      sharedBytes: attribute(Attribute.SharedBytesPerBlockOptIn),
      address: `${hex(attribute(Attribute.PciDomainId), 4)}:${hex(attribute(Attribute.PciBusId), 2)}:` +
        `${hex(attribute(Attribute.PciDeviceId), 2)}.0`,
      uuid: "GPU-" + uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"),
    };
  });
}
