// Adds the partial sums of a product whose sum was divided (split-K), and finishes it: the root of the norm, bias,
// residual, SiLU·mul.
//
// Grid: (blocks of 256 output columns, tokens). Layout: scratchB [part][token][row] float32 in; the sum runs over
// parts in order, so results do not depend on timing. With a norm in front of the product, whose weight is in the
// partial sums already, each workgroup sums the squares of its token's input. Bound by: latency; the partial sums are
// in the last-level cache.

import type { KernelCall } from "../kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  finishFunction,
  loadOctet,
  octetHalves,
  octets,
  outputWidth,
  repeat,
  unpackFunctions,
} from "./wgsl.ts";

const THREADS = 256;

/** output = epilogue(Σ parts of scratchB), divided by the root mean square of the input if there is a norm. */
export function reduceCall(shape: LinearShape, tokens: number, split: number): KernelCall<LinearRole> {
  const norm = shape.normEpsilon !== null;
  const bindings: LinearRole[] = ["scratchB"];
  if (norm) bindings.push("input");
  if (shape.bias) bindings.push("bias");
  bindings.push("output");
  return {
    source: {
      key: [
        `reduce/${shape.rows}/${shape.epilogue}/${shape.bias ? "bias" : ""}/${shape.output}`,
        `s${shape.outputStride}+${shape.outputOffset}/n${shape.countWord}/k${split}`,
        norm ? `norm${shape.normEpsilon}/${shape.input}${shape.columns}` : "plain",
      ].join("/"),
      code: () => reduceCode(shape, split),
      access: bindings.map((role) => role === "output" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [Math.ceil(outputWidth(shape) / THREADS), tokens, 1],
  };
}

function reduceCode(shape: LinearShape, split: number): string {
  const { columns, input, normEpsilon } = shape;
  const norm = normEpsilon !== null;
  const width = outputWidth(shape);
  const paired = shape.epilogue === "silu-mul";
  const part = (i: number, offset: number) =>
    `scratchB[(${i}u * tokens + token) * ${shape.rows}u + column + ${offset}u]`;
  const total = (offset: number) => Array.from({ length: split }, (_, i) => part(i, offset)).join(" + ");
  const [low, high] = octetHalves(input, "x");
  const squares = `var squares = 0.0;
  for (var i = thread; i < ${columns / 8}u; i += ${THREADS}u) {
    ${loadOctet(input, "input", "x", `token * ${columns / 8}u + i`)}
    let low = ${low};
    let high = ${high};
    squares += dot(low, low) + dot(high, high);
  }
  shared_squares[thread] = squares;
  ${
    repeat(Math.log2(THREADS), (n) => {
      const half = THREADS >> (n + 1);
      return `workgroupBarrier();
  if (thread < ${half}u) { shared_squares[thread] += shared_squares[thread + ${half}u]; }`;
    })
  }
  workgroupBarrier();
  let root = inverseSqrt(shared_squares[0] / ${columns}.0 + ${normEpsilon});`;
  return `${shape.output === "f16" || (norm && input === "f16") ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "scratchB", element: "f32" },
      ...(norm ? [{ name: "input", element: octets(input).element }] : []),
      ...(shape.bias ? [{ name: "bias", element: "f32" }] : []),
      { name: "output", element: shape.output, write: true },
    ])
  }
${norm ? `var<workgroup> shared_squares: array<f32, ${THREADS}>;` : ""}
${norm ? unpackFunctions([input]) : ""}
${finishFunction(shape)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = plan[${shape.countWord}];
  let token = group.y;
  let column = group.x * ${THREADS}u + thread;
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= tokens) { return; }
  ${norm ? squares : "let root = 1.0;"}
  if (column < ${width}u) {
    ${
    paired
      ? `finish(token, column, root * (${total(0)}), root * (${total(width)}));`
      : `finish(token, column, root * (${total(0)}));`
  }
  }
}
`;
}
