// The weight formats written again from their definitions, in float64 and as plainly as possible, to test the fast
// ones against.

import { type DType, formats } from "../../kernels/formats/mod.ts";

/** Columns of q8 that share a scale. */
const q8Block = 32;
/** A row of q8: numbers, scales, and zeros up to a multiple of 8 bytes. */
const q8Bytes = (columns: number) => Math.ceil((columns + 2 * Math.ceil(columns / q8Block)) / 8) * 8;

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

/** Reads stored rows of `columns` elements as doubles; only quantised ones need to know the columns. */
export function decode(data: Uint8Array, dtype: DType, columns: number): Float64Array {
  const copy = data.slice().buffer;
  switch (dtype) {
    case "q8": {
      const stride = q8Bytes(columns);
      const numbers = new Int8Array(copy), halves = new Float16Array(copy);
      return Float64Array.from({ length: data.length / stride * columns }, (_, i) => {
        const row = Math.floor(i / columns) * stride, column = i % columns;
        return numbers[row + column]! * halves[(row + columns) / 2 + Math.floor(column / q8Block)]!;
      });
    }
    case "f32":
      return Float64Array.from(new Float32Array(copy));
    case "f16":
      return Float64Array.from(new Float16Array(copy));
    case "bf16":
      return Float64Array.from(new Uint16Array(copy), fromBf16);
    default:
      return decodePlanes(new DataView(copy), dtype, columns);
  }
}

/** Rows in planes: lower halves, upper bits, scales. */
function decodePlanes(data: DataView, dtype: keyof typeof planes, columns: number): Float64Array {
  const { bits, bytes, element } = planes[dtype];
  const upperAt = columns / 2, scalesAt = upperAt + columns * (bits - 4) / 8;
  const stride = Math.ceil((scalesAt + bytes(columns)) / 16) * 16;
  return Float64Array.from({ length: data.byteLength / stride * columns }, (_, i) => {
    const row = Math.floor(i / columns) * stride, c = i % columns;
    const byte = data.getUint8(row + 4 * (c >> 3) + (c & 3));
    let number = c & 4 ? byte >> 4 : byte & 15;
    for (let bit = 4; bit < bits; bit++) {
      const at = c * (bits - 4) + bit - 4;
      number += (data.getUint8(row + upperAt + (at >> 3)) >> (at & 7) & 1) << bit;
    }
    return element(data, row + scalesAt, columns, c, number);
  });
}

/** Of each format in planes: bits of a number, bytes of a row's scales, and what number `q` of column `c` means. */
const planes = {
  q4_0: {
    bits: 4,
    bytes: (columns: number) => 2 * Math.ceil(columns / 32),
    element: (d: DataView, at: number, _: number, c: number, q: number) =>
      f16(d, at + 2 * (c >> 5)) * (q - 8),
  },
  q4_1: {
    bits: 4,
    bytes: (columns: number) => 4 * Math.ceil(columns / 32),
    element: (d: DataView, at: number, _: number, c: number, q: number) =>
      f16(d, at + 4 * (c >> 5)) * q + f16(d, at + 4 * (c >> 5) + 2),
  },
  q4_k: { bits: 4, bytes: (columns: number) => 20 * columns / 256, element: kElement },
  q5_k: { bits: 5, bytes: (columns: number) => 20 * columns / 256, element: kElement },
  q6_k: {
    bits: 6,
    bytes: (columns: number) => 18 * columns / 256,
    element: (d: DataView, at: number, columns: number, c: number, q: number) =>
      f16(d, at + columns / 16 + 2 * (c >> 8)) * d.getInt8(at + (c >> 4)) * (q - 32),
  },
} as const;

const f16 = (data: DataView, at: number): number => data.getFloat16(at, true);

/** Q4_K and Q5_K: a group's scale and minimum, then a block's. */
function kElement(data: DataView, at: number, columns: number, c: number, q: number): number {
  const group = at + 2 * (c >> 5), block = at + columns / 16 + 4 * (c >> 8);
  return f16(data, block) * data.getUint8(group) * q - f16(data, block + 2) * data.getUint8(group + 1);
}

/** Stores rows of `columns` numbers in a format, rounding to nearest; only quantised ones need to know the columns. */
export function encode(values: ArrayLike<number>, dtype: DType, columns: number): Uint8Array {
  switch (dtype) {
    case "q8":
      return encodeQ8(values, columns);
    case "f32":
      return new Uint8Array(Float32Array.from(values).buffer);
    case "f16":
      return new Uint8Array(Float16Array.from(values).buffer);
    case "bf16":
      return new Uint8Array(Uint16Array.from(values, toBf16).buffer);
    default:
      // How well it rounds is a test of its own.
      return formats[dtype].encode(Float32Array.from(values), columns);
  }
}

/** Blocks of 32 columns: int8 numbers, and their scales behind the row. */
function encodeQ8(values: ArrayLike<number>, columns: number): Uint8Array {
  const stride = q8Bytes(columns), rows = values.length / columns;
  const numbers = new Int8Array(rows * stride), halves = new Float16Array(numbers.buffer);
  for (let row = 0; row < rows; row++) {
    for (let first = 0; first < columns; first += q8Block) {
      const block = Array.from(
        { length: Math.min(q8Block, columns - first) },
        (_, i) => values[row * columns + first + i]!,
      );
      const at = (row * stride + columns) / 2 + first / q8Block;
      halves[at] = Math.max(...block.map(Math.abs)) / 127;
      const scale = halves[at]! || 1;
      block.forEach((value, i) => {
        numbers[row * stride + first + i] = Math.max(-127, Math.min(127, Math.round(value / scale)));
      });
    }
  }
  return new Uint8Array(numbers.buffer);
}
