// Applies a plan's writes: page-table and token-pool entries, given as (destination, value) pairs.
//
// Grid: a thread per pair. Memory: the pairs stand in the plan. Bound by launch.

import type { KernelCall } from "../shader/kernel.ts";
import { contentAt, Word } from "./words.ts";
import { divideUp, kernelSource, output } from "../shader/wgsl.ts";

const threads = 128;

const source = kernelSource(
  "scatter",
  [output("pageTable", "array<u32>"), output("tokenPool", "array<u32>")],
  () =>
    `@compute @workgroup_size(${threads}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let pages = plan[${Word.PageWrites}];
  if (id.x < pages) {
    let at = ${contentAt}u + 2u * id.x;
    pageTable[plan[at]] = plan[at + 1u];
  } else if (id.x < pages + plan[${Word.TokenWrites}]) {
    let at = ${contentAt}u + 2u * id.x;
    tokenPool[plan[at]] = plan[at + 1u];
  }
}`,
);

/** Sets `writes` entries in all. */
export function scatter(writes: number): KernelCall<"pageTable" | "tokenPool"> {
  return { source, bindings: ["pageTable", "tokenPool"], workgroups: [divideUp(writes, threads), 1, 1] };
}
