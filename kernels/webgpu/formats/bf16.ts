// bfloat16: the upper half of a float32, so a shift and a mask expand it.

import { sixteenBit } from "./sixteen_bit.ts";

/** bfloat16 in WGSL. */
export const bf16 = sixteenBit(
  "bf16",
  `fn unpack_bf16(w: vec2<u32>) -> vec4<f32> {
  let even = bitcast<vec2<f32>>(w << vec2<u32>(16u));
  let odd = bitcast<vec2<f32>>(w & vec2<u32>(0xffff0000u));
  return vec4<f32>(even.x, odd.x, even.y, odd.y);
}`,
);
