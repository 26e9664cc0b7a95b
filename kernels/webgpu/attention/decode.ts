// Attention of single queries over paged keys and values (Dao et al., "Flash-Decoding", 2023): the keys of a
// sequence are split over workgroups, and all query heads of a key/value head sit in one, so K and V are read once.
//
// Grid: (splits, kvHeads · head blocks, queries). Workgroup: threads in gangs of L lanes; a gang takes every n-th
// batch of keys, its lanes share a key's elements (16 bytes a load) and keep the running maximum, sum and output of
// an online softmax (Milakov & Gimelshein 2018) in registers. All loads of a batch are issued before the first is
// used, and the next batch's page-table entries with them. Gangs meet by shuffles within a subgroup, then through
// workgroup memory. A sequence with a single split writes its output at once, others leave partial results for
// `merge`. Bound by reading K and V.

import type { HeadLayout } from "../../ops.ts";
import type { DeviceCaps, ElementType, KernelCall } from "../kernel.ts";
import { contentAt, Word } from "../plan/words.ts";
import { divideUp, float, input, kernelSource, load, output, powerOfTwo, store } from "../wgsl.ts";
import { type CacheLayout, cacheType, octetHalf, slotFunction } from "./cache.ts";

/** Fixed properties of a layer's attention. */
export interface AttentionShape {
  readonly heads: HeadLayout;
  readonly cache: CacheLayout;
  readonly scale: number;
  readonly window: number | null;
  readonly qkv: ElementType;
  readonly output: ElementType;
}

/** Numbers of one query head and split in the partial results: the output, the maximum and the sum. */
export const partialWords = (headDim: number) => headDim + 2;

/** How the work is laid out over threads. */
interface Tuning {
  /** Lanes that share a key. */
  readonly lanes: number;
  /** Chunks of eight elements a lane handles. */
  readonly chunks: number;
  /** Query heads of a key/value head that one workgroup handles. */
  readonly headBlock: number;
  readonly threads: number;
  /** Keys of a batch, taken together before the maximum is updated. */
  readonly batch: number;
  /** Lanes that meet by shuffles: a subgroup, or a part of one. */
  readonly bundle: number;
}

/** Most bytes of workgroup memory for the meeting of the bundles; more heads take turns. */
const meetingBytes = 8192;

/** Most bytes of one head's outputs of all bundles. */
const mostMeetingBytes = 16384;

