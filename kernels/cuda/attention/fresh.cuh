// A token's heads as the layer's product leaves them, for the decode kernel: norm and rotation (NeoX order) in registers.
#pragma once
#include "paged.cuh"

// What fresh kernels are given besides.
struct Fresh {
  const u16* qkv;       // [T, numHeads + 2 numKvHeads, headDim]
  const float* cosine;  // [positions, headDim / 2]
  const float* sine;
  const float* qNorm;   // [headDim] or null
  const float* kNorm;
  int type;             // of qkv, an Output
  float qEpsilon, kEpsilon;
};

__device__ __forceinline__ u32 wordOf(const uint4& v, int j) {
  return j == 0 ? v.x : j == 1 ? v.y : j == 2 ? v.z : v.w;
}

// Eight numbers of a product's results.
__device__ __forceinline__ void unpack8(const uint4& v, int type, float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const u32 w = wordOf(v, i);
    x[2 * i] = type == OUT_BF16 ? Bf16::low(w) : F16::low(w), x[2 * i + 1] = type == OUT_BF16 ? Bf16::high(w) : F16::high(w);
  }
}
template <class E>
__device__ __forceinline__ uint4 pack8(const float (&x)[8]) {
  return make_uint4(E::pack(x[0], x[1]), E::pack(x[2], x[3]), E::pack(x[4], x[5]), E::pack(x[6], x[7]));
}
// Eight float32 constants.
__device__ __forceinline__ void constants8(const float* from, float (&x)[8]) {
  const float4 a = __ldg((const float4*)from), b = __ldg((const float4*)from + 1);
  x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}
// A head normalised and rotated; lane q of four has numbers 32 b + 8 q … 32 b + 8 q + 7 for each b, and so both of every
// pair, half a head apart.
template <class E, int D>
__device__ __forceinline__ void rotated(const Fresh& f, const u16* head, const float* norm, float epsilon, int position,
                                        int q, uint4 (&to)[D / 32]) {
  const int KB = D / 32;
  float squares = 0;
#pragma unroll
  for (int b = 0; b < KB; b++) to[b] = *(const uint4*)(head + b * 32 + q * 8);
  if (norm != nullptr) {
#pragma unroll
    for (int b = 0; b < KB; b++) {
      float x[8];
      unpack8(to[b], f.type, x);
#pragma unroll
      for (int i = 0; i < 8; i++) squares += x[i] * x[i];
    }
  }
  squares += __shfl_xor_sync(~0u, squares, 1);
  squares += __shfl_xor_sync(~0u, squares, 2);
  const float scale = norm == nullptr ? 1.0f : rsqrtf(squares / D + epsilon);
#pragma unroll
  for (int b = 0; b < KB / 2; b++) {
    float x[8], y[8];
    unpack8(to[b], f.type, x), unpack8(to[b + KB / 2], f.type, y);
    const int at = b * 32 + q * 8;
    if (norm != nullptr) {
      float w[8], u[8];
      constants8(norm + at, w), constants8(norm + D / 2 + at, u);
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] *= scale * w[i], y[i] *= scale * u[i];
    }
    float c[8], s[8];
    constants8(f.cosine + (size_t)position * (D / 2) + at, c), constants8(f.sine + (size_t)position * (D / 2) + at, s);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const float turned = x[i] * c[i] - y[i] * s[i];
      y[i] = y[i] * c[i] + x[i] * s[i], x[i] = turned;
    }
    to[b] = pack8<E>(x), to[b + KB / 2] = pack8<E>(y);
  }
}
