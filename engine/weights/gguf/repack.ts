// GGML's blocks as rows of the device's formats: the same numbers and scales in planes (`kernels/formats/planes.ts`),
// moved a word at a time, so that nothing is rounded and loading costs less than reading.
//
// In GGML a byte's halves are columns that lie half a block (or a group) apart; in a plane they are four apart.

import type { DType } from "../../../kernels/formats/mod.ts";
import { formats } from "../../../kernels/formats/mod.ts";
import { planeStarts } from "../../../kernels/formats/planes.ts";
import { e2m1, iq4, scaleAndMinimum } from "./blocks.ts";

/** Rows of `columns` numbers in GGML's blocks, as rows of a device format. */
export type Repack = (data: Uint8Array, columns: number) => Uint8Array;

/** A device format that holds a GGML type's numbers and scales as they are. */
export interface Repacking {
  /** The format. */
  readonly native: DType;
  /** The way there. */
  readonly repack: Repack;
}

/** Where a block comes from and goes to: bytes of its block, its row and its first number; and its place in the row. */
interface Place {
  readonly from: DataView;
  readonly at: number;
  readonly to: DataView;
  readonly row: number;
  readonly column: number;
  readonly columns: number;
}

/** Repacks block by block. */
function repacking(
  native: DType,
  blockElements: number,
  blockBytes: number,
  block: (place: Place) => void,
): Repacking {
  return {
    native,
    repack(data, columns) {
      const from = new DataView(data.buffer, data.byteOffset, data.byteLength);
      const stride = formats[native].rowBytes(columns), blocks = columns / blockElements;
      const to = new DataView(new ArrayBuffer(data.byteLength / (blocks * blockBytes) * stride));
      for (let at = 0, row = 0; row < to.byteLength; row += stride) {
        for (let column = 0; column < columns; column += blockElements, at += blockBytes) {
          block({ from, at, to, row, column, columns });
        }
      }
      return new Uint8Array(to.buffer);
    },
  };
}

const lowHalves = 0x0f0f0f0f;

/** `count` bytes whose lower halves are columns from `column` on, and whose upper ones are `count` columns further. */
function moveHalves({ from, to, row }: Place, at: number, column: number, count: 16 | 32): void {
  for (let i = 0; i < count; i += 8) {
    const a = from.getUint32(at + i, true), b = from.getUint32(at + i + 4, true);
    const place = row + (column + i) / 2;
    to.setUint32(place, a & lowHalves | (b & lowHalves) << 4, true);
    to.setUint32(place + count / 2, a >>> 4 & lowHalves | b & ~lowHalves, true);
  }
}

/** d, nibbles. */
const q4_0 = repacking("q4_0", 32, 18, (place) => {
  const { from, at, to, row, column, columns } = place;
  moveHalves(place, at + 2, column, 16);
  to.setUint16(row + planeStarts(4, columns).scales + column / 16, from.getUint16(at));
});

/** d, m, nibbles. */
const q4_1 = repacking("q4_1", 32, 20, (place) => {
  const { from, at, to, row, column, columns } = place;
  moveHalves(place, at + 4, column, 16);
  to.setUint32(row + planeStarts(4, columns).scales + column / 8, from.getUint32(at));
});

/**
 * A block of q8 from its scale and 32 numbers. q8's scale has no sign: the numbers take it (of −128 becomes 127, which
 * no quantiser makes).
 */
function writeQ8({ from, at, to, row, column, columns }: Place, number: (i: number) => number): void {
  const d = from.getUint16(at, true), sign = d & 0x8000 ? -1 : 1;
  to.setUint16(row + columns + column / 16, d & 0x7fff, true);
  for (let i = 0; i < 32; i++) to.setInt8(row + column + i, Math.min(127, sign * number(i)));
}

/** d, 32 int8. */
const q8_0 = repacking("q8", 32, 34, (place) => {
  const { from, at } = place;
  writeQ8(place, (i) => from.getInt8(at + 2 + i));
});

/** d, 32 fifth bits, nibbles. */
const q5_0 = repacking("q8", 32, 22, (place) => {
  const { from, at } = place, fifth = from.getUint32(at + 2, true);
  writeQ8(place, (i) => (nibble(from, at + 6, i) | (fifth >>> i & 1) << 4) - 16);
});

/** d, nibbles that stand for int8 numbers. */
const iq4_NL = repacking("q8", 32, 18, (place) => {
  const { from, at } = place;
  writeQ8(place, (i) => iq4[nibble(from, at + 2, i)]!);
});