function tune({ numHeads, numKvHeads, headDim }: HeadLayout, threads: number, caps: DeviceCaps): Tuning {
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

/** Workgroups per query and split. */
export function decodeHeadBlocks(heads: HeadLayout, caps: DeviceCaps): number {
  return heads.numKvHeads * divideUp(heads.numHeads / heads.numKvHeads, tune(heads, 0, caps).headBlock);
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const lines = (parts: readonly string[]) => parts.join("\n");

/** First key a query at `position` sees. */
export const firstKey = (window: number | null, position: string) =>
  window === null ? "0u" : `select(0u, ${position} - ${window - 1}u, ${position} >= ${window}u)`;

/** Attention of `queries` single queries with room for `splits` splits each, in workgroups of `threads`. */
export function decodeAttention(
  shape: AttentionShape,
  queries: number,
  splits: number,
  threads: number,
  caps: DeviceCaps,
): KernelCall<"qkv" | "pageTable" | "keys" | "values" | "partial" | "output"> {
  const { heads, cache, window } = shape;
  const tuning = tune(heads, threads, caps);
  const source = kernelSource(
    `attention-decode ${heads.numHeads}/${heads.numKvHeads}x${heads.headDim} ${tuning.threads} ${cache.key} ` +
      `${shape.scale} ${window} ${shape.qkv} ${shape.output}`,
    [
      input("qkv", `array<${shape.qkv}>`),
      input("pageTable", "array<u32>"),
      input("keys", cacheType),
      input("values", cacheType),
      output("partials", "array<f32>"),
      output("result", `array<${shape.output}>`),
    ],
    () => code(shape, tuning),
  );
  return {
    source,
    bindings: ["qkv", "pageTable", "keys", "values", "partial", "output"],
    workgroups: [splits, decodeHeadBlocks(heads, caps), queries],
  };
}

function code(shape: AttentionShape, tuning: Tuning): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache } = shape;
  const { lanes, chunks, headBlock, threads, batch, bundle } = tuning;
  const gangs = threads / lanes, bundles = threads / bundle;
  const group = numHeads / numKvHeads;
  const blocks = divideUp(group, headBlock);
  const width = (numHeads + 2 * numKvHeads) * headDim;
  const H = range(headBlock), C = range(chunks), J = range(batch);
  const sides = ["a", "b"] as const;
  const partial = chunks * lanes * 8 !== headDim;
  // Lanes past the end of a head repeat its first chunk with a query of zeros, and drop their output.
  const chunkOf = (c: number) => {
    const at = c === 0 ? "part" : `part + ${c * lanes}u`;
    return partial ? `select(0u, ${at}, ${at} < ${headDim / 8}u)` : at;
  };
  const query = (h: number, c: number, side: string, offset: number) => {
    const elements = range(4).map((i) => load(shape.qkv, `qkv[at${h}_${c} + ${offset + i}u]`)).join(", ");
    return `  let q${h}_${c}${side} = factor${c} * vec4<f32>(${elements});`;
  };
  const slots = (at: string) =>
    lines(J.map((i) => `slot${i} = slotOf(row, min(${at} + ${i}u, end - 1u), kvHead) >> 3u;`));
  const meetingHeads = Math.max(1, Math.min(headBlock, Math.floor(meetingBytes / (4 * bundles * headDim))));
  return `${slotFunction(cache)}
// Scores are in units of log2, so that the softmax uses exp2.
const least = -1e30;
var<workgroup> meetingOutput: array<f32, ${meetingHeads * bundles * headDim}>;
var<workgroup> meetingMaximum: array<f32, ${bundles * headBlock}>;
var<workgroup> meetingSum: array<f32, ${bundles * headBlock}>;
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  let entry = ${contentAt}u + 3u * group.z;
  let token = plan[entry];
  let row = plan[entry + 1u];
  let position = plan[entry + 2u];
  let splitKeys = plan[${Word.SplitKeys}];
  let start = ${firstKey(shape.window, "position")};
  let first = start + group.x * splitKeys;
  if (first > position) { return; }
  let end = min(first + splitKeys, position + 1u);
  let single = start + splitKeys > position;
  let kvHead = group.y / ${blocks}u;
  // The last block of a group may begin earlier and repeat heads of the one before it.
  let head = kvHead * ${group}u + min((group.y % ${blocks}u) * ${headBlock}u, ${group - headBlock}u);
  let part = thread % ${lanes}u;
  let begin = first + (thread / ${lanes}u) * ${batch}u;
${lines(J.map((i) => `  var slot${i} = 0u;`))}
  ${slots("begin")}
${
    lines(C.map((c) =>
      `  let chunk${c} = ${chunkOf(c)};
  let factor${c} = ${partial ? `select(0.0, 1.0, part + ${c * lanes}u < ${headDim / 8}u) * ` : ""}${
        float(shape.scale * Math.LOG2E)
      };`
    ))
  }
${
    lines(H.flatMap((h) =>
      C.map((c) =>
        `  let at${h}_${c} = token * ${width}u + (head + ${h}u) * ${headDim}u + chunk${c} * 8u;
${query(h, c, "a", 0)}
${query(h, c, "b", 4)}
  var o${h}_${c}a = vec4<f32>(0.0);
  var o${h}_${c}b = vec4<f32>(0.0);`
      )
    ))
  }
${lines(H.map((h) => `  var m${h} = least;\n  var l${h} = 0.0;`))}
  for (var j = begin; j < end; j += ${gangs * batch}u) {
${lines(J.flatMap((i) => C.map((c) => `    let k${i}_${c} = keys[slot${i} + chunk${c}];`)))}
${lines(J.flatMap((i) => C.map((c) => `    let v${i}_${c} = values[slot${i} + chunk${c}];`)))}
    ${slots(`j + ${gangs * batch}u`)}
${
    lines(J.flatMap((i) => [
      ...C.map((c) =>
        `    let k${i}_${c}a = ${octetHalf(`k${i}_${c}`, 0)};\n    let k${i}_${c}b = ${
          octetHalf(`k${i}_${c}`, 1)
        };`
      ),
      ...H.map((h) =>
        `    var s${i}_${h} = ${
          C.map((c) => `dot(q${h}_${c}a, k${i}_${c}a) + dot(q${h}_${c}b, k${i}_${c}b)`).join(" + ")
        };`
      ),
    ]))
  }
${
    lines(
      range(Math.log2(lanes)).flatMap((step) =>
        J.flatMap((i) => H.map((h) => `    s${i}_${h} += subgroupShuffleXor(s${i}_${h}, ${1 << step}u);`))
      ),
    )
  }
${
    lines(
      J.slice(1).map((i) =>
        `    if (j + ${i}u >= end) {\n${lines(H.map((h) => `      s${i}_${h} = -3e38;`))}\n    }`
      ),
    )
  }
${
    lines(H.map((h) =>
      `    let n${h} = ${J.reduce((text, i) => `max(${text}, s${i}_${h})`, `m${h}`)};
    let r${h} = exp2(m${h} - n${h});
    m${h} = n${h};
${lines(J.map((i) => `    let p${i}_${h} = exp2(s${i}_${h} - n${h});`))}
    l${h} = l${h} * r${h} + ${J.map((i) => `p${i}_${h}`).join(" + ")};
${lines(C.flatMap((c) => sides.map((side) => `    o${h}_${c}${side} *= r${h};`)))}`
    ))
  }
${
    lines(J.flatMap((i) =>
      C.flatMap((c) =>
        sides.map((side, half) =>
          `    let v${i}_${c}${side} = ${octetHalf(`v${i}_${c}`, half as 0 | 1)};
${
            lines(H.map((h) => `    o${h}_${c}${side} += p${i}_${h} * v${i}_${c}${side};`))
          }`
        )
      )
    ))
  }
  }
${
    lines(
      range(Math.log2(bundle / lanes)).flatMap((step) => {
        const mask = `${lanes << step}u`;
        return H.map((h) =>
          `  {
    let n = max(m${h}, subgroupShuffleXor(m${h}, ${mask}));
    let r = exp2(m${h} - n);
    m${h} = n;
    l${h} *= r;
    l${h} += subgroupShuffleXor(l${h}, ${mask});
${
            lines(C.flatMap((c) =>
              sides.map((side) => {
                const o = `o${h}_${c}${side}`;
                return `    ${o} *= r;\n    ${o} += subgroupShuffleXor(${o}, ${mask});`;
              })
            ))
          }
  }`
        );
      }),
    )
  }
  let lead = thread % ${bundle}u < ${lanes}u;
  let ownBundle = thread / ${bundle}u;
  if (lead && part == 0u) {
${
    lines(H.map((h) =>
      `    meetingMaximum[ownBundle * ${headBlock}u + ${h}u] = m${h};
    meetingSum[ownBundle * ${headBlock}u + ${h}u] = l${h};`
    ))
  }
  }
${
    lines(
      range(divideUp(headBlock, meetingHeads)).map((i) =>
        meeting(shape, tuning, i * meetingHeads, meetingHeads)
      ),
    )
  }
}`;
}

