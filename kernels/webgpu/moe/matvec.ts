// Experts for few tokens: matrix–vector products that look up their expert, no sorting.
//
// Gate-up, grid (F / units, pairs): gated[pair] = silu(gate · x) · (up · x) of the pair's expert; a workgroup of one
// subgroup has `units` output features. Down, grid (H / units, T): a subgroup for each of a token's experts (where
// the subgroup's size is fixed, else one after the other), weighted and added in the order of their ranks, so the
// result does not depend on the batch. Weights are read in 16-byte loads, [expert][row][column]. Bound by reading
// the chosen experts.

import type { DeviceCaps, KernelCall } from "../shader/kernel.ts";
import {
  loadWeight,
  octetNumbers,
  octets,
  octetScale,
  repeat,
  rowOctets,
  scaleFunction,
  unpackFunctions,
} from "../linear/finish.ts";
import { laneArguments, laneParameters, oneSubgroup, workgroupReduction } from "../shader/reduce.ts";
import { divideUp, input, kernelSource, load, output, store } from "../shader/wgsl.ts";
import { type ExpertProduct, productKey } from "./shape.ts";

const units = 4;

/** Sums over the row's octets of `rows` dot products with the activation row at octet `at`. */
function dotProducts(product: ExpertProduct, threads: number, rows: number): string {
  const { columns, dtype } = product;
  return `for (var k = thread; k < ${columns / 8}u; k += ${threads}u) {
      let low = activations[at + 2u * k];
      let high = activations[at + 2u * k + 1u];
${
    repeat(rows, (r) => {
      const [a, b] = octetNumbers(dtype, `w${r}`);
      return `      ${loadWeight(dtype, "weights", `w${r}`, `row${r}`, "k")} sum${r} += ${
        octetScale(dtype, `w${r}`)
      }(dot(low, ${a}) + dot(high, ${b}));`;
    })
  }
    }`;
}

/** gated = silu(gate) · up for the pairs of `tokens` tokens. */
export function expertGateUp(
  product: ExpertProduct,
  tokens: number,
  caps: DeviceCaps,
): KernelCall<"activations" | "weights" | "routes" | "result"> {
  const { width, columns, dtype, expertsPerToken: k, firstExpert, experts } = product;
  const threads = oneSubgroup(caps);
  const stride = rowOctets(dtype, columns);
  const source = kernelSource(
    `expert-matvec ${productKey(product)}`,
    [
      input("activations", "array<vec4<f32>>"),
      input("weights", `array<${octets(dtype).element}>`),
      input("routes", "array<vec2<u32>>"),
      output("result", "array<f32>"),
    ],
    () =>
      `${workgroupReduction("total", "add", threads, caps)}
${unpackFunctions([dtype])}
${scaleFunction(dtype, "weights", columns)}
@compute @workgroup_size(${threads}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) thread: u32, ${laneParameters}) {
  let pair = group.y;
  let expert = routes[pair].x - ${firstExpert}u;
  if (expert >= ${experts}u) { return; }
  let at = (pair / ${k}u) * ${columns / 4}u;
  let unit = group.x * ${units}u;
${
        repeat(units, (u) =>
          `  let row${2 * u} = (expert * ${2 * width}u + min(unit + ${u}u, ${width - 1}u)) * ${stride}u;
  let row${2 * u + 1} = row${2 * u} + ${width * stride}u;`)
      }
${repeat(2 * units, (r) => `  var sum${r} = 0.0;`)}
  ${dotProducts(product, threads, 2 * units)}
${
        repeat(units, (u) =>
          `  let gate${u} = total(sum${2 * u}, ${laneArguments});
  let up${u} = total(sum${2 * u + 1}, ${laneArguments});
  if (thread == 0u && unit + ${u}u < ${width}u) {
    result[pair * ${width}u + unit + ${u}u] = gate${u} / (1.0 + exp(-gate${u})) * up${u};
  }`)
      }
}`,
  );
  return {
    source,
    bindings: ["activations", "weights", "routes", "result"],
    workgroups: [divideUp(width, units), tokens * k, 1],
  };
}

/** result = or += Σ weight · down for `tokens` tokens. */
export function expertDown(
  product: ExpertProduct,
  epilogue: "store" | "add",
  tokens: number,
  caps: DeviceCaps,
): KernelCall<"activations" | "weights" | "routes" | "result"> {
  const { width, dtype } = product;
  const source = kernelSource(
    `expert-matvec ${productKey(product)} ${epilogue}`,
    [
      input("activations", "array<vec4<f32>>"),
      input("weights", `array<${octets(dtype).element}>`),
      input("routes", "array<vec2<u32>>"),
      output("result", `array<${product.output}>`),
    ],
    () => downCode(product, epilogue, caps),
  );
  return {
    source,
    bindings: ["activations", "weights", "routes", "result"],
    workgroups: [divideUp(width, units), tokens, 1],
  };
}

function downCode(product: ExpertProduct, epilogue: "store" | "add", caps: DeviceCaps): string {
  const { width, columns, dtype, expertsPerToken: k, firstExpert, experts } = product;
  const lanes = oneSubgroup(caps);
  const fixed = caps.minSubgroup === lanes && caps.maxSubgroup === lanes;
  // Experts at a time, each with lanes of its own.
  const groups = fixed ? Math.min(k, Math.floor(Math.min(256, caps.maxWorkgroupThreads) / lanes)) : 1;
  const stride = rowOctets(dtype, columns);
  const place = `result[token * ${width}u + unit + index]`;
  return `${workgroupReduction("total", "add", lanes, caps)}
${unpackFunctions([dtype])}
${scaleFunction(dtype, "weights", columns)}
var<workgroup> parts: array<f32, ${k * units}>;
@compute @workgroup_size(${groups * lanes}) fn main(@builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) index: u32, ${laneParameters}) {
  let token = group.y;
  let unit = group.x * ${units}u;
  let thread = index % ${lanes}u;
  for (var rank = index / ${lanes}u; rank < ${k}u; rank += ${groups}u) {
    let pair = token * ${k}u + rank;
    let chosen = routes[pair];
    let expert = chosen.x - ${firstExpert}u;
    let weight = select(0.0, bitcast<f32>(chosen.y), expert < ${experts}u);
    let at = pair * ${columns / 4}u;
${
    repeat(units, (u) =>
      `    let row${u} = (min(expert, ${experts - 1}u) * ${width}u + min(unit + ${u}u, ${
        width - 1
      }u)) * ${stride}u;
    var sum${u} = 0.0;`)
  }
    ${dotProducts(product, lanes, units)}
${
    repeat(units, (u) =>
      `    sum${u} = total(sum${u}, ${laneArguments});
    if (thread == 0u) { parts[rank * ${units}u + ${u}u] = weight * sum${u}; }`)
  }
  }
  workgroupBarrier();
  if (index < ${units}u && unit + index < ${width}u) {
    var value = ${epilogue === "add" ? load(product.output, place) : "0.0"};
    for (var rank = 0u; rank < ${k}u; rank++) { value += parts[rank * ${units}u + index]; }
    ${place} = ${store(product.output, "value")};
  }
}`;
}
