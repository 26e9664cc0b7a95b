// Adds up a token's experts after the grouped products: output[t] = or += Σ weight · result[pair].
//
// Grid: (H / 256, T), a thread per element; experts in the order of their ranks. Bound by reading the results.

import type { ElementType, KernelCall } from "../shader/kernel.ts";
import { divideUp, input, kernelSource, load, output, store } from "../shader/wgsl.ts";

/** Fixed properties. */
export interface CombineShape {
  /** Elements of a token. */
  readonly width: number;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Whether the sum replaces the output or is added to it. */
  readonly epilogue: "store" | "add";
  /** First of the tokens whose results are there. */
  readonly firstToken: number;
  /** Type of the output. */
  readonly output: ElementType;
}

/** Combines `tokens` tokens. */
export function combineExperts(
  shape: CombineShape,
  tokens: number,
): KernelCall<"expertResults" | "routes" | "output"> {
  const { width, expertsPerToken: k, epilogue, firstToken } = shape;
  const threads = Math.min(256, 32 * divideUp(width, 32));
  const place = `result[token * ${width}u + id.x]`;
  const source = kernelSource(
    `expert-combine ${width} k${k} ${epilogue} from ${firstToken} ${shape.output}`,
    [
      input("expertResults", "array<f32>"),
      input("routes", "array<vec2<u32>>"),
      output("result", `array<${shape.output}>`),
    ],
    () =>
      `@compute @workgroup_size(${threads}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${width}u) { return; }
  let token = id.y + ${firstToken}u;
  var sum = ${epilogue === "add" ? load(shape.output, place) : "0.0"};
  for (var rank = 0u; rank < ${k}u; rank++) {
    let weight = bitcast<f32>(routes[token * ${k}u + rank].y);
    sum += weight * expertResults[(id.y * ${k}u + rank) * ${width}u + id.x];
  }
  ${place} = ${store(shape.output, "sum")};
}`,
  );
  return {
    source,
    bindings: ["expertResults", "routes", "output"],
    workgroups: [divideUp(width, threads), tokens, 1],
  };
}
