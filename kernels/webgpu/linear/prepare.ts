// Prepares activation rows for a tiled product: root-mean-square norm, or a scale that makes f16 safe, and conversion
// to the type of the product's arithmetic.
//
// Grid: one workgroup per token. Workgroup: 32–256 threads walk the row with 16-byte loads, twice; the second pass
// comes from cache. Layout: [tokens, columns] in and out. Sums are float32. Normalised numbers are at most
// sqrt(columns) · |weight|; others are divided by a power of two that leaves the largest of a row between 1 and 2, and
// `rowScales` says by which. Bound by: memory bandwidth, and by launch for few tokens.

import type { KernelCall } from "../shader/kernel.ts";
import { anySubgroup, laneArguments, laneParameters, workgroupReduction } from "../shader/reduce.ts";
import { isScaled, type LinearRole, type LinearShape, type Preparation, preparationKey } from "./linear.ts";
import {
  type BufferDeclaration,
  declareBuffers,
  foldGrid,
  gridIndex,
  loadOctet,
  octetHalves,
  octets,
  unpackFunctions,
} from "./finish.ts";

/** prepared [tokens, columns] = norm(input), or input / rowScales. */
export function prepareCall(
  shape: LinearShape,
  tokens: number,
  preparation: Preparation,
): KernelCall<LinearRole> {
  const { columns, input, countWord } = shape;
  const threads = columns >= 2048 ? 256 : columns >= 1024 ? 128 : 32;
  const scaled = isScaled(preparation);
  return {
    source: {
      key: `prepare/${columns}/${input}/${preparationKey(preparation)}/n${countWord}/g${
        tokens > 65535 ? tokens : 1
      }t${threads}`,
      code: () => prepareCode(shape, tokens, preparation, threads),
      access: ["read", scaled ? "read_write" : "read", "read_write"],
    },
    bindings: ["input", scaled ? "rowScales" : "normWeight", "prepared"],
    workgroups: [...foldGrid(tokens), 1],
  };
}

function prepareCode(
  shape: LinearShape,
  tokens: number,
  preparation: Preparation,
  threads: number,
): string {
  const { columns, input, countWord } = shape;
  const { type } = preparation;
  const scaled = isScaled(preparation);
  const octetsPerRow = columns / 8;
  const [low, high] = octetHalves(input, "x");
  const [weightLow, weightHigh] = scaled ? ["", ""] : [" * g_0", " * g_1"];
  return `${input === "f16" || type === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: octets(input).element },
      factorBuffer(preparation),
      { name: "result", element: `vec4<${type}>`, write: true },
    ])
  }
${unpackFunctions([input])}
${meetingFunctions(preparation, threads)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32, ${laneParameters}) {
  let token = ${gridIndex(tokens)};
  // Uniform for the workgroup: all of it leaves before the first barrier.
  if (token >= plan[${countWord}]) { return; }
  let row = token * ${octetsPerRow}u;
  var found = 0.0;
  for (var i = thread; i < ${octetsPerRow}u; i += ${threads}u) {
    ${loadOctet(input, "input", "x", "row + i")}
    let low = ${low};
    let high = ${high};
    ${find(preparation, "low")}
    ${find(preparation, "high")}
  }
  ${meet(preparation, columns)}
  for (var i = thread; i < ${octetsPerRow}u; i += ${threads}u) {
    ${loadOctet(input, "input", "x", "row + i")}
    ${scaled ? "" : loadOctet("f32", "normWeight", "g", "i")}
    result[(row + i) * 2u] = vec4<${type}>(${low} * scale${weightLow});
    result[(row + i) * 2u + 1u] = vec4<${type}>(${high} * scale${weightHigh});
  }
}
`;
}

/** The buffer behind the factor of a row: the norm's weights, or where its scale goes. */
export const factorBuffer = (preparation: Preparation): BufferDeclaration =>
  isScaled(preparation)
    ? { name: "rowScales", element: "f32", write: true }
    : { name: "normWeight", element: "vec4<f32>" };

/** What {@link meet} needs in a shader whose workgroups have so many threads. */
export function meetingFunctions(preparation: Preparation, threads: number): string {
  const scaled = isScaled(preparation);
  return `${workgroupReduction("reduced", scaled ? "max" : "add", threads, anySubgroup)}
${
    scaled
      ? `// The bits of the power of two at or below a number of at least 0, and its reciprocal; both are finite.
fn powerBelow(x: f32) -> u32 { return clamp(bitcast<u32>(x) & 0x7f800000u, 0x04000000u, 0x7a000000u); }
fn reciprocal(power: u32) -> f32 { return bitcast<f32>(0x7f000000u - power); }`
      : ""
  }`;
}

/** Adds four numbers of a row to a thread's `found`: the sum of squares, or the largest size. */
export function find(preparation: Preparation, four: string): string {
  return isScaled(preparation)
    ? `{ let most = abs(${four}); found = max(found, max(max(most.x, most.y), max(most.z, most.w))); }`
    : `found += dot(${four}, ${four});`;
}

/**
 * The threads' `found` become the row's `scale`, the factor of all its numbers; for one that is not a norm
 * `rowScales[token]` is its reciprocal.
 */
export function meet(preparation: Preparation, columns: number): string {
  return `found = reduced(found, ${laneArguments});
  ${
    isScaled(preparation)
      ? `let power = powerBelow(found);
  let scale = reciprocal(power);
  if (thread == 0u) { rowScales[token] = bitcast<f32>(power); }`
      : `let scale = inverseSqrt(found / ${columns}.0 + ${preparation.normEpsilon});`
  }`;
}
