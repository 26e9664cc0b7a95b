// How decode attention is laid out over the threads of a workgroup, for a head layout and a device.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps } from "../shader/kernel.ts";
import { divideUp, powerOfTwo } from "../shader/wgsl.ts";

/** What may be chosen for a step. */
export interface DecodeLayout {
  /** Of a workgroup. */
  readonly threads: number;
  /** Query heads of a key/value head that one workgroup handles. */
  readonly headBlock: number;
  /** Keys that a lane group takes together, before the maximum is updated. */
  readonly batch: number;
}

/** How a head is spread over lanes, eight elements a lane. */
export interface HeadLanes {
  /** Lanes that share a head. */
  readonly lanes: number;
  /** Chunks of eight elements a lane handles. */
  readonly chunks: number;
}

/** How the work is laid out over threads. */
export interface Tuning extends DecodeLayout, HeadLanes {
  /** Lanes that can be counted on to be in one subgroup: all of the smallest. */
  readonly subgroup: number;
}

/** As many lanes as there are chunks, if a subgroup has them. */
export function headLanes(headDim: number, { minSubgroup }: DeviceCaps): HeadLanes {
  const lanes = Math.min(powerOfTwo(headDim / 8), minSubgroup);
  return { lanes, chunks: divideUp(headDim / 8, lanes) };
}

/** Workgroups per query and split. */
export const headBlocks = ({ numHeads, numKvHeads }: HeadLayout, headBlock: number): number =>
  numKvHeads * divideUp(numHeads / numKvHeads, headBlock);

/** Most bytes of workgroup memory in which subgroups add up; more heads take turns. */
export const sharedBytes = (threads: number): number => Math.max(8192, 32 * threads);

/** Most bytes of one head's outputs of all subgroups. */
const mostHeadBytes = 16384;

/** The nearest layout to the one wanted that registers and workgroup memory allow; as many heads as they do. */
export function tune(
  { numHeads, numKvHeads, headDim }: HeadLayout,
  wanted: Partial<DecodeLayout> & Pick<DecodeLayout, "threads">,
  caps: DeviceCaps,
): Tuning {
  const { lanes, chunks } = headLanes(headDim, caps);
  // Registers: 16 numbers (query and output) per head and chunk, 8 per chunk of a batch.
  const mostHeads = Math.max(1, Math.floor(8 / chunks));
  const headBlock = Math.min(numHeads / numKvHeads, mostHeads, wanted.headBlock ?? Infinity);
  const load = headBlock * chunks;
  const batch = caps.software || load > 4 ? 2 : load > 1 ? 4 : wanted.batch ?? 4;
  const mostThreads = load > 4 ? 256 : load > 1 ? 512 : 1024;
  const subgroup = caps.minSubgroup;
  // Subgroups are a power of two, so that they can be added up by halves.
  const most = Math.min(caps.maxWorkgroupThreads / subgroup, mostHeadBytes / (4 * headDim));
  const threads = Math.min(wanted.threads, mostThreads, subgroup * powerOfTwo(Math.floor(most) + 1) / 2);
  return { lanes, chunks, headBlock, threads, batch, subgroup };
}
