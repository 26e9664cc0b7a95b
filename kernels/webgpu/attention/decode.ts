// Attention of single queries over paged keys and values (Dao et al., "Flash-Decoding", 2023): the keys of a
// sequence are split over workgroups, and all query heads of a key/value head sit in one, so K and V are read once.
//
// Grid: (splits, kvHeads · head blocks, queries). Workgroup: threads in groups of L lanes. A lane group takes every n-th
// batch of keys. Its lanes share a key's elements (16 bytes a load) and keep the running maximum, sum and output of
// an online softmax (Milakov & Gimelshein 2018) in registers. All loads of a batch are issued before the first is
// used, together with those of the next batch's page-table entries. The first batch's are issued before the queries are
// ready: where the kernel rotates and stores its own token (`own_token.ts`), that takes as long as the loads. Lane groups
// add up by shuffles within a subgroup, then subgroups through workgroup memory (`subgroups.ts`). A sequence with a
// single split writes its output at once, others leave partial results for `merge.ts`. Bound by reading K and V.

import { contentAt, Word } from "../plan/words.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, float, load, range, wgsl } from "../shader/wgsl.ts";
import { pageBuffers, scaled, slotFunction, vecHalf } from "./cache.ts";
import { ownToken } from "./own_token.ts";
import { rotationBuffers } from "./rotation.ts";
import {
  type AttentionRole,
  type AttentionShape,
  capScore,
  firstKey,
  type HeadNorms,
  scoreKey,
} from "./shape.ts";
import { addSubgroups } from "./subgroups.ts";
import { type DecodeLayout, headBlocks, sharedBytes, tune, type Tuning } from "./tuning.ts";

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
): KernelCall<AttentionRole> {
  const { heads, cache } = shape;
  const tuning = tune(heads, wanted, caps);
  return kernel({
    key: `attention-decode${own === null ? "" : `-own ${own.qNorm} ${own.kNorm}`} ` +
      `${heads.numHeads}/${heads.numKvHeads}x${heads.headDim} ` +
      `${tuning.threads} ${tuning.headBlock} ${tuning.batch} ${cache.key} ` +
      `${scoreKey(shape)} ${shape.qkv} ${shape.output}`,
    buffers: {
      qkv: read(`vec4<${shape.qkv}>`),
      ...(own === null ? {} : rotationBuffers(own)),
      sinks: shape.sinks && read("f32"),
      pageTable: read("u32"),
      ...pageBuffers(cache, own === null ? read : write),
      partials: write("f32"),
      output: write(`vec4<${shape.output}>`),
    },
    workgroups: [splits, headBlocks(heads, tuning.headBlock), queries],
    code: () => code(shape, own, tuning),
  });
}

