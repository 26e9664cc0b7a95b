// The CUDA driver through Deno's foreign-function interface: the calls that the backend needs, and nothing else. The
// library (libcuda.so.1, nvcuda.dll) is part of NVIDIA's GPU driver; no toolkit is needed.

//
// Handles and addresses are numbers (u64), host memory is passed as buffers: so no `Deno.UnsafePointer` is needed, which
// would take the permission to load any library (`--allow-ffi`), instead of this one alone.

/** The calls. Every result is an error code. */
export const symbols = {
  cuInit: { parameters: ["u32"], result: "i32" },
  cuDriverGetVersion: { parameters: ["buffer"], result: "i32" },
  cuDeviceGetCount: { parameters: ["buffer"], result: "i32" },
  cuDeviceGet: { parameters: ["buffer", "i32"], result: "i32" },
  cuDeviceGetName: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceGetUuid: { parameters: ["buffer", "i32"], result: "i32" },
  cuDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceCanAccessPeer: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  cuDeviceGetP2PAttribute: { parameters: ["buffer", "i32", "i32", "i32"], result: "i32" },
  cuDeviceTotalMem_v2: { parameters: ["buffer", "i32"], result: "i32" },
  cuDevicePrimaryCtxRetain: { parameters: ["buffer", "i32"], result: "i32" },
  cuDevicePrimaryCtxRelease_v2: { parameters: ["i32"], result: "i32" },
  cuCtxSetCurrent: { parameters: ["u64"], result: "i32" },
  cuModuleLoadData: { parameters: ["buffer", "buffer"], result: "i32" },
  cuModuleUnload: { parameters: ["u64"], result: "i32" },
  cuModuleGetFunction: { parameters: ["buffer", "u64", "buffer"], result: "i32" },
  cuFuncSetAttribute: { parameters: ["u64", "i32", "i32"], result: "i32" },
  cuMemAlloc_v2: { parameters: ["buffer", "usize"], result: "i32" },
  cuMemFree_v2: { parameters: ["u64"], result: "i32" },
  cuMemGetInfo_v2: { parameters: ["buffer", "buffer"], result: "i32" },
  cuMemGetAllocationGranularity: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  cuMemCreate: { parameters: ["buffer", "usize", "buffer", "u64"], result: "i32" },
  cuMemAddressReserve: { parameters: ["buffer", "usize", "usize", "u64", "u64"], result: "i32" },
  cuMemMap: { parameters: ["u64", "usize", "usize", "u64", "u64"], result: "i32" },
  cuMemSetAccess: { parameters: ["u64", "usize", "buffer", "usize"], result: "i32" },
  cuMemUnmap: { parameters: ["u64", "usize"], result: "i32" },
  cuMemAddressFree: { parameters: ["u64", "usize"], result: "i32" },
  cuMemRelease: { parameters: ["u64"], result: "i32" },
  cuMemHostRegister_v2: { parameters: ["buffer", "usize", "u32"], result: "i32" },
  cuMemHostUnregister: { parameters: ["buffer"], result: "i32" },
  cuMemHostGetDevicePointer_v2: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  cuMemsetD32Async: { parameters: ["u64", "u32", "usize", "u64"], result: "i32" },
  cuMemcpyHtoDAsync_v2: { parameters: ["u64", "u64", "usize", "u64"], result: "i32" },
  /** The same, from memory that the driver does not know. */
  copyFromBuffer: {
    name: "cuMemcpyHtoDAsync_v2",
    parameters: ["u64", "buffer", "usize", "u64"],
    result: "i32",
  },
  cuMemcpyDtoH_v2: { parameters: ["buffer", "u64", "usize"], result: "i32" },
  cuMemcpyDtoHAsync_v2: { parameters: ["u64", "u64", "usize", "u64"], result: "i32" },
  cuMemcpyDtoDAsync_v2: { parameters: ["u64", "u64", "usize", "u64"], result: "i32" },
  cuStreamCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuStreamDestroy_v2: { parameters: ["u64"], result: "i32" },
  cuStreamSynchronize: { parameters: ["u64"], result: "i32" },
  cuStreamBeginCapture_v2: { parameters: ["u64", "u32"], result: "i32" },
  cuStreamEndCapture: { parameters: ["u64", "buffer"], result: "i32" },
  cuGraphInstantiateWithFlags: { parameters: ["buffer", "u64", "u64"], result: "i32" },
  cuGraphLaunch: { parameters: ["u64", "u64"], result: "i32" },
  cuGraphDestroy: { parameters: ["u64"], result: "i32" },
  cuGraphExecDestroy: { parameters: ["u64"], result: "i32" },
  cuLaunchKernel: {
    parameters: [
      "u64",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "u32",
      "u64",
      "u64",
      "u64",
    ],
    result: "i32",
  },
  cuTensorMapEncodeTiled: {
    parameters: [
      "buffer",
      "u32",
      "u32",
      "u64",
      "buffer",
      "buffer",
      "buffer",
      "buffer",
      "u32",
      "u32",
      "u32",
      "u32",
    ],
    result: "i32",
  },
  cuLaunchKernelEx: { parameters: ["u64", "u64", "u64", "u64"], result: "i32" },
  cuEventCreate: { parameters: ["buffer", "u32"], result: "i32" },
  cuEventRecord: { parameters: ["u64", "u64"], result: "i32" },
  cuEventSynchronize: { parameters: ["u64"], result: "i32" },
  cuEventElapsedTime: { parameters: ["buffer", "u64", "u64"], result: "i32" },
} as const;

/** The driver's calls. */
export type Driver = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** A handle that the driver gave. */
export type Handle = bigint;

/** Where the library is, on systems that have one; a release is permitted to load these and no others. */
export const libraryPaths: Readonly<Record<"linux" | "windows", readonly string[]>> = {
  linux: [
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/run/opengl-driver/lib/libcuda.so.1",
  ],
  windows: ["C:\\Windows\\System32\\nvcuda.dll"],
};

/** What the library is called, for messages; null where there is no such driver. */
export function libraryName(): string | null {
  return Deno.build.os === "linux" ? "libcuda.so.1" : Deno.build.os === "windows" ? "nvcuda.dll" : null;
}

/** Opens the library; null where it is not there. */
export function openDriver(): Driver | null {
  const name = libraryName();
  if (name === null) return null;
  // By its name alone the system finds it wherever it is; that takes the permission for all libraries.
  const free = Deno.permissions.querySync({ name: "ffi" }).state === "granted";
  const paths = libraryPaths[Deno.build.os as keyof typeof libraryPaths];
  for (const path of free ? [name, ...paths] : paths) {
    try {
      // Never closed: other threads of the process may use it, and the driver does not like to be unloaded.
      return Deno.dlopen(path, symbols).symbols;
    } catch {
      // Not there, or not permitted.
    }
  }
  return null;
}

/** Attributes of a device, by the driver's numbers. */
export const Attribute = {
  MultiprocessorCount: 16,
  PciBusId: 33,
  PciDeviceId: 34,
  PciDomainId: 50,
  CapabilityMajor: 75,
  CapabilityMinor: 76,
  HostPointersAreDevicePointers: 91,
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
  HostMemoryAlreadyRegistered: 712,
  IllegalInstruction: 715,
  MisalignedAddress: 716,
  LaunchFailed: 719,
} as const;
