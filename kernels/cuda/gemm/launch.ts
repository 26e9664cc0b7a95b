// What a backend needs to know to start a kernel, as plain data: no driver, no state. Pointers are device addresses.

/** A module of kernels that is compiled ahead. */
export interface ModuleSpec {
  /** What {@link KernelLaunch.module} calls it. */
  readonly name: string;
  /** CUDA C++ source, from `kernels/cuda/`. */
  readonly source: string;
  /** `compute_90a` for modules with wgmma, which run on compute capability 9.0 and no other. */
  readonly architecture: "compute_80" | "compute_90" | "compute_90a";
  /** Macros. */
  readonly defines: Readonly<Record<string, string | number>>;
}

/** The module, and the same for compute capability 9.0 and later, whose kernels are programmatic. */
export function withOverlap(spec: ModuleSpec): ModuleSpec[] {
  return [spec, { ...spec, name: `${spec.name}_sm90`, architecture: "compute_90" }];
}

/** Which of the two a device takes. */
export function overlapping(name: string, capability: number): { module: string; programmatic: boolean } {
  return capability >= 90
    ? { module: `${name}_sm90`, programmatic: true }
    : { module: name, programmatic: false };
}

/** A matrix of 16-bit floats as the copy engine (TMA) sees it: boxes with the 128-byte exchange, zeros outside. */
export interface TensorMapSpec {
  /** Device address, a multiple of 16. */
  readonly address: bigint;
  /** Rows there are. */
  readonly rows: number;
  /** Numbers of a row; a multiple of 8, and rows stand one behind the other. */
  readonly columns: number;
  /** Rows of a box; a box has 64 columns. */
  readonly boxRows: number;
  /** What a number is. */
  readonly element: "bf16" | "f16";
}

/** A parameter of a kernel: its bytes, or a tensor map that the driver has to encode. */
export type KernelParameter = Uint8Array | TensorMapSpec;

/** A launch. */
export interface KernelLaunch {
  /** The module that has the kernel; see {@link ModuleSpec}. */
  readonly module: string;
  /** Its name there. */
  readonly kernel: string;
  /** Workgroups. */
  readonly grid: readonly [x: number, y: number, z: number];
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Dynamic shared memory. */
  readonly sharedBytes: number;
  /** Workgroups of a cluster, along x; 1 without clusters (launch attribute 4). */
  readonly cluster: number;
  /**
   * The kernel waits by itself for those before it (`griddepcontrol.wait`), so it may be launched with programmatic
   * stream serialization (launch attribute 6) and begin while they end.
   */
  readonly programmatic: boolean;
  /** In order. */
  readonly parameters: readonly KernelParameter[];
}

/** A structure as the kernels declare it: pointers first, then 32-bit integers, then 32-bit floats. */
export function packParameters(
  pointers: readonly (bigint | null)[],
  integers: readonly number[],
  floats: readonly number[] = [],
): Uint8Array {
  const bytes = new Uint8Array(
    Math.ceil((8 * pointers.length + 4 * (integers.length + floats.length)) / 8) * 8,
  );
  const view = new DataView(bytes.buffer);
  pointers.forEach((pointer, i) => view.setBigUint64(8 * i, pointer ?? 0n, true));
  const at = 8 * pointers.length;
  integers.forEach((value, i) => view.setInt32(at + 4 * i, value, true));
  floats.forEach((value, i) => view.setFloat32(at + 4 * (integers.length + i), value, true));
  return bytes;
}

/** Most shared memory of a workgroup. */
export function mostSharedBytes(capability: number): number {
  if (capability === 86 || capability === 89 || capability >= 120) return 99 << 10;
  return (capability < 90 ? 163 : 227) << 10;
}

/** Rounded up. */
export const divideUp = (a: number, b: number): number => Math.ceil(a / b);
