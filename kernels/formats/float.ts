// The three floating-point formats: float32, float16, and bfloat16 (the upper half of a float32).

import type { Format } from "./format.ts";

/** Bits of float16's infinity. */
const infiniteHalf = 0x7c00;

/** IEEE 754 single precision. */
export const f32: Format<"float32"> = {
  option: "float32",
  quantized: false,
  blockColumns: 8,
  rowBytes: (columns) => 4 * columns,
  encode: (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  decode: (data) => new Float32Array(data.buffer, data.byteOffset, data.byteLength / 4),
};

/** IEEE 754 half precision. It has less range than the others: what does not fit becomes ±65,504. */
export const f16: Format<"float16"> = {
  option: "float16",
  quantized: false,
  blockColumns: 8,
  rowBytes: (columns) => 2 * columns,
  encode(values) {
    const halves = new Float16Array(values.length);
    halves.set(values); // native, unlike access to single elements of a Float16Array
    const bits = new Uint16Array(halves.buffer);
    for (let i = 0; i < bits.length; i++) {
      const word = bits[i]!;
      if ((word & 0x7fff) === infiniteHalf) bits[i] = word - 1; // the largest finite number
    }
    return new Uint8Array(halves.buffer);
  },
  decode(data) {
    const halves = new Float16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    const values = new Float32Array(halves.length);
    values.set(halves);
    return values;
  },
};

/** Brain floating point: widens with a shift, narrows to nearest, ties to even. */
export const bf16: Format<"bfloat16"> = {
  option: "bfloat16",
  quantized: false,
  blockColumns: 8,
  rowBytes: (columns) => 2 * columns,
  encode(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const halves = new Uint16Array(values.length);
    for (let i = 0; i < bits.length; i++) {
      const word = bits[i]!;
      // Rounding could carry a NaN into infinity; a quiet NaN stays one.
      const isNaN = (word & 0x7fffffff) > 0x7f800000;
      halves[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
    return new Uint8Array(halves.buffer);
  },
  decode(data) {
    const halves = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    const bits = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
    return new Float32Array(bits.buffer);
  },
};
