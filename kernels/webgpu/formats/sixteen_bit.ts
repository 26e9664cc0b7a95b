// What the two 16-bit formats share: eight numbers are one load.

import type { WebGpuFormat } from "./format.ts";

/** A format that `unpack`, a WGSL function unpack_NAME, expands: two words to four numbers. */
export const sixteenBit = (name: string, unpack: string): WebGpuFormat => ({
  element: "vec4<u32>",
  vecBytes: 16,
  half: true,
  variables: (v) => [[`${v}_0`, "vec4<u32>"]],
  load: (v, { buffer, row, vec, index = `${row} + ${vec}` }, keyword) =>
    `${keyword}${v}_0 = ${buffer}[${index}];`,
  numbers: (v) => [`unpack_${name}(${v}_0.xy)`, `unpack_${name}(${v}_0.zw)`],
  functions: () => unpack,
});
