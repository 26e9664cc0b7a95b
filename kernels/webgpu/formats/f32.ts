// float32: two loads for eight numbers.

import type { WebGpuFormat } from "./format.ts";

/** float32 in WGSL. */
export const f32: WebGpuFormat = {
  element: "vec4<f32>",
  vecBytes: 32,
  half: false,
  variables: (name) => [[`${name}_0`, "vec4<f32>"], [`${name}_1`, "vec4<f32>"]],
  load: (name, { buffer, row, vec, index = `${row} + ${vec}` }, keyword) =>
    `${keyword}${name}_0 = ${buffer}[(${index}) * 2u]; ${keyword}${name}_1 = ${buffer}[(${index}) * 2u + 1u];`,
  numbers: (name) => [`${name}_0`, `${name}_1`],
  functions: () => "",
};
