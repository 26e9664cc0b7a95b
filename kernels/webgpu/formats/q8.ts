// q8: int8 numbers with a float16 scale for each block of 32 columns.
//
// Eight numbers are 8 bytes. The scales stand behind the row; one load finds those of four blocks, so neighbouring
// lanes ask for the same 8 bytes. A byte becomes a float32 by being put into the lowest bits of one: conversion
// instructions have a quarter of the speed of others.

import { q8Block } from "../../formats/q8.ts";
import type { WebGpuFormat } from "./format.ts";

/** q8 in WGSL. */
export const q8: WebGpuFormat = {
  element: "vec2<u32>",
  vecBytes: 8,
  half: true,
  variables: (name) => [[`${name}_0`, "vec2<u32>"], [`${name}_s`, "f32"]],
  load: (name, { buffer, row, vec, index = `${row} + ${vec}` }, keyword) =>
    `${keyword}${name}_0 = ${buffer}[${index}]; ${keyword}${name}_s = scale_q8(${row}, ${vec});`,
  numbers: (name) => [`unpack_q8(${name}_0.x)`, `unpack_q8(${name}_0.y)`],
  scale: (name) => `${name}_s`,
  // unpack: 2²³ + number + 128, less 2²³ + 128.
  functions: (buffer, columns) =>
    `fn unpack_q8(w: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(w ^ 0x80808080u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
  return bitcast<vec4<f32>>(bytes | vec4<u32>(0x4b000000u)) - vec4<f32>(8388736.0);
}
fn scale_q8(row: u32, vec: u32) -> f32 {
  let block = vec >> ${Math.log2(q8Block / 8)}u;
  let words = ${buffer}[row + ${columns / 8}u + (block >> 2u)];
  let pair = unpack2x16float(select(words.x, words.y, (block & 2u) != 0u));
  return select(pair.x, pair.y, (block & 1u) != 0u);
}`,
};
