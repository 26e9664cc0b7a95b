// Applies a plan's writes: page-table and token-pool entries, given as (destination, value) pairs.
//
// Grid: a thread per pair. Memory: the pairs stand in the plan. Bound by launch.

import { kernel, type KernelCall, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp } from "../shader/wgsl.ts";
import { contentAt, Word } from "./words.ts";

const threads = 128;

/** Sets `writes` entries in all. */
export const scatter = (writes: number): KernelCall<"pageTable" | "tokenPool"> =>
  kernel({
    key: "scatter",
    buffers: { pageTable: write("u32"), tokenPool: write("u32") },
    workgroups: [divideUp(writes, threads), 1, 1],
    code: () =>
      `${elementMain(threads)} {
  let pages = plan[${Word.PageWrites}];
  if (id.x < pages) {
    let at = ${contentAt}u + 2u * id.x;
    pageTable[plan[at]] = plan[at + 1u];
  } else if (id.x < pages + plan[${Word.TokenWrites}]) {
    let at = ${contentAt}u + 2u * id.x;
    tokenPool[plan[at]] = plan[at + 1u];
  }
}`,
  });
