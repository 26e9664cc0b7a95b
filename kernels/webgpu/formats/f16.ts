// float16: one builtin expands both halves of a word.

import { sixteenBit } from "./sixteen_bit.ts";

/** float16 in WGSL. */
export const f16 = sixteenBit(
  "f16",
  `fn unpack_f16(w: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}`,
);
