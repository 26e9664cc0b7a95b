// Number types and their conversions. No header of a toolkit is needed: half types are 16-bit words, converted by single
// instructions.

#pragma once

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Element types, as the backend passes them.
enum Type { F32 = 0, BF16 = 1, F16 = 2, Q8 = 3, Q4_0 = 4, Q4_1 = 5, Q4_K = 6, Q6_K = 7 };

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void

DEVICE float fromBf16(u16 bits) { return __uint_as_float((u32)bits << 16); }
DEVICE float lowBf16(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float highBf16(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
DEVICE float fromF16(u16 bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
DEVICE float lowF16(u32 pair) { return fromF16((u16)pair); }
DEVICE float highF16(u32 pair) { return fromF16((u16)(pair >> 16)); }

// Two numbers in one word, rounded to nearest.
DEVICE u32 packBf16(float low, float high) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
// A half beyond its range becomes the largest one; NaN stays NaN.
DEVICE float clampHalf(float x) { return x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x; }
DEVICE u32 packF16(float low, float high) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(clampHalf(high)), "f"(clampHalf(low)));
  return pair;
}
DEVICE u16 toBf16(float x) { return (u16)packBf16(x, 0.0f); }
DEVICE u16 toF16(float x) { return (u16)packF16(x, 0.0f); }

// The i-th number of an activation.
DEVICE float loadNumber(const void* from, int type, size_t i) {
  if (type == F32) return ((const float*)from)[i];
  const u16 bits = ((const u16*)from)[i];
  return type == BF16 ? fromBf16(bits) : fromF16(bits);
}
DEVICE void storeNumber(void* to, int type, size_t i, float x) {
  if (type == F32) ((float*)to)[i] = x;
  else ((u16*)to)[i] = type == BF16 ? toBf16(x) : toF16(x);
}

// Eight numbers of an activation; i is a multiple of 8.
DEVICE void unpack8(uint4 v, int type, float (&x)[8]) {
  const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int j = 0; j < 4; j++) {
    x[2 * j] = type == BF16 ? lowBf16(words[j]) : lowF16(words[j]);
    x[2 * j + 1] = type == BF16 ? highBf16(words[j]) : highF16(words[j]);
  }
}
DEVICE void load8(const void* from, int type, size_t i, float (&x)[8]) {
  if (type == F32) {
    const float4 a = *(const float4*)((const float*)from + i), b = *(const float4*)((const float*)from + i + 4);
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  } else {
    unpack8(*(const uint4*)((const u16*)from + i), type, x);
  }
}
