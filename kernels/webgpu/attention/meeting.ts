// The end of decode attention: bundles of lanes have each seen a part of the keys, and meet in workgroup memory.

import { Word } from "../plan/words.ts";
import { lines, range, store } from "../wgsl.ts";
import { type AttentionShape, partialWords } from "./shape.ts";
import type { Tuning } from "./tuning.ts";

/** The bundles' outputs of heads `from` … `from + count − 1` of the block, added up and written. */
export function meeting(shape: AttentionShape, tuning: Tuning, from: number, count: number): string {
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
