// How the kernels that keep attention in float32 read and write keys and values: eight numbers of a head at a time.
//
// Numbers are float16. With INT8 they are bytes, 128 + x / scale, where a token's key and its value have a scale for each
// head, the largest of its numbers / 127; scales stand apart, [page][kvHead][slot] pairs (of the key, of the value).
// Kernels multiply scores by the key's scale and weights by the value's, not the numbers.

#pragma once

#include "kernel.cuh"

#ifdef INT8
typedef u8 CacheNumber;
typedef uint2 CacheEight;

// A byte stands in the low bits of 0x4b0000__, which is 2^23 + it, so that a subtraction converts it.
DEVICE float fromByte(u32 word, u32 which) {
  return __uint_as_float(__byte_perm(word, 0x4b000000u, which)) - 8388736.0f;
}
// Multiples of the scale.
DEVICE void unpackCache(uint2 v, float (&x)[8]) {
  const u32 words[2] = {v.x, v.y};
#pragma unroll
  for (int j = 0; j < 2; j++) {
    x[4 * j] = fromByte(words[j], 0x7440), x[4 * j + 1] = fromByte(words[j], 0x7441);
    x[4 * j + 2] = fromByte(words[j], 0x7442), x[4 * j + 3] = fromByte(words[j], 0x7443);
  }
}

// Bits of a number without its sign: they are in the order of the numbers, with NaN on top.
DEVICE u32 magnitude(float x) { return __float_as_uint(clampHalf(x)) & 0x7fffffffu; }
// The scale of a head whose largest magnitude this is, and what its numbers are multiplied by.
DEVICE float scaleOf(u32 largest) { return __uint_as_float(largest) * (1.0f / 127.0f); }
DEVICE float inverseOf(u32 largest) {
  const float most = __uint_as_float(largest);
  return most > 1e-30f ? 127.0f / most : 0.0f;
}
DEVICE u32 toByte(float x, float inverse) { return (u32)(__float2int_rn(clampHalf(x) * inverse) + 128); }
DEVICE uint2 packCache(const float (&x)[8], float inverse) {
  u32 words[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 8; i++) words[i / 4] |= toByte(x[i], inverse) << i % 4 * 8;
  return make_uint2(words[0], words[1]);
}
#else
typedef u16 CacheNumber;
typedef uint4 CacheEight;

DEVICE void unpackCache(uint4 v, float (&x)[8]) { unpack8(v, F16, x); }
#endif
