// How much memory a device gives. WebGPU does not say, so it is tried: buffers are allocated until one is refused,
// and given back at once. On a device of its own, so that a refusal cannot hurt the one that is used.

import { type GpuDevice, openDevice, requestAdapter } from "./device.ts";

/** Bytes of one trial allocation, where a buffer may be as large. */
const trialBytes = 4 * 2 ** 30;

/**
 * Share of the system's memory beyond which nothing is tried: on a GPU that shares it, a driver may grant more than
 * the system can spare, and find out when it is used.
 */
const systemShare = 0.75;

/**
 * Bytes that may be allocated: found by trying on a GPU, half of what is free on a software one.
 *
 * @returns null where the adapter is gone by now.
 */
export async function probeMemory(gpu: GpuDevice): Promise<number | null> {
  const { total, available } = Deno.systemMemoryInfo();
  if (gpu.caps.software) return Math.floor(available / 2);
  const adapter = await requestAdapter();
  if (adapter === null) return null;
  const device = await openDevice(adapter);
  const size = Math.min(trialBytes, device.limits.maxBufferSize);
  const buffers: GPUBuffer[] = [];
  try {
    while ((buffers.length + 1) * size <= total * systemShare) {
      device.pushErrorScope("out-of-memory");
      const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
      if (await device.popErrorScope() !== null) break;
      buffers.push(buffer);
    }
    return buffers.length * size;
  } finally {
    for (const buffer of buffers) buffer.destroy();
    device.destroy();
  }
}
