// How weights are stored, and eight of them as floats. Rows are as kernels/formats has them.
//
// q8 is int8 numbers, then a float16 scale for each block of 32 columns. Formats of four and six bits ("planes") are the
// lower four bits of all numbers, their upper bits, then the scales; word v of the first plane holds columns 8v … 8v + 7,
// byte i has column 8v + i below and 8v + 4 + i above.

#pragma once
#include "numbers.cuh"

DEVICE bool isPlanes(int type) { return type >= Q4_0; }

// Bytes of a row.
DEVICE size_t matrixRowBytes(int type, int columns) {
  const size_t k = columns, blocks = (k + 31) / 32;
  switch (type) {
    case F32: return 4 * k;
    case Q8: return (k + 2 * blocks + 7) / 8 * 8;
    case Q4_0: return (k / 2 + 2 * blocks + 15) / 16 * 16;
    case Q4_1: return (k / 2 + 4 * blocks + 15) / 16 * 16;
    case Q4_K: return (k / 2 + k / 256 * 20 + 15) / 16 * 16;
    case Q6_K: return (k / 2 + k / 4 + k / 256 * 18 + 15) / 16 * 16;
    default: return 2 * k;
  }
}

// Where a row's scales begin.
DEVICE int scalesAt(int type, int columns) {
  return type == Q8 ? columns : type == Q6_K ? columns / 2 + columns / 4 : columns / 2;
}

// Byte j of a word, as a float: the byte becomes the low digits of 2^23.
DEVICE float byteAsFloat(u32 word, int j) { return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 + j)) - 8388608.0f; }
// The same of a signed byte, whose upper bit is flipped in `flipped`.
DEVICE float signedByte(u32 flipped, int j) {
  return __uint_as_float(__byte_perm(flipped, 0x4b000000u, 0x7440 + j)) - 8388736.0f;
}

// An element is scale · number + offset.
struct Scale {
  float scale, offset;
};

// Of a pair (s, m) in the lower half of a word, and (d, dmin).
DEVICE Scale scaleOfPair(u32 pair, u32 outer) {
  return {lowF16(outer) * byteAsFloat(pair, 0), -(highF16(outer) * byteAsFloat(pair, 1))};
}

// The scale of the 32 columns (Q6_K: 16) around column k; `scales` is where the row's begin.
template <int D> DEVICE Scale scaleAt(const u8* scales, int columns, int k) {
  if (D == Q4_0) {
    const float d = fromF16(*(const u16*)(scales + 2 * (k >> 5)));
    return {d, -8 * d};
  }
  if (D == Q4_1) {
    const u32 pair = *(const u32*)(scales + 4 * (k >> 5));
    return {lowF16(pair), highF16(pair)};
  }
  if (D == Q4_K)
    return scaleOfPair(*(const u16*)(scales + 2 * (k >> 5)), *(const u32*)(scales + columns / 16 + 4 * (k >> 8)));
  // Q6_K
  const float d = fromF16(*(const u16*)(scales + columns / 16 + 2 * (k >> 8))) * (float)(s8)scales[k >> 4];
  return {d, -32 * d};
}

// The upper bits of four six-bit numbers, spread to bits 4 and 5 of four bytes.
DEVICE u32 spreadPairs(u32 byte) {
  return ((byte | byte << 6 | byte << 12 | byte << 18) & 0x03030303u) << 4;
}

// A number as what it means, rounded as kernels/formats rounds it.
template <int D> DEVICE float element(u32 word, int j, Scale s) {
  const float number = byteAsFloat(word, j);
  if (D == Q4_0 || D == Q6_K) return (number - (D == Q4_0 ? 8 : 32)) * s.scale;
  return __fadd_rn(__fmul_rn(number, s.scale), s.offset);
}

// Eight weights from column k (a multiple of 8) of a row that begins at `row`.
template <int D> DEVICE void weights8(const u8* row, int columns, int k, float (&w)[8]) {
  if (D == Q8) {
    const uint2 v = *(const uint2*)(row + k);
    const float scale = fromF16(*(const u16*)(row + columns + 2 * (k >> 5)));
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] = signedByte(v.x ^ 0x80808080u, j) * scale;
      w[j + 4] = signedByte(v.y ^ 0x80808080u, j) * scale;
    }
  } else if (D >= Q4_0) {
    const u32 v = *(const u32*)(row + k / 2);
    u32 low = v & 0x0f0f0f0fu, high = (v >> 4) & 0x0f0f0f0fu;
    if (D == Q6_K) {
      const u32 upper = *(const u16*)(row + columns / 2 + k / 4);
      low |= spreadPairs(upper & 0xff), high |= spreadPairs(upper >> 8);
    }
    const Scale s = scaleAt<D>(row + scalesAt(D, columns), columns, k);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] = element<D>(low, j, s);
      w[j + 4] = element<D>(high, j, s);
    }
  } else {
    load8(row, D, k, w);
  }
}

// The same for a format that is not known before.
DEVICE void weights8Of(int type, const u8* row, int columns, int k, float (&w)[8]) {
  switch (type) {
    case Q8: return weights8<Q8>(row, columns, k, w);
    case Q4_0: return weights8<Q4_0>(row, columns, k, w);
    case Q4_1: return weights8<Q4_1>(row, columns, k, w);
    case Q4_K: return weights8<Q4_K>(row, columns, k, w);
    case Q6_K: return weights8<Q6_K>(row, columns, k, w);
    default: return load8(row, type, k, w);
  }
}
