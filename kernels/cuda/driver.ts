// The CUDA driver through Deno's foreign-function interface: the calls that the backend needs, and nothing else. The
// library (libcuda.so.1, nvcuda.dll) is part of NVIDIA's GPU driver; no toolkit is needed.

/** The calls. Handles are pointers, device addresses 64-bit numbers; every result is an error code. */
const symbols = {
  cuInit: { parameters: ["u32"], result: "i32" },
  cuDriverGetVersion: { parameters: ["buffer"], result: "i32" },
  cuDeviceGetCount: { parameters: ["buffer"], result: "i32" },
  cuDeviceGet: { parameters: ["buffer", "i32"], result: "i32" },
  cuDeviceGetByPCIBusId: { parameters: ["buffer", "buffer"], result: "i32" },
  cuDeviceGetName: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceTotalMem_v2: { parameters: ["buffer", "i32"], result: "i32" },
  cuDevicePrimaryCtxRetain: { parameters: ["buffer", "i32"], result: "i32" },
  cuDevicePrimaryCtxRelease_v2: { parameters: ["i32"], result: "i32" },
  cuCtxSetCurrent: { parameters: ["pointer"], result: "i32" },
  cuCtxSynchronize: { parameters: [], result: "i32" },
  cuModuleLoadData: { parameters: ["buffer", "buffer"], result: "i32" },
  cuModuleUnload: { parameters: ["pointer"], result: "i32" },
  cuModuleGetFunction: { parameters: ["buffer", "pointer", "buffer"], result: "i32" },
  cuFuncSetAttribute: { parameters: ["pointer", "i32", "i32"], result: "i32" },
  cuMemAlloc_v2: { parameters: ["buffer", "usize"], result: "i32" },
  cuMemFree_v2: { parameters: ["u64"], result: "i32" },
  cuMemGetInfo_v2: { parameters: ["buffer", "buffer"], result: "i32" },
  cuMemAllocHost_v2: { parameters: ["buffer", "usize"], result: "i32" },
  cuMemFreeHost: { parameters: ["pointer"], result: "i32" },
  cuMemsetD32Async: { parameters: ["u64", "u32", "usize", "pointer"], result: "i32" },
  cuMemcpyHtoDAsync_v2: { parameters: ["u64", "pointer", "usize", "pointer"], result: "i32" },
  cuMemcpyDtoH_v2: { parameters: ["buffer", "u64", "usize"], result: "i32" },
  cuMemcpyDtoHAsync_v2: { parameters: ["pointer", "u64", "usize", "pointer"], result: "i32" },
  cuMemcpyDtoDAsync_v2: { parameters: ["u64", "u64", "usize", "pointer"], result: "i32" },
  cuStreamCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuStreamDestroy_v2: { parameters: ["pointer"], result: "i32" },
  cuStreamSynchronize: { parameters: ["pointer"], result: "i32" },
  cuStreamBeginCapture_v2: { parameters: ["pointer", "u32"], result: "i32" },
  cuStreamEndCapture: { parameters: ["pointer", "buffer"], result: "i32" },
  cuGraphInstantiateWithFlags: { parameters: ["buffer", "pointer", "u64"], result: "i32" },
  cuGraphLaunch: { parameters: ["pointer", "pointer"], result: "i32" },
  cuGraphDestroy: { parameters: ["pointer"], result: "i32" },
  cuGraphExecDestroy: { parameters: ["pointer"], result: "i32" },
  cuLaunchKernel: {
    parameters: [
      "pointer",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "pointer",
      "pointer",
      "pointer",
    ],
    result: "i32",
  },
  cuEventCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuEventDestroy_v2: { parameters: ["pointer"], result: "i32" },
  cuEventRecord: { parameters: ["pointer", "pointer"], result: "i32" },
  cuEventSynchronize: { parameters: ["pointer"], result: "i32" },
  cuEventElapsedTime: { parameters: ["buffer", "pointer", "pointer"], result: "i32" },
} as const;

/** The driver's calls. */
export type Driver = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** A handle that the driver gave. */
export type Handle = Deno.PointerObject;

/** Name of the library on this system, or null where there is no such driver. */
export function libraryName(): string | null {
  switch (Deno.build.os) {
    case "linux":
      return "libcuda.so.1";
    case "windows":
      return "nvcuda.dll";
    default:
      return null;
  }
}

/** Opens the library; throws what `Deno.dlopen` throws where it is not there. */
export function openDriver(): Driver {
  const name = libraryName();
  if (name === null) throw new Error(`there is no CUDA for ${Deno.build.os}`);
  // Never closed: other threads of the process may use it, and the driver does not like to be unloaded.
  return Deno.dlopen(name, symbols).symbols;
}

/** Attributes of a device, by the driver's numbers. */
export const Attribute = {
  MultiprocessorCount: 16,
  PciBusId: 33,
  PciDeviceId: 34,
  PciDomainId: 50,
  CapabilityMajor: 75,
  CapabilityMinor: 76,
  SharedBytesPerBlockOptIn: 97,
} as const;

/** Attribute of a function: most dynamic shared memory. */
export const maxDynamicSharedBytes = 8;

/** Results that are told apart. */
export const Code = {
  Success: 0,
  OutOfMemory: 2,
  NoDevice: 100,
  DeviceUnavailable: 46,
  InvalidContext: 201,
  InvalidPtx: 218,
  UnsupportedPtx: 222,
  IllegalAddress: 700,
  LaunchOutOfResources: 701,
  LaunchTimeout: 702,
  IllegalInstruction: 715,
  MisalignedAddress: 716,
  LaunchFailed: 719,
} as const;
