// output += input over the step's tokens: the second half of an all-reduce into the residual stream.
//
// Grid: (width / 128, T), a thread per element. Bound by launch; the all-reduce around it takes far longer.

import type { ElementType, KernelCall } from "../shader/kernel.ts";
import { divideUp, input, kernelSource, load, output, store } from "../shader/wgsl.ts";

const threads = 128;

/** Adds `tokens` rows of `width` elements. */
export function addRows(width: number, element: ElementType, tokens: number): KernelCall<"input" | "output"> {
  const source = kernelSource(
    `add ${width} ${element}`,
    [input("x", "array<f32>"), output("result", `array<${element}>`)],
    () =>
      `@compute @workgroup_size(${threads}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${width}u) { return; }
  let at = id.y * ${width}u + id.x;
  result[at] = ${store(element, `${load(element, "result[at]")} + x[at]`)};
}`,
  );
  return { source, bindings: ["input", "output"], workgroups: [divideUp(width, threads), tokens, 1] };
}
