// The compiled kernels and the memories they run on.
//
// There are two builds of one source: with relaxed SIMD (fused multiply-add) and without; the machine decides.
// V8 checks the bounds of each access, and keeps the size of a shared memory in a register only if the memory
// cannot grow. So the module imports a memory of fixed size: 4 GiB of addresses, of which the system gives pages
// when they are first touched. Where so much address space is not to be had the size is halved, and the limits in
// the module's import are rewritten to match. Models that need more take several memories, see `bank.ts`.

import plainText from "./wasm/plain.txt" with { type: "text" };
import relaxedText from "./wasm/relaxed.txt" with { type: "text" };

/** What the module exports; see `assembly/`. Addresses and counts are unsigned 32-bit numbers. */
export interface KernelExports {
  /** Runs `count` operations as one of the threads; 0 if another thread failed. */
  run(program: number, count: number, thread: number, threads: number): number;
  /** Makes every thread leave its barrier. */
  fail(): void;
  /** Bytes of a panel in a format, by its number. */
  panelBytes(format: number, columns: number): number;
  /** Brings rows into a panel: see `formatFunctions` in `formats.ts`, with the format's number in front. */
  writeRows(...args: number[]): void;
  /** Index of the first of the largest numbers. */
  argmax(x: number, count: number): number;
  /** Σ e^((x − shift) · factor). */
  expSum(x: number, count: number, shift: number, factor: number): number;
  /** Writes the indices of numbers ≥ limit, at most `capacity` of them; returns how many there are. */
  collect(x: number, count: number, limit: number, to: number, capacity: number): number;
  /** Writes x · factor + Gumbel noise to `noisy`, −∞ where x < limit; returns the largest. */
  noisyMaximum(x: number, count: number, factor: number, limit: number, key: number, noisy: number): number;
}

/** A module and the size of the memories it can run on. */
export interface Kernels {
  /** Compiled for memories of `pages`. */
  readonly module: WebAssembly.Module;
  /** Of 64 KiB. */
  readonly pages: number;
  /** Whether multiply-add is fused. */
  readonly relaxed: boolean;
}

/** A page of WebAssembly. */
export const wasmPageBytes = 65536;
/** Pages of 4 GiB, the limits as built. */
const mostPages = 65536;
/** Below this nothing useful fits. */
const fewestPages = 4096;

/**
 * Compiles the build that this machine can run, for the largest memory that it gives. `pages` (of 64 KiB) and
 * `plain` ask for less, for tests.
 */
export function compileKernels(pages = largestMemory(), plain = false): Kernels {
  const relaxedBytes = Uint8Array.fromBase64(relaxedText);
  const relaxed = !plain && WebAssembly.validate(relaxedBytes);
  const bytes = relaxed ? relaxedBytes : Uint8Array.fromBase64(plainText);
  return { module: new WebAssembly.Module(withMemoryLimits(bytes, pages)), pages, relaxed };
}

/** A new memory of the module's size. Throws a RangeError when there is no room for it. */
export function createMemory(pages: number): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** The module's functions, on a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): KernelExports {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as KernelExports;
}

function largestMemory(): number {
  for (let pages = mostPages; pages > fewestPages; pages /= 2) {
    try {
      createMemory(pages);
      return pages;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  return fewestPages;
}

/** Rewrites the limits of the imported memory: shared, minimum = maximum = 65536 as built. */
function withMemoryLimits(bytes: Uint8Array<ArrayBuffer>, pages: number): Uint8Array<ArrayBuffer> {
  const built = [0x02, 0x03, ...paddedLeb(mostPages), ...paddedLeb(mostPages)];
  const at = bytes.findIndex((_, i) => built.every((byte, j) => bytes[i + j] === byte));
  if (at < 0) throw new Error("the kernel module does not import a memory as expected");
  const patched = bytes.slice();
  patched.set([...paddedLeb(pages), ...paddedLeb(pages)], at + 2);
  return patched;
}

/** A number below 2²¹ in three bytes of LEB128. */
function paddedLeb(value: number): number[] {
  return [value & 0x7f | 0x80, value >> 7 & 0x7f | 0x80, value >> 14];
}
