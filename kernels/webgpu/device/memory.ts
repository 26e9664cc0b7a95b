// How much memory a device gives. WebGPU does not say, so it is tried: buffers are allocated until one is refused, and
// freed at once. This happens on a second device, so that a refusal cannot harm the one that is used.

import { NoAdapterError, openDevice, requestAdapter } from "./device.ts";

/** Bytes of one trial allocation. */
const trialBytes = 2 ** 30;

/**
 * How many of `bytes` may be allocated, in steps of a gibibyte of about 40 ms each.
 *
 * @throws {NoAdapterError} where the adapter is gone by now.
 */
export async function probeMemory(bytes: number): Promise<number> {
  const adapter = await requestAdapter();
  if (adapter === null) throw new NoAdapterError();
  const device = await openDevice(adapter);
  const size = Math.min(trialBytes, device.limits.maxBufferSize);
  const buffers: GPUBuffer[] = [];
  try {
    while (buffers.length * size < bytes) {
      device.pushErrorScope("out-of-memory");
      device.pushErrorScope("validation");
      const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
      const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
      if (errors.some((error) => error !== null)) break;
      buffers.push(buffer);
    }
    return Math.min(bytes, buffers.length * size);
  } finally {
    for (const buffer of buffers) buffer.destroy();
    device.destroy();
  }
}