/** A power of two, four-bit floats. */
const mxfp4 = repacking("q8", 32, 17, ({ from, at, to, row, column, columns }) => {
  // float16 has 2⁻²⁴ to 2¹⁵; beyond, the numbers take a part of it.
  const power = from.getUint8(at) - 128,
    kept = Math.max(-24, Math.min(15, power)),
    rest = 2 ** (power - kept);
  to.setUint16(row + columns + column / 16, kept < -14 ? 1 << kept + 24 : kept + 15 << 10, true);
  for (let i = 0; i < 32; i++) {
    const number = Math.round(e2m1[nibble(from, at + 1, i)]! * rest);
    to.setInt8(row + column + i, Math.max(-127, Math.min(127, number)));
  }
});

/** Number i of 32 in the halves of sixteen bytes. */
const nibble = (from: DataView, at: number, i: number): number =>
  from.getUint8(at + (i & 15)) >> (i >> 4) * 4 & 15;

/** The pairs (scale, minimum) of a Q4_K or Q5_K block, and its (d, dmin). */
function moveKScales({ from, at, to, row, column, columns }: Place, bits: 4 | 5): void {
  const scales = row + planeStarts(bits, columns).scales;
  const packed = new Uint8Array(from.buffer, from.byteOffset + at + 4, 12);
  for (let j = 0; j < 8; j++) {
    const [scale, minimum] = scaleAndMinimum(packed, 0, j);
    to.setUint16(scales + column / 16 + 2 * j, scale | minimum << 8, true);
  }
  to.setUint32(scales + columns / 16 + column / 64, from.getUint32(at));
}

/** d, dmin, packed scales, nibbles: the halves of 32 bytes are two groups. */
const q4_K = repacking("q4_k", 256, 144, (place) => {
  for (let j = 0; j < 4; j++) moveHalves(place, place.at + 16 + 32 * j, place.column + 64 * j, 32);
  moveKScales(place, 4);
});

/** As Q4_K; bit j of 32 bytes between scales and nibbles is the fifth of group j. */
const q5_K = repacking("q5_k", 256, 176, (place) => {
  const { from, at, to, row, column, columns } = place, { high } = planeStarts(5, columns);
  for (let j = 0; j < 4; j++) moveHalves(place, at + 48 + 32 * j, column + 64 * j, 32);
  for (let i = 0; i < 256; i += 4) {
    const bits = from.getUint32(at + 16 + (i & 31), true) >>> (i >> 5) & 0x01010101;
    const four = (bits | bits >>> 7 | bits >>> 14 | bits >>> 21) & 15, byte = row + high + (column + i >> 3);
    to.setUint8(byte, to.getUint8(byte) | four << (i & 4));
  }
  moveKScales(place, 5);
});

/** Nibbles, upper bit pairs, int8 scales, d; as in `blocks.ts`. */
const q6_K = repacking("q6_k", 256, 210, ({ from, at, to, row, column, columns }) => {
  const starts = planeStarts(6, columns);
  for (let i = 0; i < 256; i += 8) {
    const part = i >> 7, group = i >> 5 & 3, l = i & 31;
    const low = at + part * 64 + (group & 1) * 32 + l,
      high = at + 128 + part * 32 + l,
      shift = (group >> 1) * 4;
    const a = from.getUint32(low, true) >>> shift & lowHalves,
      b = from.getUint32(low + 4, true) >>> shift & lowHalves;
    to.setUint32(row + (column + i) / 2, a | b << 4, true);
    for (let k = 0; k < 2; k++) {
      // Four bit pairs of four bytes come together in one.
      const pairs = from.getUint32(high + 4 * k, true) >>> 2 * group & 0x03030303;
      to.setUint8(
        row + starts.high + (column + i) / 4 + k,
        pairs | pairs >>> 6 | pairs >>> 12 | pairs >>> 18,
      );
    }
  }
  const scales = row + starts.scales;
  for (let i = 0; i < 16; i++) to.setUint8(scales + column / 16 + i, from.getUint8(at + 192 + i));
  to.setUint16(scales + columns / 16 + column / 128, from.getUint16(at + 208));
});

/** By GGML's name. */
export const repackings: Readonly<Record<string, Repacking>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q8_0: q8_0,
  IQ4_NL: iq4_NL,
  MXFP4: mxfp4,
  Q4_K: q4_K,
  Q5_K: q5_K,
  Q6_K: q6_K,
};
