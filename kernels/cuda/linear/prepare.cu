// The input of a product, normalised if there is a norm, in the type that the product takes.

#include "kernel.cuh"

// Rows of an activation in another type, normalised if there is a norm: all of them, or with `plan` those of the tokens
// whose logits are wanted. A block per row.
KERNEL __launch_bounds__(256) prepare(const u32* plan, const void* x, int xType, const float* normWeight, float epsilon,
                                      void* y, int yType, int K) {
  letNextStart();
  waitForPrevious();
  __shared__ float parts[32];
  const u32 row = blockIdx.x;
  if (plan && row >= plan[SAMPLES]) return;
  const size_t from = (size_t)(plan ? plan[CONTENT_AT + SAMPLE_WORDS * row] : row) * K, to = (size_t)row * K;
  float scale = 1;
  if (normWeight) {
    float squares = 0;
    for (int k = threadIdx.x * 8; k < K; k += blockDim.x * 8) {
      float v[8];
      load8(x, xType, from + k, v);
#pragma unroll
      for (int i = 0; i < 8; i++) squares += v[i] * v[i];
    }
    scale = rsqrtf(blockSum(squares, parts) / K + epsilon);
  }
  for (int k = threadIdx.x * 8; k < K; k += blockDim.x * 8) {
    float v[8], g[8];
    load8(x, xType, from + k, v);
    if (normWeight) {
      load8(normWeight, F32, k, g);
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] *= scale * g[i];
    }
    if (yType == F32) {
      *(float4*)((float*)y + to + k) = make_float4(v[0], v[1], v[2], v[3]);
      *(float4*)((float*)y + to + k + 4) = make_float4(v[4], v[5], v[6], v[7]);
    } else if (yType == BF16) {
      *(uint4*)((u16*)y + to + k) =
          make_uint4(packBf16(v[0], v[1]), packBf16(v[2], v[3]), packBf16(v[4], v[5]), packBf16(v[6], v[7]));
    } else {
      *(uint4*)((u16*)y + to + k) =
          make_uint4(packF16(v[0], v[1]), packF16(v[2], v[3]), packF16(v[4], v[5]), packF16(v[6], v[7]));
    }
  }
}

// Numbers in another type, `count` of them.
KERNEL convert(const void* from, int fromType, void* to, int toType, u32 count) {
  letNextStart();
  waitForPrevious();
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
    storeNumber(to, toType, i, loadNumber(from, fromType, i));
}