/** The bundles' outputs of heads `from` … `from + count − 1` of the block, added up and written. */
function meeting(shape: AttentionShape, tuning: Tuning, from: number, count: number): string {
  const { heads: { numHeads, headDim } } = shape;
  const { lanes, chunks, headBlock, threads, bundle } = tuning;
  const bundles = threads / bundle;
  const words = partialWords(headDim);
  const heads = range(Math.min(count, headBlock - from));
  const writes = lines(
    range(chunks).map((c) =>
      `    if (part + ${c * lanes}u < ${headDim / 8}u) {
${
        lines(heads.map((h) =>
          `      {
        let at = (ownBundle * ${heads.length}u + ${h}u) * ${headDim}u + (part + ${c * lanes}u) * 8u;
${
            lines(["a", "b"].flatMap((side, s) =>
              ["x", "y", "z", "w"].map((e, i) =>
                `        meetingOutput[at + ${4 * s + i}u] = o${from + h}_${c}${side}.${e};`
              )
            ))
          }
      }`
        ))
      }
    }`
    ),
  );
  return `  workgroupBarrier();
  if (lead) {
${writes}
  }
  workgroupBarrier();
  for (var i = thread; i < ${heads.length * headDim}u; i += ${threads}u) {
    let h = i / ${headDim}u + ${from}u;
    let d = i % ${headDim}u;
${lines(range(bundles).map((b) => `    let m${b} = meetingMaximum[${b * headBlock}u + h];`))}
    let maximum = ${range(bundles).slice(1).reduce((text, b) => `max(${text}, m${b})`, "m0")};
    var sum = 0.0;
    var total = 0.0;
${
    lines(
      range(bundles).map((b) =>
        `    {
      let factor = exp2(m${b} - maximum);
      sum += factor * meetingSum[${b * headBlock}u + h];
      total += factor * meetingOutput[${b * heads.length * headDim}u + i];
    }`
      ),
    )
  }
    if (single) {
      result[(token * ${numHeads}u + head + h) * ${headDim}u + d] = ${store(shape.output, "total / sum")};
    } else {
      let base = ((group.z * ${numHeads}u + head + h) * plan[${Word.Splits}] + group.x) * ${words}u;
      partials[base + d] = total;
      if (d == 0u) {
        partials[base + ${headDim}u] = maximum;
        partials[base + ${headDim + 1}u] = sum;
      }
    }
  }`;
}
