// The end of decode attention: bundles of lanes have each seen a part of the keys, and meet in workgroup memory. A few
// neighbouring lanes share four elements of the output, each adds up some of the bundles, and shuffles do the rest.

import { lines, range, storeQuad } from "../shader/wgsl.ts";
import { type AttentionShape, partialWords } from "./shape.ts";
import type { Tuning } from "./tuning.ts";

/** Lanes that share an output. More would spend the time in shuffles that they save in loads. */
const mostSharers = 4;

/** The bundles' outputs of heads `from` … `from + count − 1` of the block, added up and written. */
export function meeting(shape: AttentionShape, tuning: Tuning, from: number, count: number): string {
  const { heads: { numHeads, headDim } } = shape;
  const { lanes, chunks, headBlock, threads, bundle } = tuning;
  const bundles = threads / bundle, quads = headDim / 4;
  const sharers = Math.min(mostSharers, bundles, bundle);
  const B = range(bundles / sharers), steps = range(Math.log2(sharers));
  const words = partialWords(headDim);
  const heads = range(Math.min(count, headBlock - from));
  const writes = lines(
    range(chunks).map((c) =>
      `    if (part + ${c * lanes}u < ${headDim / 8}u) {
${
        lines(heads.map((h) =>
          `      {
        let at = (ownBundle * ${heads.length}u + ${h}u) * ${quads}u + 2u * (part + ${c * lanes}u);
        meetingOutput[at] = o${from + h}_${c}a;
        meetingOutput[at + 1u] = o${from + h}_${c}b;
      }`
        ))
      }
    }`
    ),
  );
  const across = (statement: (other: (value: string) => string) => string) =>
    lines(steps.map((step) => statement((value) => `subgroupShuffleXor(${value}, ${1 << step}u)`)));
  const writers = heads.length * quads;
  // All lanes that share an output are in the loop together, as the shuffles need.
  return `  workgroupBarrier();
  if (lead) {
${writes}
  }
  workgroupBarrier();
  for (var i = thread / ${sharers}u; i < ${writers}u; i += ${threads / sharers}u) {
    let h = i / ${quads}u + ${from}u;
    let quad = i % ${quads}u;
    let sharer = thread % ${sharers}u;
${
    lines(B.map((b) =>
      `    let b${b} = sharer + ${b * sharers}u;
    let m${b} = meetingMaximum[b${b} * ${headBlock}u + h];`
    ))
  }
    var maximum = ${B.slice(1).reduce((text, b) => `max(${text}, m${b})`, "m0")};
${across((other) => `    maximum = max(maximum, ${other("maximum")});`)}
    var sum = 0.0;
    var total = vec4<f32>(0.0);
${
    lines(B.map((b) =>
      `    {
      let factor = exp2(m${b} - maximum);
      sum += factor * meetingSum[b${b} * ${headBlock}u + h];
      total += factor * meetingOutput[b${b} * ${writers}u + i];
    }`
    ))
  }
${across((other) => `    sum += ${other("sum")};\n    total += ${other("total")};`)}
    if (sharer == 0u) {
      if (single) {
        result[(token * ${numHeads}u + head + h) * ${quads}u + quad] = ${
    storeQuad(shape.output, "total / sum")
  };
      } else {
        let base = ((group.z * ${numHeads}u + head + h) * splits + group.x) * ${words}u;
${lines(["x", "y", "z", "w"].map((e, k) => `        partials[base + 4u * quad + ${k}u] = total.${e};`))}
        if (quad == 0u) {
          partials[base + ${headDim}u] = maximum;
          partials[base + ${headDim + 1}u] = sum;
        }
      }
    }
  }`;
}
