// What GGML's blocks mean. Each decoder expands whole blocks to float32, with the same roundings as gguf-py's
// `dequantize`: products and sums in float32.
//
// Simple types: 32 numbers q share a scale d (and a minimum m): q · d, or q · d + m. K types: 256 numbers in
// sub-blocks, whose scales (and minima) are small integers times the super-block's d (and dmin).

/** Expands blocks to numbers. `data` holds whole blocks. */
export type Decode = (data: Uint8Array, out: Float32Array) => void;

const f = Math.fround;
const halves = new Float32Array(65536);
halves.set(new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer));

/** The float16 at a byte. */
const half = (data: Uint8Array, at: number): number => halves[data[at]! | data[at + 1]! << 8]!;

/** A decoder of blocks of `elements` numbers in `bytes` bytes from one for a block. */
function blocks(
  elements: number,
  bytes: number,
  one: (data: Uint8Array, at: number, out: Float32Array, to: number) => void,
): Decode {
  return (data, out) => {
    for (let at = 0, to = 0; at < data.length; at += bytes, to += elements) one(data, at, out, to);
  };
}

/** d, then 32 nibbles: low ones are the first half. */
const q4_0 = blocks(32, 18, (data, at, out, to) => {
  const d = half(data, at);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 2 + i]!;
    out[to + i] = d * ((byte & 15) - 8);
    out[to + 16 + i] = d * ((byte >> 4) - 8);
  }
});

/** d, m, nibbles. */
const q4_1 = blocks(32, 20, (data, at, out, to) => {
  const d = half(data, at), m = half(data, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 4 + i]!;
    out[to + i] = f(d * (byte & 15)) + m;
    out[to + 16 + i] = f(d * (byte >> 4)) + m;
  }
});

/** d, 32 fifth bits, nibbles. */
const q5_0 = blocks(32, 22, (data, at, out, to) => {
  const d = half(data, at);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 6 + i]!;
    out[to + i] = d * ((byte & 15 | bit(data, at + 2, i) << 4) - 16);
    out[to + 16 + i] = d * ((byte >> 4 | bit(data, at + 2, i + 16) << 4) - 16);
  }
});

/** d, m, fifth bits, nibbles. */
const q5_1 = blocks(32, 24, (data, at, out, to) => {
  const d = half(data, at), m = half(data, at + 2);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 8 + i]!;
    out[to + i] = f(d * (byte & 15 | bit(data, at + 4, i) << 4)) + m;
    out[to + 16 + i] = f(d * (byte >> 4 | bit(data, at + 4, i + 16) << 4)) + m;
  }
});

/** d, 32 int8. */
const q8_0 = blocks(32, 34, (data, at, out, to) => {
  const d = half(data, at);
  for (let i = 0; i < 32; i++) out[to + i] = d * (data[at + 2 + i]! << 24 >> 24);
});

const bit = (data: Uint8Array, at: number, i: number): number => data[at + (i >> 3)]! >> (i & 7) & 1;

/** Six-bit scale and minimum of sub-block j of a Q4_K or Q5_K block; twelve bytes hold eight of each. */
export function scaleAndMinimum(data: Uint8Array, at: number, j: number): [scale: number, minimum: number] {
  if (j < 4) return [data[at + j]! & 63, data[at + j + 4]! & 63];
  return [
    data[at + j + 4]! & 15 | data[at + j - 4]! >> 6 << 4,
    data[at + j + 4]! >> 4 | data[at + j]! >> 6 << 4,
  ];
}

/** d, dmin, 12 bytes of scales, 128 bytes of nibbles: 32 low ones, then 32 high ones of the same bytes, four times. */
const q4_K = blocks(256, 144, (data, at, out, to) => {
  const d = half(data, at), dmin = half(data, at + 2);
  for (let j = 0; j < 8; j++) {
    const [scale, minimum] = scaleAndMinimum(data, at + 4, j);
    const step = f(d * scale), least = f(dmin * minimum), shift = (j & 1) * 4;
    const from = at + 16 + (j >> 1) * 32;
    for (let i = 0; i < 32; i++) out[to + j * 32 + i] = f(step * (data[from + i]! >> shift & 15)) - least;
  }
});

/** d, dmin, scales, 32 bytes of fifth bits, nibbles as in Q4_K. */
const q5_K = blocks(256, 176, (data, at, out, to) => {
  const d = half(data, at), dmin = half(data, at + 2);
  for (let j = 0; j < 8; j++) {
    const [scale, minimum] = scaleAndMinimum(data, at + 4, j);
    const step = f(d * scale), least = f(dmin * minimum), shift = (j & 1) * 4;
    const from = at + 48 + (j >> 1) * 32;
    for (let i = 0; i < 32; i++) {
      const q = data[from + i]! >> shift & 15 | (data[at + 16 + i]! >> j & 1) << 4;
      out[to + j * 32 + i] = f(step * q) - least;
    }
  }
});

