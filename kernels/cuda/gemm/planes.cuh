// Weights of four and six bits on their way through a tile: what is staged of 64 columns of a row, and eight of its
// numbers as 16-bit floats. Rows are as kernels/formats/planes.ts has them.
#pragma once
#include "common.cuh"

// How weights are stored; numbers as in numbers.cuh.
enum PlaneFormat { PLANES_Q4_0 = 4, PLANES_Q4_1 = 5, PLANES_Q4_K = 6, PLANES_Q6_K = 7 };

// Staged of a row: 32 bytes of lower bits, 16 of upper bits, two words of scales.
const int PLANES_LOW = 32, PLANES_HIGH = 16, PLANES_SCALES = 8;

// The two words of scales of step `step`, whose groups of 32 columns (Q6_K: four of 16) share them.
__device__ __forceinline__ void copyScales(u32 to, const unsigned char* scales, int format, int K, int step) {
  copy4(to, scales + step * (format == PLANES_Q4_1 ? 8 : 4));
  if (format == PLANES_Q4_1) copy4(to + 4, scales + step * 8 + (step * 64 + 32 < K ? 4 : 0));
  else if (format == PLANES_Q4_K) copy4(to + 4, scales + K / 16 + (step >> 2) * 4);
  else if (format == PLANES_Q6_K) copy4(to + 4, scales + K / 16 + (step >> 3) * 4);
}

// A byte as a float, without a conversion instruction: these are slow.
__device__ __forceinline__ float byteOf(u32 word, u32 which) {
  return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 | which)) - 8388608.0f;
}

// Eight numbers (piece `piece` of a step) from their lower and upper bits and the step's scales. A number q below 128 in
// the upper bits of 128's mantissa is the float 128 + q: what that is too much goes into the offset, which costs 2^-17 of
// the scale where the result is rounded to 2^-9 (bfloat16) of itself.
template <class E>
__device__ __forceinline__ uint4 expandedPlanes(int format, u32 low, u32 up, uint2 scales, int piece, int step) {
  float scale, offset;
  const u32 pair = scales.x >> 16 * (piece >> 2);
  if (format == PLANES_Q4_0) {
    scale = F16::half((u16)pair), offset = -8 * scale;
  } else if (format == PLANES_Q4_1) {
    const u32 word = piece >> 2 ? scales.y : scales.x;
    scale = F16::low(word), offset = F16::high(word);
  } else if (format == PLANES_Q4_K) {
    scale = F16::low(scales.y) * byteOf(pair, 0), offset = -(F16::high(scales.y) * byteOf(pair, 1));
  } else {
    const int number = (int)(scales.x << 24 - 8 * (piece >> 1)) >> 24;
    scale = F16::half((u16)(scales.y >> 16 * ((step >> 2) & 1))) * (float)number, offset = -32 * scale;
  }
  u32 first = low & 0x0f0f0f0fu, second = low >> 4 & 0x0f0f0f0fu;
  if (format == PLANES_Q6_K) {
    auto spread = [](u32 byte) { return ((byte | byte << 6 | byte << 12 | byte << 18) & 0x03030303u) << 4; };
    first |= spread(up & 255), second |= spread(up >> 8);
  }
  offset = fmaf(-128.0f, scale, offset);
  auto one = [&](u32 word, u32 which) {
    return fmaf(__uint_as_float(__byte_perm(word, 0x43000000u, 0x7044 | which << 8)), scale, offset);
  };
  auto two = [&](u32 word, u32 which) { return E::pack(one(word, which), one(word, which + 1)); };
  return make_uint4(two(first, 0), two(first, 2), two(second, 0), two(second, 2));
}
