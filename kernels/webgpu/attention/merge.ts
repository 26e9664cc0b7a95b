// Merges the splits of decode attention: rescales each split's output to the common maximum and adds them up.
//
// Grid: (query heads, queries). Memory: partials [query][head][split][headDim outputs, maximum, sum] in f32. Only
// recorded when some sequence has several splits; those with one have been written already. Bound by launch.

import type { DeviceCaps, KernelCall } from "../kernel.ts";
import { Word } from "../plan_buffer.ts";
import { input, kernelSource, output, store } from "../wgsl.ts";
import { type AttentionShape, firstKey, partialWords } from "./decode.ts";

/** Merges `queries` queries. */
export function mergeSplits(
  shape: AttentionShape,
  queries: number,
  caps: DeviceCaps,
): KernelCall<"partial" | "output"> {
  const { heads: { numHeads, headDim }, window } = shape;
  const threads = caps.software ? Math.min(headDim, 32) : headDim;
  const words = partialWords(headDim);
  const source = kernelSource(
    `attention-merge ${numHeads}x${headDim} ${window} ${shape.output}`,
    [input("partials", "array<f32>"), output("result", `array<${shape.output}>`)],
    () =>
      `@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32) {
  let entry = plan[${Word.DecodesAt}] + 3u * group.y;
  let position = plan[entry + 2u];
  let splitKeys = plan[${Word.SplitKeys}];
  let keys = position + 1u - ${firstKey(window, "position")};
  if (keys <= splitKeys) { return; }
  let splits = (keys + splitKeys - 1u) / splitKeys;
  let base = (group.y * ${numHeads}u + group.x) * plan[${Word.Splits}] * ${words}u;
  var maximum = -1e30;
  for (var s = 0u; s < splits; s++) { maximum = max(maximum, partials[base + s * ${words}u + ${headDim}u]); }
  var sum = 0.0;
  for (var s = 0u; s < splits; s++) {
    let at = base + s * ${words}u + ${headDim}u;
    sum += partials[at + 1u] * exp2(partials[at] - maximum);
  }
  for (var d = thread; d < ${headDim}u; d += ${threads}u) {
    var total = 0.0;
    for (var s = 0u; s < splits; s++) {
      let at = base + s * ${words}u;
      total += partials[at + d] * exp2(partials[at + ${headDim}u] - maximum);
    }
    result[(plan[entry] * ${numHeads}u + group.x) * ${headDim}u + d] = ${store(shape.output, "total / sum")};
  }
}`,
  );
  return { source, bindings: ["partial", "output"], workgroups: [numHeads, queries, 1] };
}
