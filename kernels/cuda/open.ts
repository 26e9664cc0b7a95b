// Opens the GPU that a backend runs on.

import { CudaDevice } from "./device.ts";
import { CudaError } from "./errors.ts";
import { findDriver, isUsable, tooOld } from "./find.ts";
import { listDevices } from "./properties.ts";

/**
 * Opens the GPU at a bus address, or the first that can be used.
 *
 * @throws {CudaError} where there is none, with what to do.
 */
export function openDevice(address: string | null): CudaDevice {
  const { driver } = findDriver();
  const devices = listDevices(driver);
  const chosen = address === null
    ? devices.find(isUsable)
    : devices.find((device) => device.address === address && isUsable(device));
  if (chosen === undefined) {
    const there = devices.find((device) => device.address === address);
    throw new CudaError(
      address !== null && there === undefined
        ? `the CUDA driver shows no GPU at ${address} (see CUDA_VISIBLE_DEVICES)`
        : tooOld(there ? [there] : devices),
    );
  }
  const checking = Deno.env.get("RADISH_CUDA_CHECK") === "1";
  return new CudaDevice(driver, chosen, checking);
}
