// The end of decode attention: each subgroup has seen a part of the keys, and their results are added up in workgroup
// memory. A few neighbouring lanes share four elements of the output, each adds up some of the subgroups, and shuffles
// do the rest.

import { range, store, wgsl, xyzw } from "../shader/wgsl.ts";
import { type AttentionShape, partialWords, withSink } from "./shape.ts";
import type { Tuning } from "./tuning.ts";

/** Lanes that share an output. More would spend the time in shuffles that they save in loads. */
const mostSharers = 4;

/** The subgroups' outputs of heads `from` … `from + count − 1` of the block, added up and written. */
export function addSubgroups(shape: AttentionShape, tuning: Tuning, from: number, count: number): string {
  const { heads: { numHeads, headDim } } = shape;
  const { lanes, chunks, headBlock, threads, subgroup } = tuning;
  const subgroups = threads / subgroup, quads = headDim / 4;
  const sharers = Math.min(mostSharers, subgroups, subgroup);
  const G = range(subgroups / sharers);
  const heads = range(Math.min(count, headBlock - from));
  const writers = heads.length * quads;
  const across = (statement: (other: (value: string) => string) => string) =>
    range(Math.log2(sharers)).map((step) =>
      statement((value) => `subgroupShuffleXor(${value}, ${1 << step}u)`)
    );
  // All lanes that share an output are in the loop together, as the shuffles need.
  return wgsl`workgroupBarrier();
  if (lead) {
    ${
    range(chunks).map((c) =>
      wgsl`if (part + ${c * lanes}u < ${headDim / 8}u) {
      ${
        heads.map((h) =>
          `{
        let at = (ownSubgroup * ${heads.length}u + ${h}u) * ${quads}u + 2u * (part + ${c * lanes}u);
        sharedOutput[at] = o${from + h}_${c}a;
        sharedOutput[at + 1u] = o${from + h}_${c}b;
      }`
        )
      }
    }`
    )
  }
  }
  workgroupBarrier();
  for (var i = thread / ${sharers}u; i < ${writers}u; i += ${threads / sharers}u) {
    let h = i / ${quads}u + ${from}u;
    let quad = i % ${quads}u;
    let sharer = thread % ${sharers}u;
    ${
    G.map((g) =>
      `let b${g} = sharer + ${g * sharers}u;
    let m${g} = sharedMaximum[b${g} * ${headBlock}u + h];`
    )
  }
    var maximum = ${G.slice(1).reduce((text, g) => `max(${text}, m${g})`, "m0")};
    ${across((other) => `maximum = max(maximum, ${other("maximum")});`)}
    var sum = 0.0;
    var total = vec4<f32>(0.0);
    ${
    G.map((g) =>
      `{
      let factor = exp2(m${g} - maximum);
      sum += factor * sharedSum[b${g} * ${headBlock}u + h];
      total += factor * sharedOutput[b${g} * ${writers}u + i];
    }`
    )
  }
    ${across((other) => `sum += ${other("sum")};\n    total += ${other("total")};`)}
    if (sharer == 0u) {
      if (single) {
        output[(token * ${numHeads}u + head + h) * ${quads}u + quad] = ${
    store(shape.output, `total / ${withSink(shape, "sum", "maximum", "head + h")}`, 4)
  };
      } else {
        let base = ((group.z * ${numHeads}u + head + h) * splits + group.x) * ${partialWords(headDim)}u;
        ${xyzw.map((e, k) => `partials[base + 4u * quad + ${k}u] = total.${e};`)}
        if (quad == 0u) {
          partials[base + ${headDim}u] = maximum;
          partials[base + ${headDim + 1}u] = sum;
        }
      }
    }
  }`;
}
