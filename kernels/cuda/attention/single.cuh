// What the decode kernels on the matrix units share: loads, and how the warps of a workgroup and then the splits of a
// query meet.
#pragma once
#include "fresh.cuh"

// Query heads of a workgroup, and most splits of a query's keys.
enum { HEADS = 8, MOST_SPLITS = 256 };

// Read once.
__device__ __forceinline__ uint4 stream16(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}
__device__ __forceinline__ uint2 stream8(const void* from) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}
// Turns an 8 × 8 matrix of 16-bit numbers, a row in four lanes.
__device__ __forceinline__ u32 turned(u32 v) {
  u32 r;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(v));
  return r;
}

// Warps have left a maximum, a sum and an output for each head. With several splits, the last workgroup to arrive merges
// them in order.
template <int D, int WARPS>
__device__ __forceinline__ void finish(const Attention& p, float (&outputs)[WARPS][HEADS][D],
                                       float (&maxima)[WARPS][HEADS], float (&sums)[WARPS][HEADS],
                                       float (&factors)[HEADS][MOST_SPLITS], u32& arrived, int headDim, int query,
                                       u32 token, int head, int heads, int split, int splits) {
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
  __syncthreads();
  const int words = headDim + 2;
  float* partial = p.partials + ((size_t)(query * p.numHeads + head) * gridDim.x) * words;
  for (int i = t; i < heads * headDim; i += WARPS * 32) {
    const int h = i / headDim, d = i % headDim;
    float top = maxima[0][h];
#pragma unroll
    for (int w = 1; w < WARPS; w++) top = fmaxf(top, maxima[w][h]);
    float value = 0, total = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float f = exp2Fast(maxima[w][h] - top);
      value += outputs[w][h][d] * f, total += sums[w][h] * f;
    }
    if (splits == 1) {
      storeOutput(p, ((size_t)token * p.numHeads + head + h) * headDim + d, value / total);
    } else {
      float* to = partial + ((size_t)h * gridDim.x + split) * words;
      to[d] = value;
      if (d == 0) to[headDim] = top, to[headDim + 1] = total;
    }
  }
  if (splits == 1) return;
  __threadfence();
  __syncthreads();
  u32* counter = p.counters + query * gridDim.y + blockIdx.y;
  if (t == 0) arrived = atomicAdd(counter, 1);
  __syncthreads();
  if (arrived != (u32)splits - 1) return;
  __threadfence();
  if (t == 0) *counter = 0;
  // A split's factor: 2^(its maximum − the greatest) / the sum of all.
  for (int h = warp; h < heads; h += WARPS) {
    const float* from = partial + (size_t)h * gridDim.x * words + headDim;
    float top = -1e30f, total = 0;
    for (int s = lane; s < splits; s += 32) top = fmaxf(top, __ldcg(from + s * words));
#pragma unroll
    for (int m = 16; m; m >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, m));
    for (int s = lane; s < splits; s += 32) {
      const float f = exp2Fast(__ldcg(from + s * words) - top);
      factors[h][s] = f, total += f * __ldcg(from + s * words + 1);
    }
#pragma unroll
    for (int m = 16; m; m >>= 1) total += __shfl_xor_sync(~0u, total, m);
    for (int s = lane; s < splits; s += 32) factors[h][s] /= total;
  }
  __syncthreads();
  for (int i = t; i < heads * headDim; i += WARPS * 32) {
    const int h = i / headDim, d = i % headDim;
    const float* from = partial + (size_t)h * gridDim.x * words + d;
    float value = 0;
#pragma unroll 8
    for (int s = 0; s < splits; s++) value += __ldcg(from + (size_t)s * words) * factors[h][s];
    storeOutput(p, ((size_t)token * p.numHeads + head + h) * headDim + d, value);
  }
}
