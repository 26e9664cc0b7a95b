// How the keys of decode sequences are divided over workgroups, and how wide these are.
//
// Short contexts take one workgroup for each sequence and block of heads: a merge would take longer to start than it
// saves. Latency decides there. So a workgroup has enough threads to see all keys in one round, if the device has the
// registers. Where the device would be idle, query heads that share a key/value head are spread over workgroups, and
// each reads it (the second from the cache). Longer contexts are split until the device is full.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps } from "../shader/kernel.ts";
import type { AttentionCut } from "../plan/pack.ts";
import { divideUp, powerOfTwo } from "../shader/wgsl.ts";
import { mostSplits } from "./merge.ts";
import { headBlocks, tune } from "./tuning.ts";

/** Splits are multiples of this many keys. */
const granularity = 32;

/** Most keys, times query heads of a workgroup, for which one workgroup is as fast as several and a merge. */
const mostWholeKeys = 512;

/** The same for any number of heads: a full device gains nothing from splits. */
const leastWholeKeys = 256;

/** Contexts of at most this many keys count as short. Two classes are enough, and each is kernels to warm up. */
const fewKeys = 128;

/** Most threads of such a workgroup: with 1,024, which have too few registers each, it was no faster. */
const wideThreads = 512;

/**
 * Splits for queries that see `lengths` keys. `decodeOnly` as in `ForwardShape`: beside prompts it matters less, and
 * fewer kernels will do.
 */
export function decodeCut(
  lengths: readonly number[],
  decodeOnly: boolean,
  heads: HeadLayout,
  caps: DeviceCaps,
): AttentionCut {
  let longest = 1;
  for (const n of lengths) longest = Math.max(longest, n);
  const whole = decodeOnly && !caps.software ? wholeSequences(lengths.length, longest, heads, caps) : null;
  return whole ?? splitSequences(lengths.length, longest, heads, caps);
}

/** One workgroup for each sequence and block of heads, or null where splits are better. */
function wholeSequences(
  queries: number,
  longest: number,
  heads: HeadLayout,
  caps: DeviceCaps,
): AttentionCut | null {
  const group = heads.numHeads / heads.numKvHeads;
  // Numbers of queries between powers of two share their kernels, so that warming up can know them all.
  const sequences = powerOfTwo(queries);
  // A quarter of what fills the device is about one workgroup for each multiprocessor.
  const spread = Math.min(
    group,
    Math.max(1, Math.floor(caps.parallelism / 4 / (sequences * heads.numKvHeads))),
  );
  const { headBlock, lanes } = tune(heads, { threads: 0, headBlock: divideUp(group, spread) }, caps);
  if (longest > Math.max(leastWholeKeys, mostWholeKeys / headBlock)) return null;
  const { batch } = tune(heads, { threads: wideThreads, headBlock, batch: 8 }, caps);
  const oneRound = lanes * (longest <= fewKeys ? fewKeys : leastWholeKeys) / batch;
  const room = 128 * caps.parallelism / (sequences * headBlocks(heads, headBlock));
  const threads = Math.max(128, Math.min(oneRound, wideThreads, powerOfTwo(room + 1) / 2));
  const splitKeys = divideUp(longest, granularity) * granularity;
  return { splitKeys, splits: 1, ...tune(heads, { threads, headBlock, batch }, caps) };
}

function splitSequences(queries: number, longest: number, heads: HeadLayout, caps: DeviceCaps): AttentionCut {
  const { headBlock } = tune(heads, { threads: 0 }, caps);
  const workgroups = Math.max(1, queries * headBlocks(heads, headBlock));
  const few = workgroups <= caps.parallelism / 8;
  // A workgroup should have at least two rounds of keys.
  const leastKeys = few && !caps.software ? 128 : 64;
  const wanted = Math.floor(caps.parallelism / workgroups);
  const splits = Math.max(1, Math.min(wanted, mostSplits, divideUp(longest, leastKeys)));
  const splitKeys = divideUp(divideUp(longest, splits), granularity) * granularity;
  const threads = caps.software ? 32 : few ? 256 : 128;
  return { splitKeys, splits: divideUp(longest, splitKeys), ...tune(heads, { threads }, caps) };
}
