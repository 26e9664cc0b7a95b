// What the driver's error codes mean for whoever sees them, in one line that says what to do.

import { Code } from "./driver.ts";

/** An error of the driver or of a kernel; the device may be unusable afterwards. */
export class CudaError extends Error {
  /** The error's name. */
  override readonly name = "CudaError";

  /** `code` is the driver's number, 0 where there is none. */
  constructor(message: string, readonly code = 0) {
    super(message);
  }
}

/** After these every further call in the process fails in the same way. */
const sticky: readonly number[] = [
  Code.IllegalAddress,
  Code.LaunchTimeout,
  Code.IllegalInstruction,
  Code.MisalignedAddress,
  Code.LaunchFailed,
];

/** Whether the device's context is lost. */
export const isSticky = (code: number): boolean => sticky.includes(code);

/** What to do when memory is used up. */
const spareMemory =
  "give a smaller --memory or --num-pages, choose a smaller model or --dtype int8, or end the " +
  "process that holds the memory (nvidia-smi lists them)";

const meanings: Readonly<Record<number, string>> = {
  [Code.OutOfMemory]: `the GPU's memory is used up: ${spareMemory}`,
  [Code.NoDevice]:
    "there is no NVIDIA GPU that this process may use (see nvidia-smi and CUDA_VISIBLE_DEVICES)",
  [Code.DeviceUnavailable]:
    "another process has the GPU for itself (nvidia-smi shows its compute mode): end it, or choose another GPU",
  [Code.InvalidPtx]: "the driver cannot compile the kernels: update NVIDIA's driver to 550 or newer",
  [Code.UnsupportedPtx]: "the driver is too old for the kernels: update NVIDIA's driver to 550 or newer",
  [Code.IllegalAddress]: "a kernel read or wrote outside of its memory",
  [Code.LaunchOutOfResources]: "a kernel asks for more registers or shared memory than the GPU has",
  [Code.LaunchTimeout]:
    "a kernel ran longer than the system allows (a GPU that drives a display has a limit)",
  [Code.IllegalInstruction]: "a kernel has an instruction that this GPU does not know",
  [Code.MisalignedAddress]: "a kernel used an address that is not aligned",
  [Code.LaunchFailed]: "a kernel failed",
};

/** The error for a code that is not 0; `what` is the call, or where the kernels stand that may have caused it. */
export function cudaError(code: number, what: string): CudaError {
  const meaning = meanings[code] ?? "the CUDA driver reports an error";
  return new CudaError(`CUDA error ${code} (${what}): ${meaning}`, code);
}

/** The error for `size` bytes that are not free of the GPU's `total`. */
export function outOfMemory(what: string, size: number, free: number, total: number): CudaError {
  const message = `${what} takes ${gib(size)}, but of the GPU's ${gib(total)} only ${gib(free)} are free: `;
  return new CudaError(message + spareMemory, Code.OutOfMemory);
}

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
