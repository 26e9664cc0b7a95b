// How the keys of decode sequences are divided over workgroups: enough to fill the device, not more.
//
// Where there are many sequences, each workgroup walks a whole one. Where there are few, time goes by latency: short
// contexts take one wide workgroup each, which saves the merge, longer ones are split.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps } from "../kernel.ts";
import type { AttentionCut } from "../plan/pack.ts";
import { divideUp } from "../wgsl.ts";
import { decodeHeadBlocks } from "./decode.ts";
import { mostSplits } from "./merge.ts";

/** Splits are multiples of this many keys. */
const granularity = 32;

/** Up to so many keys a single wide workgroup is as fast as several and a merge. */
const wideKeys = 256;

/** Splits for queries that see `lengths` keys. */
export function decodeCut(lengths: readonly number[], heads: HeadLayout, caps: DeviceCaps): AttentionCut {
  let longest = 1;
  for (const n of lengths) longest = Math.max(longest, n);
  const workgroups = Math.max(1, lengths.length * decodeHeadBlocks(heads, caps));
  const few = !caps.software && workgroups <= caps.parallelism / 8;
  const wide = few && longest <= wideKeys;
  const threads = caps.software ? 32 : wide ? 512 : few ? 256 : 128;
  // A workgroup should have at least two rounds of keys.
  const leastKeys = few ? 128 : 64;
  const wanted = wide ? 1 : Math.floor(caps.parallelism / workgroups);
  const splits = Math.max(1, Math.min(wanted, mostSplits, divideUp(longest, leastKeys)));
  const splitKeys = divideUp(divideUp(longest, splits), granularity) * granularity;
  return { splitKeys, splits: divideUp(longest, splitKeys), threads };
}
