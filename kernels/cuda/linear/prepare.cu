// What stands between products: the input of one, normalised if there is a norm, in the type that it takes; norms by
// themselves; gates other than SiLU, which products do on the way; caps of logits.

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

// Numbers first … first + count − 1 of rows: normalised, stored or added; with `sums`, sums[t · sumsWidth] is the sum of
// the squares of `total` numbers, of which these are a part. A block per row.
KERNEL __launch_bounds__(256) norm_columns(const u32* plan, const void* x, int xType, int xWidth, const float* weight,
                                   float epsilon, void* y, int yType, int yWidth, int first, int count, int add,
                                   const float* sums, int sumsWidth, int total) {
  letNextStart();
  waitForPrevious();
  __shared__ float parts[32];
  const u32 t = blockIdx.x;
  if (t >= plan[TOKENS]) return;
  const size_t from = (size_t)t * xWidth + first, to = (size_t)t * yWidth + first;
  float squares = 0;
  if (!sums)
    for (int k = threadIdx.x; k < count; k += blockDim.x) {
      const float v = loadNumber(x, xType, from + k);
      squares += v * v;
    }
  const float mean = sums ? sums[(size_t)t * sumsWidth] / total : blockSum(squares, parts) / count;
  const float scale = rsqrtf(mean + epsilon);
  for (int k = threadIdx.x; k < count; k += blockDim.x) {
    const float v = loadNumber(x, xType, from + k) * scale * weight[k];
    storeNumber(y, yType, to + k, add ? loadNumber(y, yType, to + k) + v : v);
  }
}

// y[t · yWidth + column] = the sum of squares of numbers first … first + count − 1 of row t. A block per row.
KERNEL __launch_bounds__(256) squares(const u32* plan, const void* x, int xType, int xWidth, int first, int count,
                                      float* y, int yWidth, int column) {
  letNextStart();
  waitForPrevious();
  __shared__ float parts[32];
  const u32 t = blockIdx.x;
  if (t >= plan[TOKENS]) return;
  float sum = 0;
  for (int k = threadIdx.x; k < count; k += blockDim.x) {
    const float v = loadNumber(x, xType, (size_t)t * xWidth + first + k);
    sum += v * v;
  }
  sum = blockSum(sum, parts);
  if (threadIdx.x == 0) y[(size_t)t * yWidth + column] = sum;
}

// y[r, n] = gate(x[r, n], x[r, width + n]). With `routes`, row r is of pair order[r] (r without an order), to whose
// expert's rows of `bias`, [experts, 2 width], it belongs. Grid: (rows, width / 256).
KERNEL __launch_bounds__(256) gate(const float* x, void* y, int yType, int width, int yWidth, const float* bias,
                                   const u32* routes, const u32* order, float alpha, float beta, float limit,
                                   float plus) {
  letNextStart();
  waitForPrevious();
  const int n = blockIdx.y * 256 + threadIdx.x;
  const size_t r = blockIdx.x;
  if (n >= width) return;
  float g = x[r * 2 * width + n], u = x[r * 2 * width + width + n];
  if (bias) {
    // A surplus token's pair has no expert, and no place in the order.
    const u32 pair = order ? order[r] : r;
    const u32 expert = pair < gridDim.x ? routes[2 * pair] : 0xffffffffu;
    if (expert == 0xffffffffu) return;
    bias += (size_t)expert * 2 * width;
    g += bias[n], u += bias[width + n];
  }
  storeNumber(y, yType, r * yWidth + n, gateMul({alpha, beta, limit, plus}, g, u));
}

// Rows of logits, capped.
KERNEL cap_logits(float* logits, u32 count, float most) {
  letNextStart();
  waitForPrevious();
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
    logits[i] = softCap(logits[i], most);
}
