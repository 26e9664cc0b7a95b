// Prepares a product's input: root-mean-square norm of float32 rows (Zhang & Sennrich 2019, arXiv 1910.07467), or
// none, rounded to 16-bit floats; rows of experts' pairs can be gathered on the way.
//
// Grid: one workgroup of 256 threads a row. Memory: input [T, K] float32 (or 16-bit floats of the same kind), output
// [rows, K]. With rowScale, rows are divided by a power of two that brings their largest number under 16,384 (F16
// ends at 65,504); the product multiplies by it again. Bound by latency and by reading the rows (kept in registers, 8
// numbers a thread at a time, up to K = 16,384; beyond that they are read again).
#include "common.cuh"

struct Prepare {
  const void* input;
  const float* weight;  // [K], null: no norm
  u16* output;          // [rows, K]
  float* rowScale;      // [rows] or null
  const u32* order;     // row i of the output is input row order[i] / perToken; null: row i
  int K, inputStride;   // numbers
  int perToken;
  int narrow;  // input is 16-bit floats
  float epsilon;
};

template <class E>
__device__ __forceinline__ void load8(const Prepare& p, size_t at, float (&v)[8]) {
  if (p.narrow) {
    const uint4 w = *(const uint4*)((const u16*)p.input + at);
    v[0] = E::low(w.x), v[1] = E::high(w.x), v[2] = E::low(w.y), v[3] = E::high(w.y);
    v[4] = E::low(w.z), v[5] = E::high(w.z), v[6] = E::low(w.w), v[7] = E::high(w.w);
  } else {
    const float4 a = *(const float4*)((const float*)p.input + at),
                 b = *((const float4*)((const float*)p.input + at) + 1);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
  }
}

// Sum (or maximum) over the workgroup, for every thread.
template <bool MAX>
__device__ __forceinline__ float together(float v) {
  __shared__ float warps[8];
#pragma unroll
  for (int o = 16; o; o >>= 1) {
    const float u = __shfl_xor_sync(~0u, v, o);
    v = MAX ? fmaxf(v, u) : v + u;
  }
  __syncthreads();
  if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = v;
  __syncthreads();
  v = warps[0];
#pragma unroll
  for (int w = 1; w < 8; w++) v = MAX ? fmaxf(v, warps[w]) : v + warps[w];
  return v;
}

extern "C" __global__ void __launch_bounds__(256) prepare(const __grid_constant__ Prepare p) {
  const int row = blockIdx.x, t = threadIdx.x;
  letLaterBegin();
  afterEarlier();
  const size_t from = (size_t)(p.order == nullptr ? row : (int)p.order[row] / p.perToken) * p.inputStride;
  const int held = 8, octets = p.K / 8;
  float v[8][8];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < held; i++) {
    const int o = t + i * 256;
    if (o >= octets) break;
    load8<ELEMENT>(p, from + o * 8, v[i]);
#pragma unroll
    for (int e = 0; e < 8; e++) squares += v[i][e] * v[i][e];
  }
  float w[8];
  for (int o = t + held * 256; o < octets; o += 256) {
    load8<ELEMENT>(p, from + o * 8, w);
#pragma unroll
    for (int e = 0; e < 8; e++) squares += w[e] * w[e];
  }
  float factor = 1;
  if (p.weight != nullptr) factor = rsqrtf(together<false>(squares) / p.K + p.epsilon);
  auto normed = [&](int o, float(&x)[8]) {
    if (p.weight == nullptr) return;
    const float4 a = *(const float4*)(p.weight + o * 8), b = *(const float4*)(p.weight + o * 8 + 4);
    x[0] *= factor * a.x, x[1] *= factor * a.y, x[2] *= factor * a.z, x[3] *= factor * a.w;
    x[4] *= factor * b.x, x[5] *= factor * b.y, x[6] *= factor * b.z, x[7] *= factor * b.w;
  };
  float largest = 0;
#pragma unroll
  for (int i = 0; i < held; i++) {
    const int o = t + i * 256;
    if (o >= octets) break;
    normed(o, v[i]);
#pragma unroll
    for (int e = 0; e < 8; e++) largest = fmaxf(largest, fabsf(v[i][e]));
  }
  float divisor = 1;
  if (p.rowScale != nullptr) {
    for (int o = t + held * 256; o < octets; o += 256) {
      load8<ELEMENT>(p, from + o * 8, w);
      normed(o, w);
#pragma unroll
      for (int e = 0; e < 8; e++) largest = fmaxf(largest, fabsf(w[e]));
    }
    largest = together<true>(largest);
    // The power of two is the exponent of largest / 8,192, if that is above 1.
    const float over = largest * (1.0f / 8192);
    const float scale = over > 1 ? __uint_as_float(__float_as_uint(over) & 0x7f800000u) : 1.0f;
    if (t == 0) p.rowScale[row] = scale;
    divisor = 1 / scale;
  }
  auto store = [&](int o, float(&x)[8]) {
#pragma unroll
    for (int e = 0; e < 8; e++) x[e] *= divisor;
    *(uint4*)(p.output + (size_t)row * p.K + o * 8) = make_uint4(
        ELEMENT::pack(x[0], x[1]), ELEMENT::pack(x[2], x[3]), ELEMENT::pack(x[4], x[5]), ELEMENT::pack(x[6], x[7]));
  };
#pragma unroll
  for (int i = 0; i < held; i++) {
    const int o = t + i * 256;
    if (o >= octets) break;
    store(o, v[i]);
  }
  for (int o = t + held * 256; o < octets; o += 256) {
    load8<ELEMENT>(p, from + o * 8, w);
    normed(o, w);
    store(o, w);
  }
}
