// The router's choice: softmax over the experts' logits and the k largest, by repeated maximum.
//
// Grid: a workgroup per token. Memory: logits [T, experts]; routes [T, k] of (expert, weight as bits). The lowest
// expert wins a tie. Bound by launch.

import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { laneArguments, laneMain, oneSubgroup, workgroupReduction } from "../shader/reduce.ts";

/** Fixed properties. */
export interface RouteShape {
  /** Number of experts. */
  readonly experts: number;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Divide the chosen weights by their sum. */
  readonly renormalize: boolean;
}

/** Chooses experts for `tokens` tokens. */
export function route(shape: RouteShape, tokens: number, caps: DeviceCaps): KernelCall<"logits" | "routes"> {
  const { experts, expertsPerToken: k, renormalize } = shape;
  const threads = oneSubgroup(caps);
  return kernel({
    key: `route ${experts} k${k} ${renormalize}`,
    buffers: { logits: read("f32"), routes: write("vec2<u32>") },
    workgroups: [tokens, 1, 1],
    code: () =>
      `${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("total", "add", threads, caps)}
${workgroupReduction("first", "minU32", threads, caps)}
var<workgroup> chosen: array<vec2<u32>, ${k}>;
${laneMain(threads)} {
  let base = group.x * ${experts}u;
  var lastValue = 3.4e38;
  var lastId = 0u;
  var maximum = 0.0;
  var sum = 0.0;
  for (var n = 0u; n < ${k}u; n++) {
    var best = -3.4e38;
    var id = 0xffffffffu;
    for (var i = thread; i < ${experts}u; i += ${threads}u) {
      let value = logits[base + i];
      if (value > best && (value < lastValue || (value == lastValue && i > lastId))) { best = value; id = i; }
    }
    lastValue = largest(best, ${laneArguments});
    lastId = first(select(0xffffffffu, id, best == lastValue), ${laneArguments});
    if (n == 0u) { maximum = lastValue; }
    let weight = exp(lastValue - maximum);
    sum += weight;
    if (thread == 0u) { chosen[n] = vec2<u32>(lastId, bitcast<u32>(weight)); }
  }
${
        renormalize ? "" : `  var part = 0.0;
  for (var i = thread; i < ${experts}u; i += ${threads}u) { part += exp(logits[base + i] - maximum); }
  sum = total(part, ${laneArguments});`
      }
  workgroupBarrier();
  for (var n = thread; n < ${k}u; n += ${threads}u) {
    let entry = chosen[n];
    routes[group.x * ${k}u + n] = vec2<u32>(entry.x, bitcast<u32>(bitcast<f32>(entry.y) / sum));
  }
}`,
  });
}
