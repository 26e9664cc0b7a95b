// Sums and maxima over a workgroup: subgroup operations first, then the subgroups' results through workgroup memory.
// Nothing is assumed about the subgroup size; where one subgroup is the whole workgroup, no barrier is needed.

import type { DeviceCaps } from "./kernel.ts";
import { divideUp } from "./wgsl.ts";

/** What the reductions below need from an entry point. */
const laneParameters = "@builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32, " +
  "@builtin(subgroup_invocation_id) lane: u32";

/** The head of an entry point: its workgroup's place in the grid `group`, its `thread`, and what reductions need. */
export const laneMain = (threads: number): string =>
  `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32, ${laneParameters})`;

/** The same without what reductions need. */
export const plainMain = (threads: number): string =>
  `@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32)`;

/** The head of an entry point with a thread for each element: its place `id` in the grid of threads. */
export const elementMain = (threads: number): string =>
  `@compute @workgroup_size(${threads}) fn main(@builtin(global_invocation_id) id: vec3<u32>)`;

/** Arguments with which an entry point passes those on. */
export const laneArguments = "lane, subgroup, subgroups";

/** Threads for kernels whose workgroup should be one subgroup where that is possible. */
export const oneSubgroup = (caps: DeviceCaps): number => Math.max(caps.maxSubgroup, 16);

/** Subgroup sizes that there may be, for kernels that are written without a device. */
export const anySubgroup = { minSubgroup: 4, maxSubgroup: 128 } as const;

const operations = {
  add: { type: "f32", subgroup: "subgroupAdd", combine: (a: string, b: string) => `${a} + ${b}` },
  max: { type: "f32", subgroup: "subgroupMax", combine: (a: string, b: string) => `max(${a}, ${b})` },
  addU32: { type: "u32", subgroup: "subgroupAdd", combine: (a: string, b: string) => `${a} + ${b}` },
  minU32: { type: "u32", subgroup: "subgroupMin", combine: (a: string, b: string) => `min(${a}, ${b})` },
} as const;

/**
 * WGSL of `fn name(value, lane, subgroup, subgroups)`: the sum, maximum or minimum over a workgroup of `threads`;
 * every thread gets the result. To be called in uniform control flow.
 */
export function workgroupReduction(
  name: string,
  operation: "add" | "max" | "addU32" | "minU32",
  threads: number,
  caps: Pick<DeviceCaps, "minSubgroup" | "maxSubgroup">,
): string {
  const { type, subgroup: reduce, combine } = operations[operation];
  const head = `fn ${name}(value: ${type}, lane: u32, subgroup: u32, subgroups: u32) -> ${type} {`;
  if (caps.minSubgroup === threads && caps.maxSubgroup === threads) {
    return `${head}\n  return ${reduce}(value);\n}`;
  }
  const slots = divideUp(threads, caps.minSubgroup);
  return `var<workgroup> ${name}Parts: array<${type}, ${slots}>;
${head}
  let part = ${reduce}(value);
  workgroupBarrier();
  if (lane == 0u) { ${name}Parts[subgroup] = part; }
  workgroupBarrier();
  var total = ${name}Parts[0];
  for (var i = 1u; i < subgroups; i++) { total = ${combine("total", `${name}Parts[i]`)}; }
  return total;
}`;
}
