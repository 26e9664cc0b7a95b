import type { DeviceCaps } from "../../kernels/webgpu/shader/kernel.ts";

/** As an NVIDIA card describes itself. */
export const largeGpu: DeviceCaps = {
  minSubgroup: 32,
  maxSubgroup: 32,
  f16: true,
  maxWorkgroupBytes: 49152,
  maxWorkgroupThreads: 1024,
  maxBindingBytes: 2 ** 31 - 4,
  parallelism: 512,
  software: false,
};
