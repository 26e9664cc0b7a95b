// Attention of single queries over paged keys and values (Dao et al., "Flash-Decoding", 2023): the keys of a
// sequence are split over workgroups, and all query heads of a key/value head sit in one, so K and V are read once.
//
// Grid: (splits, kvHeads · head blocks, queries). Workgroup: threads in gangs of L lanes; a gang takes every n-th
// batch of keys, its lanes share a key's elements (16 bytes a load) and keep the running maximum, sum and output of
// an online softmax (Milakov & Gimelshein 2018) in registers. All loads of a batch are issued before the first is
// used, and the next batch's page-table entries with them; the first batch's even before the queries are ready, which
// takes as long again where the kernel rotates and stores its own token (`own_token.ts`). Gangs meet by shuffles
// within a subgroup, then through workgroup memory. A sequence with a single split writes its output at once, others
// leave partial results for `merge`. Bound by reading K and V.

import type { DeviceCaps, KernelCall } from "../shader/kernel.ts";
import { contentAt, Word } from "../plan/words.ts";
import { divideUp, float, input, kernelSource, lines, output, range } from "../shader/wgsl.ts";
import { cacheType, octetHalf, slotFunction } from "./cache.ts";
import { meeting } from "./meeting.ts";
import { ownToken, ownTokenBindings, type OwnTokenRole } from "./own_token.ts";
import { type AttentionShape, firstKey, type HeadNorms, loadQuad } from "./shape.ts";
import { type DecodeLayout, headBlocks, meetingBytes, tune, type Tuning } from "./tuning.ts";

/**
 * Attention of `queries` single queries with room for `splits` splits each, laid out as `wanted`. With `own` the kernel
 * also does for the queries' tokens what `ropeStore` does; then no two queries may be of one sequence.
 */
export function decodeAttention(
  shape: AttentionShape,
  own: HeadNorms | null,
  queries: number,
  splits: number,
  wanted: DecodeLayout,
  caps: DeviceCaps,
): KernelCall<"qkv" | OwnTokenRole | "pageTable" | "keys" | "values" | "partial" | "output"> {
  const { heads, cache, window } = shape;
  const tuning = tune(heads, wanted, caps);
  const extra = own === null ? { roles: [], bindings: [] } : ownTokenBindings(own);
  const source = kernelSource(
    `attention-decode${own === null ? "" : `-own ${own.qNorm} ${own.kNorm}`} ` +
      `${heads.numHeads}/${heads.numKvHeads}x${heads.headDim} ` +
      `${tuning.threads} ${tuning.headBlock} ${tuning.batch} ${cache.key} ` +
      `${shape.scale} ${window} ${shape.qkv} ${shape.output}`,
    [
      input("qkv", `array<vec4<${shape.qkv}>>`),
      ...extra.bindings,
      input("pageTable", "array<u32>"),
      ...["keys", "values"].map((name) => (own === null ? input : output)(name, cacheType)),
      output("partials", "array<f32>"),
      output("result", `array<vec4<${shape.output}>>`),
    ],
    () => code(shape, own, tuning),
  );
  return {
    source,
    bindings: ["qkv", ...extra.roles, "pageTable", "keys", "values", "partial", "output"],
    workgroups: [splits, headBlocks(heads, tuning.headBlock), queries],
  };
}

function code(shape: AttentionShape, norms: HeadNorms | null, tuning: Tuning): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache } = shape;
  const { lanes, chunks, headBlock, threads, batch, bundle } = tuning;
  const gangs = threads / lanes, bundles = threads / bundle;
  const group = numHeads / numKvHeads;
  const blocks = divideUp(group, headBlock);
  const width = numHeads + 2 * numKvHeads;
  const H = range(headBlock), C = range(chunks), J = range(batch);
  const sides = ["a", "b"] as const;
  const partial = chunks * lanes * 8 !== headDim;
  const own = norms === null ? null : ownToken(shape, norms, tuning);
  // Lanes past the end of a head repeat its first chunk with a query of zeros, and drop their output.
  const chunkOf = (c: number) => {
    const at = c === 0 ? "part" : `part + ${c * lanes}u`;
    return partial ? `select(0u, ${at}, ${at} < ${headDim / 8}u)` : at;
  };
  const query = (h: number, c: number, half: 0 | 1) => {
    const quad = `2u * chunk${c} + ${half}u`;
    if (own !== null) return own.query(h, quad);
    return loadQuad(shape, `(token * ${width}u + head + ${h}u) * ${headDim / 4}u + ${quad}`);
  };
  const slots = (at: string) =>
    lines(J.map((i) => `slot${i} = slotOf(row, min(${at} + ${i}u, last), kvHead) >> 3u;`));
  const outputBytes = 4 * bundles * headDim;
  const meetingHeads = Math.max(1, Math.min(headBlock, Math.floor(meetingBytes(threads) / outputBytes)));
  return `${slotFunction(cache)}
// Scores are in units of log2, so that the softmax uses exp2.
const least = -1e30;
${own?.declarations ?? ""}
var<workgroup> meetingOutput: array<vec4<f32>, ${meetingHeads * bundles * headDim / 4}>;
var<workgroup> meetingMaximum: array<f32, ${bundles * headBlock}>;
var<workgroup> meetingSum: array<f32, ${bundles * headBlock}>;
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  let entry = ${contentAt}u + 3u * group.z;
  let token = plan[entry];
  let row = plan[entry + 1u];
  let position = plan[entry + 2u];
  let splitKeys = plan[${Word.SplitKeys}];
  let splits = plan[${Word.Splits}];
  let start = ${firstKey(shape.window, "position")};
  let first = start + group.x * splitKeys;
  if (first > position) { return; }
  // The own key is not among those that come from the cache, if the kernel stores it; there may be none then.
  let end = min(first + splitKeys, position${own === null ? " + 1u" : ""});
  let last = max(end, first + 1u) - 1u;
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
${own?.loads ?? ""}
${lines(J.flatMap((i) => C.map((c) => `  var k${i}_${c} = keys[slot${i} + chunk${c}];`)))}
${lines(J.flatMap((i) => C.map((c) => `  var v${i}_${c} = values[slot${i} + chunk${c}];`)))}
${own?.rotation ?? ""}
${
    lines(H.flatMap((h) =>
      C.flatMap((c) =>
        sides.map((side, half) =>
          `  let q${h}_${c}${side} = factor${c} * ${query(h, c, half as 0 | 1)};
  var o${h}_${c}${side} = vec4<f32>(0.0);`
        )
      )
    ))
  }
${
    lines(H.map((h) =>
      `  var m${h} = least;
  var l${h} = 0.0;`
    ))
  }
${own?.begin ?? ""}
  for (var j = begin; j < end; j += ${gangs * batch}u) {
    ${slots(`j + ${gangs * batch}u`)}
${
    lines(J.flatMap((i) => [
      ...C.map((c) =>
        `    let k${i}_${c}a = ${octetHalf(`k${i}_${c}`, 0)};
    let k${i}_${c}b = ${octetHalf(`k${i}_${c}`, 1)};`
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
    if (j + ${gangs * batch}u < end) {
${lines(J.flatMap((i) => C.map((c) => `      k${i}_${c} = keys[slot${i} + chunk${c}];`)))}
${lines(J.flatMap((i) => C.map((c) => `      v${i}_${c} = values[slot${i} + chunk${c}];`)))}
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
