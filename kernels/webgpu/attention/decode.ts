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
import type { DeviceCaps, KernelCall } from "../kernel.ts";
import { contentAt, Word } from "../plan/words.ts";
import { divideUp, float, input, kernelSource, lines, load, output, range } from "../wgsl.ts";
import { cacheType, octetHalf, slotFunction } from "./cache.ts";
import { meeting } from "./meeting.ts";
import { type AttentionShape, firstKey } from "./shape.ts";
import { meetingBytes, tune, type Tuning } from "./tuning.ts";

/** Workgroups per query and split. */
export function decodeHeadBlocks(heads: HeadLayout, caps: DeviceCaps): number {
  return heads.numKvHeads * divideUp(heads.numHeads / heads.numKvHeads, tune(heads, 0, caps).headBlock);
}

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