function code(shape: AttentionShape, norms: HeadNorms | null, tuning: Tuning): string {
  const { heads: { numHeads, numKvHeads, headDim }, cache } = shape;
  const { lanes, chunks, headBlock, threads, batch, subgroup } = tuning;
  const subgroups = threads / subgroup;
  const group = numHeads / numKvHeads;
  const blocks = divideUp(group, headBlock);
  const width = numHeads + 2 * numKvHeads;
  const stride = threads / lanes * batch;
  const H = range(headBlock), C = range(chunks), J = range(batch);
  const sides = [["a", 0], ["b", 1]] as const;
  const partial = chunks * lanes * 8 !== headDim;
  const own = norms === null ? null : ownToken(shape, norms, tuning);
  const inHead = (c: number) => `part + ${c * lanes}u < ${headDim / 8}u`;
  // Lanes past the end of a head repeat its first chunk with a query of zeros, and drop their output.
  const chunkOf = (c: number) => {
    const at = c === 0 ? "part" : `part + ${c * lanes}u`;
    return partial ? `select(0u, ${at}, ${at} < ${headDim / 8}u)` : at;
  };
  const query = (h: number, c: number, half: 0 | 1) => {
    const quad = `2u * chunk${c} + ${half}u`;
    if (own !== null) return own.query(h, quad);
    return load(shape.qkv, `qkv[(token * ${width}u + head + ${h}u) * ${headDim / 4}u + ${quad}]`, 4);
  };
  const slots = (at: string) => J.map((i) => `slot${i} = slotOf(row, min(${at} + ${i}u, last), kvHead);`);
  const loads = (keyword: "var " | "") => [
    ...(cache.int8 ? J.map((i) => `${keyword}scales${i} = scales[slot${i}];`) : []),
    ...["key", "value"].flatMap((name) =>
      J.flatMap((i) =>
        C.map((c) => `${keyword}${name[0]}${i}_${c} = ${name}s[slot${i} * ${headDim / 8}u + chunk${c}];`)
      )
    ),
  ];
  const outputBytes = 4 * subgroups * headDim;
  const sharedHeads = Math.max(1, Math.min(headBlock, Math.floor(sharedBytes(threads) / outputBytes)));
  return wgsl`${slotFunction(cache)}
// Scores are in units of log2, so that the softmax uses exp2.
const least = -1e30;
${own?.declarations ?? ""}
var<workgroup> sharedOutput: array<vec4<f32>, ${sharedHeads * subgroups * headDim / 4}>;
var<workgroup> sharedMaximum: array<f32, ${subgroups * headBlock}>;
var<workgroup> sharedSum: array<f32, ${subgroups * headBlock}>;
${plainMain(threads)} {
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
  ${J.map((i) => `var slot${i} = 0u;`)}
  ${slots("begin")}
  ${
    C.map((c) =>
      `let chunk${c} = ${chunkOf(c)};
  let factor${c} = ${partial ? `select(0.0, 1.0, ${inHead(c)}) * ` : ""}${float(shape.scale * Math.LOG2E)};`
    )
  }
  ${own?.loads ?? ""}
  ${loads("var ")}
  ${own?.rotation ?? ""}
  ${
    H.map((h) =>
      C.map((c) =>
        sides.map(([side, half]) =>
          `let q${h}_${c}${side} = factor${c} * ${query(h, c, half)};
  var o${h}_${c}${side} = vec4<f32>(0.0);`
        )
      )
    )
  }
  ${H.map((h) => `var m${h} = least;\n  var l${h} = 0.0;`)}
  ${own?.begin ?? ""}
  for (var j = begin; j < end; j += ${stride}u) {
    ${slots(`j + ${stride}u`)}
    ${
    J.map((i) => [
      ...C.flatMap((c) =>
        sides.map(([side, half]) => `let k${i}_${c}${side} = ${vecHalf(cache, `k${i}_${c}`, half)};`)
      ),
      ...H.map((h) => {
        const dots = C.map((c) => `dot(q${h}_${c}a, k${i}_${c}a) + dot(q${h}_${c}b, k${i}_${c}b)`);
        return `var s${i}_${h} = ${dots.join(" + ")};`;
      }),
    ])
  }
    ${
    range(Math.log2(lanes)).map((step) =>
      J.map((i) => H.map((h) => `s${i}_${h} += subgroupShuffleXor(s${i}_${h}, ${1 << step}u);`))
    )
  }
    ${cache.int8 && J.map((i) => H.map((h) => `s${i}_${h} *= scales${i}.x;`))}
    ${J.map((i) => H.map((h) => capScore(shape, `s${i}_${h}`)))}
    ${J.slice(1).map((i) => wgsl`if (j + ${i}u >= end) { ${H.map((h) => `s${i}_${h} = -3e38;`)} }`)}
    ${
    H.map((h) =>
      wgsl`let n${h} = ${J.reduce((text, i) => `max(${text}, s${i}_${h})`, `m${h}`)};
    let r${h} = exp2(m${h} - n${h});
    m${h} = n${h};
    ${J.map((i) => `let p${i}_${h} = exp2(s${i}_${h} - n${h});`)}
    l${h} = l${h} * r${h} + ${J.map((i) => `p${i}_${h}`).join(" + ")};
    ${C.map((c) => sides.map(([side]) => `o${h}_${c}${side} *= r${h};`))}`
    )
  }
    ${J.map((i) => H.map((h) => `let w${i}_${h} = ${scaled(cache, `p${i}_${h}`, `scales${i}.y`)};`))}
    ${
    J.map((i) =>
      C.map((c) =>
        sides.map(([side, half]) => [
          `let v${i}_${c}${side} = ${vecHalf(cache, `v${i}_${c}`, half)};`,
          ...H.map((h) => `o${h}_${c}${side} += w${i}_${h} * v${i}_${c}${side};`),
        ])
      )
    )
  }
    if (j + ${stride}u < end) {
      ${loads("")}
    }
  }
  ${
    range(Math.log2(subgroup / lanes)).map((step) => {
      const other = (value: string) => `subgroupShuffleXor(${value}, ${lanes << step}u)`;
      return H.map((h) =>
        wgsl`{
    let n = max(m${h}, ${other(`m${h}`)});
    let r = exp2(m${h} - n);
    m${h} = n;
    l${h} *= r;
    l${h} += ${other(`l${h}`)};
    ${
          C.map((c) =>
            sides.map(([side]) => {
              const o = `o${h}_${c}${side}`;
              return `${o} *= r;\n    ${o} += ${other(o)};`;
            })
          )
        }
  }`
      );
    })
  }
  let lead = thread % ${subgroup}u < ${lanes}u;
  let ownSubgroup = thread / ${subgroup}u;
  if (lead && part == 0u) {
    ${
    H.map((h) =>
      `sharedMaximum[ownSubgroup * ${headBlock}u + ${h}u] = m${h};
    sharedSum[ownSubgroup * ${headBlock}u + ${h}u] = l${h};`
    )
  }
  }
  ${
    range(divideUp(headBlock, sharedHeads)).map((i) =>
      addSubgroups(shape, tuning, i * sharedHeads, sharedHeads)
    )
  }
}`;
}
