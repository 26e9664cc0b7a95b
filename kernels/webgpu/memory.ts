// How much memory a device gives. WebGPU does not say, so it is tried: buffers are allocated until one is refused,
// and given back at once. On a device of its own, so that a refusal cannot hurt the one that is used.

import { type GpuDevice, openDevice, requestAdapter } from "./device.ts";

/** Bytes of one trial allocation. */
const trialBytes = 2 ** 30;

/**
 * Share of the system's memory beyond which nothing is tried: on a GPU that shares it, a driver may grant more than
 * the system can spare, and find out when it is used.
 */
const systemShare = 0.75;

/** Trying takes about 40 ms a GiB, so more than this beyond what is needed for certain is not tried. */
const spareBytes = 24 * 2 ** 30;

/**
 * Bytes that may be allocated: found by trying on a GPU, half of what is free on a software one.
 *
 * @param neededBytes What will be allocated in any case, such as the weights; bounds how much is tried.
 * @returns null where the adapter is gone by now.
 */
export async function probeMemory(gpu: GpuDevice, neededBytes: number | null): Promise<number | null> {
  const { total, available } = Deno.systemMemoryInfo();
  if (gpu.caps.software) return Math.floor(available / 2);
  const adapter = await requestAdapter();
  if (adapter === null) return null;
  const most = Math.min(total * systemShare, neededBytes === null ? Infinity : neededBytes + spareBytes);
  const device = await openDevice(adapter);
  const size = Math.min(trialBytes, device.limits.maxBufferSize);
  const buffers: GPUBuffer[] = [];
  try {
    while ((buffers.length + 1) * size <= most) {
      device.pushErrorScope("out-of-memory");
      device.pushErrorScope("validation");
      buffers.push(device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }));
      const errors = [device.popErrorScope(), device.popErrorScope()];
      if ((await Promise.all(errors)).some((error) => error !== null)) return (buffers.length - 1) * size;
    }
    return buffers.length * size;
  } finally {
    for (const buffer of buffers) buffer.destroy();
    device.destroy();
  }
}
