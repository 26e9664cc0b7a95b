// The end of a matrix product: how a result becomes an element of the output (bias, residual, SiLU·mul).

import { load, store } from "../shader/wgsl.ts";
import type { LinearShape } from "./linear.ts";

/** Columns of the output: half of the matrix's rows when gate and up are combined. */
export function outputWidth({ epilogue, rows }: LinearShape): number {
  return epilogue === "silu-mul" ? rows / 2 : rows;
}

/** A function `finish(token, column, …)` that writes one output element and returns it. */
export function finishFunction(
  { rows, epilogue, bias, output, outputStride, outputOffset }: LinearShape,
): string {
  const place = `output[token * ${outputStride}u + ${outputOffset}u + column]`;
  const paired = epilogue === "silu-mul";
  const value = paired
    ? `let gate = gateSum${bias ? " + bias[column]" : ""};
  let up = upSum${bias ? ` + bias[column + ${rows / 2}u]` : ""};
  let y = gate / (1.0 + exp(-gate)) * up;`
    : `let y = value${bias ? " + bias[column]" : ""}${
      epilogue === "add" ? ` + ${load(output, place)}` : ""
    };`;
  return `fn finish(token: u32, column: u32, ${paired ? "gateSum: f32, upSum: f32" : "value: f32"}) -> f32 {
  ${value}
  ${place} = ${store(output, "y")};
  return y;
}`;
}
