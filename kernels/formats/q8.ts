// Eight-bit weights ("q8", `--dtype int8`), made while a checkpoint is read.
//
// A row is `columns` int8 numbers, then one float16 scale for each block of 32 columns (the last may be shorter),
// then zeros up to a multiple of 8 bytes; an element is number · scale. A block's scale is its largest magnitude
// divided by 127, rounded up, so that every number fits and no weight is off by more than half a scale. (llama.cpp's
// Q8_0 is the same arithmetic with each scale in front of its block.) Infinity becomes the largest value that there
// is, ±127 · 65,504; a NaN makes its whole block NaN, so that it shows.

import type { Format } from "./format.ts";

/** Bits of float16's largest number and of a NaN. */
const largestHalf = 0x7bff, notANumber = 0x7e00;
/** Bits of float32 without the sign; and of infinity: magnitudes above are NaN. */
const magnitude = 0x7fffffff, infinity = 0x7f800000;
/** What the exponents' biases of float32 and float16 differ by, in float32's bits. */
const biases = 112 << 23;

/** Columns that share a scale. */
export const q8Block = 32;

const word = new Int32Array(1);
const single = new Float32Array(word.buffer);

/** See the head of this file. */
export const q8: Format<"int8"> = {
  option: "int8",
  quantized: true,
  blockColumns: 8,
  rowBytes: (columns) => Math.ceil((columns + 2 * Math.ceil(columns / q8Block)) / 8) * 8,
  encode: quantize,
  decode(data, columns) {
    const stride = q8.rowBytes(columns), rows = data.length / stride;
    const numbers = new Int8Array(data.buffer, data.byteOffset, data.length);
    const halves = new Float16Array(data.buffer, data.byteOffset, data.length / 2);
    const values = new Float32Array(rows * columns);
    for (let row = 0, to = 0; row < rows; row++) {
      const scales = (row * stride + columns) / 2;
      for (let column = 0; column < columns; column++) {
        values[to++] = numbers[row * stride + column]! * halves[scales + Math.floor(column / q8Block)]!;
      }
    }
    return values;
  },
};

/**
 * Rows of `columns` (a multiple of 8) float32 numbers as rows of q8. Loops go four numbers at a time: that takes
 * half of V8's time per number.
 */
function quantize(values: Float32Array, columns: number): Uint8Array {
  // Signed, so that V8 keeps them in integer registers.
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const stride = q8.rowBytes(columns);
  const numbers = new Int8Array(values.length / columns * stride);
  const scales = new Uint16Array(numbers.buffer);
  for (let row = 0, to = 0; row < values.length; row += columns, to += stride) {
    let at = (to + columns) / 2;
    for (let first = 0; first < columns; first += q8Block) {
      const from = row + first, end = row + Math.min(first + q8Block, columns);
      // Magnitudes order like their bits.
      let most = 0;
      for (let i = from; i < end; i += 4) {
        const a = Math.max(bits[i]! & magnitude, bits[i + 1]! & magnitude);
        const b = Math.max(bits[i + 2]! & magnitude, bits[i + 3]! & magnitude);
        most = Math.max(most, a, b);
      }
      const half = scaleOf(most);
      scales[at++] = half;
      if (half === 0 || half === notANumber) continue;
      const inverse = 1 / fromHalf(half), move = to - row;
      if (half === largestHalf) {
        for (let i = from; i < end; i++) {
          numbers[i + move] = Math.round(Math.max(-127, Math.min(127, values[i]! * inverse)));
        }
        continue;
      }
      for (let i = from, n = i + move; i < end; i += 4, n += 4) {
        // Cutting a positive number off rounds it down.
        numbers[n] = (values[i]! * inverse + 128.5 | 0) - 128;
        numbers[n + 1] = (values[i + 1]! * inverse + 128.5 | 0) - 128;
        numbers[n + 2] = (values[i + 2]! * inverse + 128.5 | 0) - 128;
        numbers[n + 3] = (values[i + 3]! * inverse + 128.5 | 0) - 128;
      }
    }
  }
  return new Uint8Array(numbers.buffer);
}

/** float16 bits of the scale of a block whose largest magnitude has these float32 bits. */
function scaleOf(most: number): number {
  if (most > infinity) return notANumber;
  word[0] = most;
  const scale = single[0]! / 127;
  if (scale < 2 ** -14) return Math.ceil(scale * 2 ** 24);
  if (scale > 65504) return largestHalf;
  single[0] = scale;
  return word[0]! - biases + 0x1fff >> 13;
}

/** Value of a positive float16. */
function fromHalf(half: number): number {
  if (half < 0x400) return half * 2 ** -24;
  word[0] = (half << 13) + biases;
  return single[0]!;
}
