// The end of a matrix product: how a result becomes an element of the output (bias, residual, gate, cap).

import { type Gate, silu } from "../../ops.ts";
import { capped, float, load, store } from "../shader/wgsl.ts";
import type { LinearShape } from "./linear.ts";

/** Columns of the output: half of the matrix's rows when gate and up are combined. */
export function outputWidth({ epilogue, rows }: LinearShape): number {
  return epilogue === "gate-mul" ? rows / 2 : rows;
}

/**
 * A function `finish(token, column, …)` that writes one output element and returns it. With stacked experts that have
 * biases there is a last argument: where in `bias` those of the expert begin.
 */
export function finishFunction(shape: LinearShape): string {
  const { rows, epilogue, gate, bias, output, outputStride, outputOffset, experts } = shape;
  const place = `output[token * ${outputStride}u + ${outputOffset}u + column]`;
  const paired = epilogue === "gate-mul", stacked = bias && experts !== undefined;
  const biasAt = (column: string) => bias ? ` + bias[${stacked ? "biasAt + " : ""}${column}]` : "";
  const value = paired
    ? `let gate = gateSum${biasAt("column")};
  let up = upSum${biasAt(`column + ${rows / 2}u`)};
  ${gateMul(gate ?? silu)}`
    : `let y = ${
      epilogue === "cap"
        ? capped("value", shape.cap!)
        : `value${biasAt("column")}${epilogue === "add" ? ` + ${load(output, place)}` : ""}`
    };`;
  const sums = paired ? "gateSum: f32, upSum: f32" : "value: f32";
  return `fn finish(token: u32, column: u32, ${sums}${stacked ? ", biasAt: u32" : ""}) -> f32 {
  ${value}
  ${place} = ${store(output, "y")};
  return y;
}`;
}

/** The last argument of `finish`, where it has one; `expert` is WGSL of the expert's number. */
export const biasArgument = ({ bias, experts, rows }: LinearShape, expert: string): string =>
  bias && experts !== undefined ? `, (${expert}) * ${rows}u` : "";

/** A token's experts have been added up when their `sum` is finished, so theirs is the biases' weighted sum. */
export function pairBias({ bias, experts, rows }: LinearShape): string {
  if (!bias || experts?.input !== "pair") return "";
  const { perToken, first, count } = experts;
  return `for (var rank = 0u; rank < ${perToken}u; rank++) {
        let chosen = routes[group.z * ${perToken}u + rank];
        if (chosen.x - ${first}u < ${count}u) {
          sum += bitcast<f32>(chosen.y) * bias[chosen.x * ${rows}u + column];
        }
      }`;
}

/** y = gate(gate, up); see `Gate`. */
function gateMul({ alpha, beta, limit, plus }: Gate): string {
  const bounded = limit < Infinity;
  const slope = beta === 0
    ? (alpha === 1 ? "" : ` * ${float(alpha)}`)
    : ` * (${float(alpha)} + ${float(beta)} * g * g)`;
  const u = bounded ? `clamp(up, ${float(-limit)}, ${float(limit)})` : "up";
  return `let g = ${bounded ? `min(gate, ${float(limit)})` : "gate"};
  let y = g / (1.0 + exp(-g${slope})) * ${plus === 0 ? u : `(${u} + ${float(plus)})`};`;
}
