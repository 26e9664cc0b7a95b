// What both attention kernels are given: 16-bit queries, pages of keys and values, the plan.
//
// Keys and values are 16-bit floats of one kind; where a key lies follows from strides, so pages may be
// [page][kvHead][slot][headDim] or [page][slot][kvHead][headDim]. With INT8 they are bytes, 128 + x / scale, with a scale
// for each token and head (attention/cache.cuh), and queries are float16. Words of the plan as in plan/words.ts.
#pragma once
#include "common.cuh"

enum Word { DECODES = 4, SPLIT_KEYS = 5, TILES_AT = 6, TILES = 7, CONTENT = 16 };
#define BELOW_ALL __int_as_float(0xff800000)  // minus infinity
enum Output { OUT_F32 = 0, OUT_BF16 = 1, OUT_F16 = 2 };

#ifdef INT8
typedef unsigned char Cached;
#else
typedef u16 Cached;
#endif

struct Attention {
  const u32* plan;
  const u16* queries;  // head h of token t begins at t · queryStride + h · headDim; normalised and rotated
  const Cached* keys;
  const Cached* values;
  const u32* pageTable;  // [rows, pagesPerRow]
  void* output;          // [T, numHeads · headDim]
  float* partials;       // decode: [query][head][split][headDim outputs, maximum, sum]
#ifdef SCORES
  const float* sinks;    // [numHeads], a further score of each head, or null
#endif
#ifdef INT8
  const float2* scales;  // [page][kvHead][slot], of the key and of the value
#endif
  u32* counters;         // decode: a zero for each (query, kvHead, block of 8 heads), zeros again after
  int numHeads, numKvHeads, headDim;
  int queryStride;
  int pageShift, pagesPerRow;
  int pageStride, headStride, slotStride;  // in pieces of 8 numbers; with INT8 in keys
  int window;                              // keys that a query sees, 0 for all before it
  int outputType;
  float scale;  // of q · k
#ifdef SCORES
  float cap;    // of scores, 0 for none
#endif
};

// What SCORES adds: caps and sinks, in modules of their own, so that other models' kernels stay as they are.
#ifdef SCORES
// A product q · k so that, times the scale, it is the capped score.
__device__ __forceinline__ float cappedProduct(const Attention& p, float s) {
  if (p.cap <= 0) return s;
  // 2 / (1 + e^2z) is 1 - tanh z.
  const float t = 1.0f - __fdividef(2.0f, 1.0f + exp2Fast(s * (p.scale * 2.8853900817779268f / p.cap)));
  return t * (p.cap / p.scale);
}
// A head's sink as a part of the sum of weights relative to the greatest product.
__device__ __forceinline__ float sinkWeight(const Attention& p, int head, float greatest) {
  return p.sinks ? exp2Fast(p.sinks[head] * 1.4426950408889634f - greatest * p.scale * 1.4426950408889634f) : 0.0f;
}
#endif

// Place of a key, in pieces of 8 numbers; with INT8 its number.
__device__ __forceinline__ u32 slotOf(const Attention& p, u32 row, int position, int kvHead) {
  const u32 page = __ldg(p.pageTable + (size_t)row * p.pagesPerRow + (position >> p.pageShift));
  return page * p.pageStride + kvHead * p.headStride + (position & ((1 << p.pageShift) - 1)) * p.slotStride;
}

__device__ __forceinline__ void storeOutput(const Attention& p, size_t at, float v) {
  if (p.outputType == OUT_F32)
    ((float*)p.output)[at] = v;
  else
    ((u16*)p.output)[at] = (u16)(p.outputType == OUT_BF16 ? Bf16::pack(v, 0) : F16::pack(v, 0));
}
// at is even.
__device__ __forceinline__ void storeOutputPair(const Attention& p, size_t at, float a, float b) {
  if (p.outputType == OUT_F32)
    *(float2*)((float*)p.output + at) = make_float2(a, b);
  else
    *(u32*)((u16*)p.output + at) = p.outputType == OUT_BF16 ? Bf16::pack(a, b) : F16::pack(a, b);
}

#ifdef INT8
// Two bytes of a word as float16, without the scale: byte b stands in the low bits of 0x64__, which is 1,024 + b.
__device__ __forceinline__ u32 twoOf(u32 word, u32 which) {
  u32 r;
  asm("sub.f16x2 %0, %1, %2;" : "=r"(r) : "r"(__byte_perm(word, 0x64646464u, which)), "r"(0x64806480u));
  return r;
}
__device__ __forceinline__ u32 lowTwo(u32 word) { return twoOf(word, 0x4140); }
__device__ __forceinline__ u32 highTwo(u32 word) { return twoOf(word, 0x4342); }

// Eight numbers times their scale as float16, in float32 before: a scale may be below what float16 holds well. Byte b
// stands in the middle of 0x4700__00, which is 32,768 + b.
__device__ __forceinline__ uint4 scaledEight(u32 x, u32 y, float scale) {
  const float less = -32896.0f * scale;
  auto one = [&](u32 word, u32 which) {
    return __uint_as_float(__byte_perm(word, 0x47000000u, which)) * scale + less;
  };
  auto two = [&](u32 word, u32 low, u32 high) { return F16::packUnit(one(word, low), one(word, high)); };
  return make_uint4(two(x, 0x7404, 0x7414), two(x, 0x7424, 0x7434), two(y, 0x7404, 0x7414), two(y, 0x7424, 0x7434));
}
#endif