/** 128 bytes of nibbles, 64 bytes of upper bit pairs, 16 int8 scales, d. */
const q6_K = blocks(256, 210, (data, at, out, to) => {
  const d = half(data, at + 208);
  for (let i = 0; i < 256; i++) {
    const part = i >> 7, lane = i & 127, group = lane >> 5, l = lane & 31;
    const low = data[at + part * 64 + (group & 1) * 32 + l]! >> (group >> 1) * 4 & 15;
    const high = data[at + 128 + part * 32 + l]! >> group * 2 & 3;
    const scale = data[at + 192 + (i >> 4)]! << 24 >> 24;
    out[to + i] = f(d * scale) * ((low | high << 4) - 32);
  }
});

/** 16 bytes of four-bit scales and minima, 64 bytes of bit pairs, d, dmin. */
const q2_K = blocks(256, 84, (data, at, out, to) => {
  const d = half(data, at + 80), dmin = half(data, at + 82);
  for (let i = 0; i < 256; i++) {
    const part = i >> 7, shift = (i >> 5 & 3) * 2, l = i & 31;
    const scales = data[at + (i >> 4)]!;
    const q = data[at + 16 + part * 32 + l]! >> shift & 3;
    out[to + i] = f(f(d * (scales & 15)) * q) - f(dmin * (scales >> 4));
  }
});

/** 32 bytes of third bits (clear: minus 4), 64 bytes of bit pairs, 12 bytes of six-bit scales minus 32, d. */
const q3_K = blocks(256, 110, (data, at, out, to) => {
  const d = half(data, at + 108), scales = at + 96;
  for (let i = 0; i < 256; i++) {
    const part = i >> 7, group = i >> 5 & 3, l = i & 31, s = i >> 4;
    const low = data[scales + (s & 7)]! >> (s >> 3) * 4 & 15;
    const high = data[scales + 8 + (s & 3)]! >> (s >> 2) * 2 & 3;
    const q = data[at + 32 + part * 32 + l]! >> group * 2 & 3;
    const sign = data[at + l]! >> (part * 4 + group) & 1;
    out[to + i] = f(d * ((low | high << 4) - 32)) * (q - (sign === 1 ? 0 : 4));
  }
});

/** Values of the non-linear four-bit types. */
export const iq4 = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** d, 32 nibbles that index a table. */
const iq4_NL = blocks(32, 18, (data, at, out, to) => {
  const d = half(data, at);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 2 + i]!;
    out[to + i] = d * iq4[byte & 15]!;
    out[to + 16 + i] = d * iq4[byte >> 4]!;
  }
});

/** d, upper scale bits, lower scale bits, nibbles that index a table. */
const iq4_XS = blocks(256, 136, (data, at, out, to) => {
  const d = half(data, at), high = data[at + 2]! | data[at + 3]! << 8;
  for (let j = 0; j < 8; j++) {
    const low = data[at + 4 + (j >> 1)]! >> (j & 1) * 4 & 15;
    const step = f(d * ((low | (high >> 2 * j & 3) << 4) - 32));
    for (let i = 0; i < 16; i++) {
      const byte = data[at + 8 + j * 16 + i]!;
      out[to + j * 32 + i] = step * iq4[byte & 15]!;
      out[to + j * 32 + 16 + i] = step * iq4[byte >> 4]!;
    }
  }
});

/** Twice the values of a 4-bit float with two exponent bits and one mantissa bit. */
export const e2m1 = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** An exponent (base 2, bias 127; halved because the table is doubled), 32 four-bit floats (OCP MX). */
const mxfp4 = blocks(32, 17, (data, at, out, to) => {
  const scale = 2 ** (data[at]! - 128);
  for (let i = 0; i < 16; i++) {
    const byte = data[at + 1 + i]!;
    out[to + i] = scale * e2m1[byte & 15]!;
    out[to + 16 + i] = scale * e2m1[byte >> 4]!;
  }
});

/** By GGML's name. F32, F16 and BF16 are not here: they are formats of their own. */
export const decoders: Readonly<Record<string, Decode>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q2_K: q2_K,
  Q3_K: q3_K,
  Q4_K: q4_K,
  Q5_K: q5_K,
  Q6_K: q6_K,
  IQ4_NL: iq4_NL,
  IQ4_XS: iq4_XS,
  MXFP4: mxfp4,
};
