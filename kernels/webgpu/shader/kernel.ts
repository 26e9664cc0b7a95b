// What a WGSL kernel is, before a pipeline is made of it: text generated for given shapes, the buffers it binds and
// the grid it runs on. Kernel folders export functions that return these; the backend turns them into pipelines
// (cached by key) and records them. Nothing here needs a device, so shapes and grids can be tested without one.
//
// Binding convention, the same for every kernel: group 0 holds the step's plan, `plan: array<u32>` (read), bound
// with a dynamic offset so that one bind group serves every forward of a burst; group 1 holds the kernel's buffers
// in the order of `bindings`.

/** What kernels may depend on: measured from the adapter, never from its name. */
export interface DeviceCaps {
  /** Smallest and largest number of lanes in a subgroup. 32/32 on NVIDIA, 8/8 on Mesa's software driver. */
  readonly minSubgroup: number;
  /** Largest number of lanes in a subgroup. */
  readonly maxSubgroup: number;
  /** `enable f16` may be used. */
  readonly f16: boolean;
  /** Workgroup memory. */
  readonly maxWorkgroupBytes: number;
  /** Most threads of a workgroup. */
  readonly maxWorkgroupThreads: number;
  /** Largest binding. */
  readonly maxBindingBytes: number;
  /** A rough number of workgroups that fill the device; grids smaller than this are split along the sum. */
  readonly parallelism: number;
  /** A software imitation: prefer little code and few threads. */
  readonly software: boolean;
  /** For tests: instead of {@link halfFrom}. */
  readonly halfFrom?: number;
}

/** Whether kernels compute in f16, where that is exact enough: a software driver gains nothing by it. */
export const computesHalf = ({ f16, software }: DeviceCaps): boolean => f16 && !software;

/**
 * Elements of a weight from which on its products may be taken in f16, and attention's with them. Below, the time is
 * latency anyway, and with float32 products results hardly depend on the batch.
 */
export const halfFrom = (caps: DeviceCaps): number => caps.halfFrom ?? 1 << 20;

/** Words at the beginning of the plan buffer; the rest is the backend's. */
export const PlanWord = {
  /** Tokens in this forward (T). */
  Tokens: 0,
  /** Sequences (B). */
  Sequences: 1,
  /** Sampled rows (S). */
  Samples: 2,
} as const;

/** Type of an activation buffer's elements. */
export type ElementType = "f32" | "f16";

/** Bytes of an element. */
export const elementBytes = (type: ElementType): number => type === "f16" ? 2 : 4;

/** A shader for given shapes. */
export interface KernelSource {
  /** Equal keys mean equal code. Short and readable: it names the pipeline in traces. */
  readonly key: string;
  /** Writes the WGSL; called once per key. */
  readonly code: () => string;
  /** Access of each buffer of group 1, in binding order. */
  readonly access: readonly ("read" | "read_write")[];
}

/** One dispatch: the shader, which buffers to bind (by role, resolved by the caller), and the grid. */
export interface KernelCall<Role extends string> {
  /** The shader. */
  readonly source: KernelSource;
  /** Roles of the buffers, in binding order. */
  readonly bindings: readonly Role[];
  /** The grid. */
  readonly workgroups: readonly [x: number, y: number, z: number];
}
