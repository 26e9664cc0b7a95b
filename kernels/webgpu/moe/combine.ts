// Adds up a token's experts after the tiled products: output[t] = or += Σ weight · result[pair].
//
// Grid: (H / 256, T), a thread per element; experts in the order of their ranks. Bound by reading the results.

import { type ElementType, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp, load, store } from "../shader/wgsl.ts";

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
  const place = `output[token * ${width}u + id.x]`;
  return kernel({
    key: `expert-combine ${width} k${k} ${epilogue} from ${firstToken} ${shape.output}`,
    buffers: { expertResults: read("f32"), routes: read("vec2<u32>"), output: write(shape.output) },
    workgroups: [divideUp(width, threads), tokens, 1],
    code: () =>
      `${elementMain(threads)} {
  if (id.x >= ${width}u) { return; }
  let token = id.y + ${firstToken}u;
  var sum = ${epilogue === "add" ? load(shape.output, place) : "0.0"};
  for (var rank = 0u; rank < ${k}u; rank++) {
    let weight = bitcast<f32>(routes[token * ${k}u + rank].y);
    sum += weight * expertResults[(id.y * ${k}u + rank) * ${width}u + id.x];
  }
  ${place} = ${store(shape.output, "sum")};
}`,
  });
}
