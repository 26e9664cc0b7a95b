// Root-mean-square norm of many rows into scratchA, in front of a tiled product: with many tiles along the weight's
// rows it is cheaper to normalise once than in every tile.
//
// Grid: one workgroup per token. Workgroup: 64–256 threads walk the row with 16-byte loads, twice; the second pass
// comes from cache. Layout: [tokens, columns] in and out. Sums are float32; the result is f16 where products are f16
// (its values are at most sqrt(columns) · |weight|). Bound by: memory bandwidth.

import type { ElementType, KernelCall } from "../kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  foldGrid,
  gridIndex,
  loadOctet,
  octetHalves,
  octets,
  unpackFunctions,
} from "./wgsl.ts";

/** scratchA [tokens, columns] = norm(input). */
export function normCall(
  shape: LinearShape,
  tokens: number,
  result: ElementType,
  threads: number,
): KernelCall<LinearRole> {
  const { columns, input, normEpsilon, countWord } = shape;
  return {
    source: {
      key: `norm/${columns}/${input}-${result}/e${normEpsilon}/n${countWord}/g${
        tokens > 65535 ? tokens : 1
      }t${threads}`,
      code: () => normCode(shape, tokens, result, threads),
      access: ["read", "read", "read_write"],
    },
    bindings: ["input", "normWeight", "scratchA"],
    workgroups: [...foldGrid(tokens), 1],
  };
}

function normCode(shape: LinearShape, tokens: number, result: ElementType, threads: number): string {
  const { columns, input, normEpsilon, countWord } = shape;
  const octetsPerRow = columns / 8;
  const [low, high] = octetHalves(input, "x");
  const [weightLow, weightHigh] = octetHalves("f32", "g");
  return `${input === "f16" || result === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: octets(input).element },
      { name: "normWeight", element: "vec4<f32>" },
      { name: "result", element: `vec4<${result}>`, write: true },
    ])
  }
var<workgroup> partial: array<f32, ${threads}>;
${unpackFunctions([input])}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let token = ${gridIndex(tokens)};
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= plan[${countWord}]) { return; }
  let row = token * ${octetsPerRow}u;
  var squares = 0.0;
  for (var i = thread; i < ${octetsPerRow}u; i += ${threads}u) {
    ${loadOctet(input, "input", "x", "row + i")}
    let low = ${low};
    let high = ${high};
    squares += dot(low, low) + dot(high, high);
  }
  partial[thread] = squares;
  for (var width = ${threads / 2}u; width > 0u; width >>= 1u) {
    workgroupBarrier();
    if (thread < width) { partial[thread] += partial[thread + width]; }
  }
  workgroupBarrier();
  let scale = inverseSqrt(partial[0] / ${columns}.0 + ${normEpsilon});
  for (var i = thread; i < ${octetsPerRow}u; i += ${threads}u) {
    ${loadOctet(input, "input", "x", "row + i")}
    ${loadOctet("f32", "normWeight", "g", "i")}
    result[(row + i) * 2u] = vec4<${result}>(${low} * scale * ${weightLow});
    result[(row + i) * 2u + 1u] = vec4<${result}>(${high} * scale * ${weightHigh});
  }
}
`;
}
