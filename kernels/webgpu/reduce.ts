// Sums and maxima over a workgroup: subgroup operations first, then the subgroups' results through workgroup memory.
// Nothing is assumed about the subgroup size; where one subgroup is the whole workgroup, no barrier is needed.

import type { DeviceCaps } from "./kernel.ts";
import { divideUp } from "./wgsl.ts";

/** Parameters an entry point must take so that the reductions below work. */
export const laneParameters = "@builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32, " +
  "@builtin(subgroup_invocation_id) lane: u32";

/** Arguments with which an entry point passes those on. */
export const laneArguments = "lane, subgroup, subgroups";

/** Threads for kernels whose workgroup should be one subgroup where that is possible. */
export const oneSubgroup = (caps: DeviceCaps) => Math.max(caps.maxSubgroup, 16);

/**
 * WGSL of `fn name(value: f32, lane, subgroup, subgroups) -> f32`, the sum or maximum over a workgroup of `threads`;
 * every thread gets the result. To be called in uniform control flow.
 */
export function workgroupReduction(name: string, operation: "add" | "max", threads: number, caps: DeviceCaps) {
  const reduce = operation === "add" ? "subgroupAdd" : "subgroupMax";
  const head = `fn ${name}(value: f32, lane: u32, subgroup: u32, subgroups: u32) -> f32 {`;
  if (caps.minSubgroup === threads && caps.maxSubgroup === threads) {
    return `${head}\n  return ${reduce}(value);\n}`;
  }
  const slots = divideUp(threads, caps.minSubgroup);
  const combine = operation === "add" ? `total += ${name}Parts[i];` : `total = max(total, ${name}Parts[i]);`;
  return `var<workgroup> ${name}Parts: array<f32, ${slots}>;
${head}
  let part = ${reduce}(value);
  workgroupBarrier();
  if (lane == 0u) { ${name}Parts[subgroup] = part; }
  workgroupBarrier();
  var total = ${name}Parts[0];
  for (var i = 1u; i < subgroups; i++) { ${combine} }
  return total;
}`;
}
