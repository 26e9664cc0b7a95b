// What a WGSL kernel is, before a pipeline is made of it: text for given shapes, the buffers it binds, and its grid.
// Kernel folders export functions that return these. The backend makes pipelines of them (cached by key) and records
// them. Nothing here needs a device, so shapes and grids can be tested without one.
//
// All kernels bind in the same way. Group 0 holds the step's plan, `plan: array<u32>` (read), with a dynamic offset:
// one bind group serves every forward of a burst. Group 1 holds the kernel's buffers in the order of `bindings`.

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
  readonly access: readonly Binding["access"][];
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

/** How a kernel sees a buffer: an array of `element`s. */
export interface Binding {
  /** WGSL type. */
  readonly element: string;
  /** What the shader does with it. */
  readonly access: "read" | "read_write";
}

/** A buffer that the kernel only reads. */
export const read = (element: string): Binding => ({ element, access: "read" });

/** A buffer that the kernel writes. */
export const write = (element: string): Binding => ({ element, access: "read_write" });

/** What {@link kernel} makes a call from. */
export interface KernelDescription<Role extends string> {
  /** What the code depends on. */
  readonly key: string;
  /** By role, in binding order; the shader sees each under the name of its role. False where a shape has none. */
  readonly buffers: { readonly [R in Role]?: Binding | false | undefined };
  /** The grid. */
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** The WGSL behind the declarations of `plan` and of the buffers. */
  readonly code: () => string;
}

/** A kernel from its description: the one way in which shaders are put together. */
export function kernel<Role extends string>(
  { key, buffers, workgroups, code }: KernelDescription<Role>,
): KernelCall<Role> {
  // Called for every dispatch of a forward of a new shape, so the text waits until it is asked for.
  const bindings: Role[] = [], access: Binding["access"][] = [];
  for (const role in buffers) {
    const binding = buffers[role];
    if (!binding) continue;
    bindings.push(role);
    access.push(binding.access);
  }
  const text = () => {
    const declarations = bindings.map((role, i) => {
      const { element } = buffers[role] as Binding;
      return `@group(1) @binding(${i}) var<storage, ${access[i]}> ${role}: array<${element}>;`;
    });
    const plan = "@group(0) @binding(0) var<storage, read> plan: array<u32>;";
    const body = [plan, ...declarations, code()].join("\n");
    return /\bf16\b/.test(body) ? `enable f16;\n${body}` : body;
  };
  return { source: { key, code: text, access }, bindings, workgroups };
}
