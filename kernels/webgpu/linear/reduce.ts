// Adds the partial sums of a product whose sum was divided (split-K), and finishes it: bias, residual, SiLU·mul.
//
// Grid: one thread per output element, folded. Layout: scratchB [part][token][row] float32 in; the sum runs over
// parts in order, so results do not depend on timing. Bound by: latency; the partial sums are in the last-level cache.

import type { KernelCall } from "../kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import { declareBuffers, finishFunction, foldGrid, gridIndex, outputWidth, repeat } from "./wgsl.ts";

const THREADS = 64;

/** output = epilogue(Σ parts of scratchB). */
export function reduceCall(shape: LinearShape, tokens: number, split: number): KernelCall<LinearRole> {
  const bindings: LinearRole[] = ["scratchB"];
  if (shape.bias) bindings.push("bias");
  bindings.push("output");
  const count = Math.ceil(tokens * outputWidth(shape) / THREADS);
  const [width, height] = foldGrid(count);
  return {
    source: {
      key: [
        `reduce/${shape.rows}/${shape.epilogue}/${shape.bias ? "bias" : ""}/${shape.output}`,
        `s${shape.outputStride}+${shape.outputOffset}/n${shape.countWord}/k${split}/g${
          height > 1 ? width : 1
        }`,
      ].join("/"),
      code: () => reduceCode(shape, split, count),
      access: bindings.map((role) => role === "output" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [width, height, 1],
  };
}

function reduceCode(shape: LinearShape, split: number, count: number): string {
  const width = outputWidth(shape);
  const paired = shape.epilogue === "silu-mul";
  const part = (i: number, offset: number) =>
    `scratchB[(${i}u * tokens + token) * ${shape.rows}u + column + ${offset}u]`;
  return `${shape.output === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "scratchB", element: "f32" },
      ...(shape.bias ? [{ name: "bias", element: "f32" }] : []),
      { name: "output", element: shape.output, write: true },
    ])
  }
${finishFunction(shape)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = plan[${shape.countWord}];
  let index = ${gridIndex(count)} * ${THREADS}u + thread;
  let token = index / ${width}u;
  let column = index - token * ${width}u;
  if (token >= tokens) { return; }
  var sum = 0.0;
  ${repeat(split, (i) => `sum += ${part(i, 0)};`)}
  ${
    paired
      ? `var up = 0.0;
  ${repeat(split, (i) => `up += ${part(i, width)};`)}
  finish(token, column, sum, up);`
      : "finish(token, column, sum);"
  }
}
`;
}
