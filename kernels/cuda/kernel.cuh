// What all CUDA kernels share: number types and their conversions, sums over a warp, the words of the plan, and
// how elements of activations and weights are read. No header of a toolkit is needed: half types are 16-bit words,
// converted by single instructions.

#pragma once

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Element types, as the backend passes them.
enum Type { F32 = 0, BF16 = 1, F16 = 2, Q8 = 3 };

// Words of the plan; see plan/words.ts.
enum PlanWord {
  TOKENS = 0, SAMPLES = 2, TOKENS_AT = 3, DECODES = 4, SPLIT_KEYS = 5, TILES_AT = 6, TILES = 7,
  PAGE_WRITES = 8, TOKEN_WRITES = 9, RESULTS_AT = 10, TOP_COUNT = 11, SPLITS = 12, CONTENT_AT = 16
};
// Words of a sampled row's record, whose first word is the token.
const int SAMPLE_WORDS = 18;

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void

// Where a kernel's predecessor is still running (compute capability 9.0, programmatic dependent launch): everything
// before waitForPrevious may only read what no kernel of the step writes. Every kernel waits, because the one after it
// relies on all that came before; letNextStart lets that one begin to load its weights.
DEVICE void letNextStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
DEVICE void waitForPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

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

// Bytes of a row of q8: numbers, a float16 scale for each block of 32, zeros up to a multiple of 8.
DEVICE size_t q8RowBytes(int columns) { return (size_t)((columns + 2 * ((columns + 31) / 32) + 7) / 8) * 8; }
DEVICE size_t matrixRowBytes(int type, int columns) {
  return type == Q8 ? q8RowBytes(columns) : (size_t)columns * (type == F32 ? 4 : 2);
}
// Eight weights from column k (a multiple of 8) of a row that begins at `row`.
template <int D> DEVICE void weights8(const u8* row, int columns, int k, float (&w)[8]) {
  if (D == Q8) {
    const uint2 v = *(const uint2*)(row + k);
    const float scale = fromF16(*(const u16*)(row + columns + 2 * (k >> 5)));
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] = (float)(s8)(v.x >> (8 * j)) * scale;
      w[j + 4] = (float)(s8)(v.y >> (8 * j)) * scale;
    }
  } else {
    load8(row, D, k, w);
  }
}

DEVICE float warpSum(float x) {
#pragma unroll
  for (int mask = 16; mask; mask >>= 1) x += __shfl_xor_sync(~0u, x, mask);
  return x;
}
DEVICE u32 warpSum(u32 x) {
#pragma unroll
  for (int mask = 16; mask; mask >>= 1) x += __shfl_xor_sync(~0u, x, mask);
  return x;
}
DEVICE float warpMax(float x) {
#pragma unroll
  for (int mask = 16; mask; mask >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, mask));
  return x;
}
DEVICE u32 warpMin(u32 x) {
#pragma unroll
  for (int mask = 16; mask; mask >>= 1) x = min(x, __shfl_xor_sync(~0u, x, mask));
  return x;
}

// Sums, maxima and minima over a block of at most 1,024 threads; every thread gets the result. `parts` is shared
// memory of 32 words that nothing else uses.
#define BLOCK_REDUCTION(name, type, warp, combine, neutral)              \
  DEVICE type name(type x, type* parts) {                                \
    const int lane = threadIdx.x & 31, warps = (blockDim.x + 31) >> 5;   \
    x = warp(x);                                                         \
    __syncthreads();                                                     \
    if (lane == 0) parts[threadIdx.x >> 5] = x;                          \
    __syncthreads();                                                     \
    type total = neutral;                                                \
    for (int i = 0; i < warps; i++) total = combine(total, parts[i]);    \
    return total;                                                        \
  }
DEVICE float addFloats(float a, float b) { return a + b; }
DEVICE u32 addWords(u32 a, u32 b) { return a + b; }
DEVICE u32 leastWord(u32 a, u32 b) { return min(a, b); }
BLOCK_REDUCTION(blockSum, float, warpSum, addFloats, 0.0f)
BLOCK_REDUCTION(blockSumWords, u32, warpSum, addWords, 0u)
BLOCK_REDUCTION(blockMax, float, warpMax, fmaxf, -3.4e38f)
BLOCK_REDUCTION(blockMin, u32, warpMin, leastWord, 0xffffffffu)

DEVICE float silu(float x) { return x / (1.0f + __expf(-x)); }

enum Epilogue { STORE = 0, ADD = 1, SILU_MUL = 2 };

// The first key that a query at `position` sees; a window of 0 is none.
DEVICE u32 firstKey(u32 position, int window) {
  return window > 0 && position + 1 > (u32)window ? position + 1 - window : 0;
}
