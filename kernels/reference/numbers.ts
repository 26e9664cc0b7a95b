// Number formats: bfloat16 and float16 to and from doubles.

import type { DType } from "../ops.ts";

const word = new Uint32Array(1);
const single = new Float32Array(word.buffer);

/** The value of a bfloat16: the upper half of a float32. */
export function fromBf16(bits: number): number {
  word[0] = bits << 16;
  return single[0]!;
}

/** Nearest bfloat16, ties to even. */
export function toBf16(value: number): number {
  single[0] = value;
  const bits = word[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // NaN stays NaN
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Reads stored elements as doubles. */
export function decode(data: Uint8Array, dtype: DType): Float64Array {
  const copy = data.slice().buffer;
  switch (dtype) {
    case "f32":
      return Float64Array.from(new Float32Array(copy));
    case "f16":
      return Float64Array.from(new Float16Array(copy));
    case "bf16":
      return Float64Array.from(new Uint16Array(copy), fromBf16);
  }
}

/** Stores numbers in a format, rounding to nearest. */
export function encode(values: ArrayLike<number>, dtype: DType): Uint8Array {
  switch (dtype) {
    case "f32":
      return new Uint8Array(Float32Array.from(values).buffer);
    case "f16":
      return new Uint8Array(Float16Array.from(values).buffer);
    case "bf16":
      return new Uint8Array(Uint16Array.from(values, toBf16).buffer);
  }
}
