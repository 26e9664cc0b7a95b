// Merges the splits of decode attention: rescales each split's output to the common maximum and adds them up.
//
// Grid: (query heads, queries). Memory: partials [query][head][split][headDim outputs, maximum, sum] in f32. The
// splits' factors are found once, a split per thread, then every thread adds up its columns, four splits in flight.
// Only recorded when some sequence has several splits; those with one have been written already. Bound by latency.

import { contentAt, Word } from "../plan/words.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { store } from "../shader/wgsl.ts";
import { type AttentionRole, type AttentionShape, firstKey, partialWords, withSink } from "./shape.ts";

/** Most splits of a sequence. */
export const mostSplits = 256;

/** Merges `queries` queries. */
export function mergeSplits(
  shape: AttentionShape,
  queries: number,
  caps: DeviceCaps,
): KernelCall<AttentionRole> {
  const { heads: { numHeads, headDim }, window } = shape;
  const threads = caps.software ? 32 : Math.max(64, headDim);
  const words = partialWords(headDim);
  return kernel({
    key: `attention-merge ${numHeads}x${headDim} ${window} ${shape.output}${shape.sinks ? " sinks" : ""}`,
    buffers: { partials: read("f32"), sinks: shape.sinks && read("f32"), output: write(shape.output) },
    workgroups: [numHeads, queries, 1],
    code: () =>
      `${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("total", "add", threads, caps)}
var<workgroup> factors: array<f32, ${mostSplits + 4}>;
${laneMain(threads)} {
  let entry = ${contentAt}u + 3u * group.y;
  let position = plan[entry + 2u];
  let splitKeys = plan[${Word.SplitKeys}];
  let keys = position + 1u - ${firstKey(window, "position")};
  if (keys <= splitKeys) { return; }
  let splits = (keys + splitKeys - 1u) / splitKeys;
  let base = (group.y * ${numHeads}u + group.x) * plan[${Word.Splits}] * ${words}u;
  var greatest = -1e30;
  for (var s = thread; s < splits; s += ${threads}u) {
    greatest = max(greatest, partials[base + s * ${words}u + ${headDim}u]);
  }
  let maximum = largest(greatest, ${laneArguments});
  var part = 0.0;
  // Factors behind the last split are zero, so that four splits can be taken at a time.
  for (var s = thread; s < ((splits + 3u) & ~3u); s += ${threads}u) {
    let at = base + min(s, splits - 1u) * ${words}u + ${headDim}u;
    let factor = select(0.0, exp2(partials[at] - maximum), s < splits);
    factors[s] = factor;
    part += partials[at + 1u] * factor;
  }
  let splitSum = total(part, ${laneArguments});
  let sum = ${withSink(shape, "splitSum", "maximum", "group.x")};
  workgroupBarrier();
  for (var d = thread; d < ${headDim}u; d += ${threads}u) {
    var value = 0.0;
    for (var s = 0u; s < splits; s += 4u) {
      let a = partials[base + s * ${words}u + d];
      let b = partials[base + min(s + 1u, splits - 1u) * ${words}u + d];
      let c = partials[base + min(s + 2u, splits - 1u) * ${words}u + d];
      let e = partials[base + min(s + 3u, splits - 1u) * ${words}u + d];
      value += (a * factors[s] + b * factors[s + 1u]) + (c * factors[s + 2u] + e * factors[s + 3u]);
    }
    output[(plan[entry] * ${numHeads}u + group.x) * ${headDim}u + d] = ${store(shape.output, "value / sum")};
  }
}`,
  });
}
