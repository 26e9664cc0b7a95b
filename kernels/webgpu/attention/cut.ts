// How the keys of decode sequences are divided over workgroups: enough to fill the device, not more.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps } from "../kernel.ts";
import type { AttentionCut } from "../plan/pack.ts";
import { divideUp } from "../wgsl.ts";
import { decodeHeadBlocks } from "./decode.ts";
import { mostSplits } from "./merge.ts";

/** Fewest keys worth a workgroup of their own, and the multiple that splits are rounded to. */
const leastKeys = 64;
const granularity = 32;

/** Splits for queries that see `lengths` keys. */
export function decodeCut(lengths: readonly number[], heads: HeadLayout, caps: DeviceCaps): AttentionCut {
  let longest = 1;
  for (const n of lengths) longest = Math.max(longest, n);
  const workgroups = Math.max(1, lengths.length * decodeHeadBlocks(heads, caps));
  const wanted = Math.floor(caps.parallelism / workgroups);
  const splits = Math.max(1, Math.min(wanted, mostSplits, divideUp(longest, leastKeys)));
  const splitKeys = divideUp(divideUp(longest, splits), granularity) * granularity;
  return { splitKeys, splits: divideUp(longest, splitKeys) };
}
