// What the formats of four to six bits share: a row's numbers lie in planes, so that all loads are aligned.
//
// A row is the lower four bits of its numbers, then their upper bits, then the scales, as each format has them, then
// zeros up to a multiple of 16 bytes. Word v of the first plane (32 bits, little-endian) holds columns 8v … 8v + 7:
// byte i has column 8v + i in its lower half and column 8v + 4 + i in its upper half. One mask makes of it four bytes
// of neighbouring columns, as dot products of bytes want them, and sixteen bytes are 32 columns: one block. Upper bits
// of eight columns are one byte (five-bit numbers) or two (six-bit numbers), the first column's lowest.
//
// An element is scale · (number − zero) + minimum in float32, with a scale for each group of 16 or 32 columns.

import type { Format } from "./format.ts";

/** What tells one of these formats from another. */
export interface Planes {
  /** Bits of a number. */
  readonly bits: 4 | 5 | 6;
  /** The stored number that means 0 · scale. */
  readonly zero: number;
  /** What is added to a group's products: nothing, any number, or one that is not above 0. */
  readonly minimum: "none" | "any" | "negative";
  /** Columns that share a scale. */
  readonly group: 16 | 32;
  /** A row's columns are a multiple. */
  readonly blockColumns: 8 | 256;
  /** Bytes of a row's scales. */
  scaleBytes(columns: number): number;
  /** Fills scale (and minimum) of every group from the scales at byte `at`. */
  readScales(row: DataView, at: number, scales: Float32Array, minima: Float32Array): void;
  /** Writes what comes nearest to these scales and minima; all bytes are zeros before. */
  writeScales(row: DataView, at: number, scales: Float32Array, minima: Float32Array): void;
}

/** Where a row's upper bits and scales begin, in bytes. */
export function planeStarts(
  bits: Planes["bits"],
  columns: number,
): { readonly high: number; readonly scales: number } {
  const high = columns / 2;
  return { high, scales: high + columns / 8 * (bits - 4) };
}

/** A format with planes of numbers. */
export function planeFormat<Option extends string | null>(option: Option, planes: Planes): Format<Option> {
  const { bits, zero, group, blockColumns } = planes;
  const rowBytes = (columns: number) =>
    Math.ceil((planeStarts(bits, columns).scales + planes.scaleBytes(columns)) / 16) * 16;
  return {
    option,
    quantized: true,
    blockColumns,
    rowBytes,
    encode(values, columns) {
      const stride = rowBytes(columns), rows = values.length / columns;
      const data = new DataView(new ArrayBuffer(rows * stride));
      const starts = planeStarts(bits, columns), groups = Math.ceil(columns / group);
      const scales = new Float32Array(groups), minima = new Float32Array(groups);
      const numbers = new Uint8Array(columns);
      for (let row = 0, at = 0; row < rows; row++, at += stride) {
        const from = values.subarray(row * columns, (row + 1) * columns);
        for (let g = 0; g < groups; g++) chooseScale(planes, from, g, scales, minima);
        planes.writeScales(data, at + starts.scales, scales, minima);
        planes.readScales(data, at + starts.scales, scales, minima);
        for (let g = 0; g < groups; g++) {
          const scale = scales[g]!, inverse = scale === 0 ? 0 : 1 / scale;
          const shift = zero + 0.5 - minima[g]! * inverse, most = 2 ** bits - 1;
          for (let i = g * group, end = Math.min(i + group, columns); i < end; i++) {
            // Rounded by cutting off: what is below 0 is cut to 0 before.
            numbers[i] = Math.min(most, Math.max(0, from[i]! * inverse + shift));
          }
        }
        writeNumbers(data, at, at + starts.high, bits, numbers);
      }
      return new Uint8Array(data.buffer);
    },
    decode(data, columns) {
      const stride = rowBytes(columns), rows = data.length / stride;
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      const starts = planeStarts(bits, columns), groups = Math.ceil(columns / group);
      const scales = new Float32Array(groups), minima = new Float32Array(groups);
      const numbers = new Uint8Array(columns), values = new Float32Array(rows * columns);
      for (let row = 0, at = 0, to = 0; row < rows; row++, at += stride) {
        planes.readScales(view, at + starts.scales, scales, minima);
        readNumbers(view, at, at + starts.high, bits, numbers);
        for (let i = 0; i < columns; i++) {
          const g = Math.floor(i / group);
          values[to++] = Math.fround(scales[g]! * (numbers[i]! - zero)) + minima[g]!;
        }
      }
      return values;
    },
  };
}

/** The scale and minimum that the extremes of group `g` ask for; a NaN makes them NaN, so that it shows. */
function chooseScale(
  { bits, zero, minimum, group }: Planes,
  row: Float32Array,
  g: number,
  scales: Float32Array,
  minima: Float32Array,
): void {
  let least = Infinity, most = -Infinity;
  for (let i = g * group, end = Math.min(i + group, row.length); i < end; i++) {
    least = Math.min(least, row[i]!);
    most = Math.max(most, row[i]!);
  }
  if (minimum === "none") {
    // There is one number more below zero than above: the extreme of larger size takes it.
    scales[g] = (-least > most ? least : most) / -zero;
    return;
  }
  if (minimum === "negative") {
    least = Math.min(0, least);
    most = Math.max(0, most);
  }
  scales[g] = (most - least) / (2 ** bits - 1);
  minima[g] = least;
}

/** Writes a row's numbers into its planes. */
function writeNumbers(
  row: DataView,
  low: number,
  high: number,
  bits: Planes["bits"],
  numbers: Uint8Array,
): void {
  for (let i = 0; i < numbers.length; i += 8) {
    for (let j = 0; j < 4; j++) {
      row.setUint8(low + i / 2 + j, numbers[i + j]! & 15 | (numbers[i + 4 + j]! & 15) << 4);
    }
    if (bits === 4) continue;
    let upper = 0;
    for (let j = 0; j < 8; j++) upper |= numbers[i + j]! >> 4 << j * (bits - 4);
    if (bits === 5) row.setUint8(high + i / 8, upper);
    else row.setUint16(high + i / 4, upper, true);
  }
}

/** Reads a row's numbers. */
function readNumbers(
  row: DataView,
  low: number,
  high: number,
  bits: Planes["bits"],
  numbers: Uint8Array,
): void {
  for (let i = 0; i < numbers.length; i += 8) {
    const upper = bits === 4
      ? 0
      : bits === 5
      ? row.getUint8(high + i / 8)
      : row.getUint16(high + i / 4, true);
    for (let j = 0; j < 8; j++) {
      const byte = row.getUint8(low + i / 2 + (j & 3));
      numbers[i + j] = (j < 4 ? byte & 15 : byte >> 4) | (upper >> j * (bits - 4) & 2 ** (bits - 4) - 1) << 4;
    }
  }
}
