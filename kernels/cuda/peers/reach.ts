// Which GPUs can read and write each other's memory, and over what.

import { Code, type Driver } from "../driver.ts";

/**
 * "NVLink" stands for every link with which GPUs can count in each other's memory, which PCIe does not have; "own" is
 * the same GPU.
 */
export type Reach = "NVLink" | "PCIe" | "none" | "own";

/** The driver's number of the attribute. */
const nativeAtomics = 3;

/** How the GPU with one ordinal reaches the memory of another. */
export function reach(driver: Driver, from: number, to: number): Reach {
  if (from === to) return "own";
  const number = new Int32Array(1), result = new Uint8Array(number.buffer);
  if (driver.cuDeviceCanAccessPeer(result, from, to) !== Code.Success || number[0] !== 1) return "none";
  const code = driver.cuDeviceGetP2PAttribute(result, nativeAtomics, from, to);
  return code === Code.Success && number[0] === 1 ? "NVLink" : "PCIe";
}
