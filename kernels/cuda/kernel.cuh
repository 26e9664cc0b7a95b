// What all CUDA kernels share: number types and their conversions, sums over a warp, the words of the plan, and
// how elements of activations and weights are read. No header of a toolkit is needed: half types are 16-bit words,
// converted by single instructions.

#pragma once

#include "numbers.cuh"
#include "weights.cuh"

// Words of the plan; see plan/words.ts.
enum PlanWord {
  TOKENS = 0, SAMPLES = 2, TOKENS_AT = 3, DECODES = 4, SPLIT_KEYS = 5, TILES_AT = 6, TILES = 7,
  PAGE_WRITES = 8, TOKEN_WRITES = 9, RESULTS_AT = 10, TOP_COUNT = 11, SPLITS = 12, CONTENT_AT = 16
};
// Words of a sampled row's record, whose first word is the token.
const int SAMPLE_WORDS = 18;

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

// See `Gate` in ops.ts.
struct Gate {
  float alpha, beta, limit, plus;
};
DEVICE float gateMul(const Gate& p, float gate, float up) {
  const float g = fminf(gate, p.limit), u = fmaxf(-p.limit, fminf(up, p.limit));
  return g / (1.0f + __expf(-g * (p.alpha + p.beta * g * g))) * (u + p.plus);
}
// cap · tanh(x / cap): 2 / (1 + e^2z) is 1 - tanh z, and is right for any z.
DEVICE float softCap(float x, float cap) { return cap - 2.0f * cap / (1.0f + __expf(x * (2.0f / cap))); }

DEVICE float silu(float x) { return x / (1.0f + __expf(-x)); }

enum Epilogue { STORE = 0, ADD = 1, SILU_MUL = 2 };

// The first key that a query at `position` sees; a window of 0 is none.
DEVICE u32 firstKey(u32 position, int window) {
  return window > 0 && position + 1 > (u32)window ? position + 1 - window : 0;
}
