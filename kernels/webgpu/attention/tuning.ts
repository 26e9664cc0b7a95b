// How decode attention is laid out over the threads of a workgroup, for a head layout and a device.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps } from "../kernel.ts";
import { divideUp, powerOfTwo } from "../wgsl.ts";

/** How the work is laid out over threads. */
export interface Tuning {
  /** Lanes that share a key. */
  readonly lanes: number;
  /** Chunks of eight elements a lane handles. */
  readonly chunks: number;
  /** Query heads of a key/value head that one workgroup handles. */
  readonly headBlock: number;
  /** Of a workgroup. */
  readonly threads: number;
  /** Keys of a batch, taken together before the maximum is updated. */
  readonly batch: number;
  /** Lanes that meet by shuffles: a subgroup, or a part of one. */
  readonly bundle: number;
}

/** Most bytes of workgroup memory for the meeting of the bundles; more heads take turns. */
export const meetingBytes = 8192;

/** Most bytes of one head's outputs of all bundles. */
const mostMeetingBytes = 16384;

/** A layout of at most `threads` threads for these heads. */
export function tune(
  { numHeads, numKvHeads, headDim }: HeadLayout,
  threads: number,
  caps: DeviceCaps,
): Tuning {
  const total = headDim / 8;
  const lanes = Math.min(powerOfTwo(total), caps.minSubgroup);
  const chunks = divideUp(total, lanes);
  // Registers: 16 numbers (query and output) per head and chunk.
  const headBlock = Math.min(numHeads / numKvHeads, Math.max(1, Math.floor(8 / chunks)));
  const batch = caps.software ? 2 : headBlock * chunks <= 4 ? 4 : 2;
  const bundle = caps.minSubgroup;
  const most = Math.min(caps.maxWorkgroupThreads, bundle * Math.floor(mostMeetingBytes / (4 * headDim)));
  // Twice the registers leave room for half the threads.
  const wanted = headBlock * chunks > 4 ? Math.min(threads, 256) : threads;
  return { lanes, chunks, headBlock, threads: Math.min(wanted, most), batch, bundle };
}
