// output += input over the step's tokens: the second half of an all-reduce into the residual stream.
//
// Grid: (width / 128, T), a thread per element. Bound by launch; the all-reduce around it takes far longer.

import { type ElementType, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp, load, store } from "../shader/wgsl.ts";

const threads = 128;

/** Adds `tokens` rows of `width` elements. */
export function addRows(width: number, element: ElementType, tokens: number): KernelCall<"input" | "output"> {
  return kernel({
    key: `add ${width} ${element}`,
    buffers: { input: read("f32"), output: write(element) },
    workgroups: [divideUp(width, threads), tokens, 1],
    code: () =>
      `${elementMain(threads)} {
  if (id.x >= ${width}u) { return; }
  let at = id.y * ${width}u + id.x;
  output[at] = ${store(element, `${load(element, "output[at]")} + input[at]`)};
}`,
  });
}
