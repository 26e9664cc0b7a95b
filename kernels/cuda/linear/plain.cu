// Products in float32: for small matrices, where the time is latency anyway and results should not depend on the batch,
// and for weights in float32.
//
// Grid: (outputs / 8, tokens / 8). A block is eight warps; a warp makes one output feature (of a paired matrix both
// halves) for up to eight tokens, its lanes going along the row eight columns at a time. With `routes` the grid's
// second side is (token, expert) pairs, one at a time; a pair's input is row pair / perToken. Bound by latency, and by reading the weights.

#include "kernel.cuh"

const int TOKENS_PER_BLOCK = 8;

// D, the type of the weights, is chosen where this file is compiled.
const int D = KIND;
KERNEL __launch_bounds__(256) plain(const float* x, const float* normWeight, float epsilon, const u8* w,
                                    const float* bias, void* y, int yType, int M, int N, int K, int stride, int epilogue,
                                    const u32* routes, int perToken) {
  letNextStart();
  waitForPrevious();
  __shared__ float scales[TOKENS_PER_BLOCK];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, n = blockIdx.x * 8 + warp;
  int first = blockIdx.y * TOKENS_PER_BLOCK, tokens = min(TOKENS_PER_BLOCK, M - first), out = first;
  const size_t rowBytes = matrixRowBytes(D, K);
  const bool paired = epilogue == SILU_MUL;
  if (routes) {
    const u32 pair = blockIdx.y, expert = routes[2 * pair];
    if (expert == 0xffffffffu) return;
    w += (size_t)expert * (paired ? 2 * N : N) * rowBytes;
    first = pair / perToken, tokens = 1, out = pair;
  }
  x += (size_t)first * K;
  if (normWeight) {
    if (warp < tokens) {
      float squares = 0;
      for (int k = lane; k < K; k += 32) squares += x[(size_t)warp * K + k] * x[(size_t)warp * K + k];
      squares = warpSum(squares);
      if (lane == 0) scales[warp] = rsqrtf(squares / K + epsilon);
    }
    __syncthreads();
  }
  if (n >= N) return;
  float sum[TOKENS_PER_BLOCK] = {}, up[TOKENS_PER_BLOCK] = {};
  for (int k = lane * 8; k < K; k += 256) {
    float a[8], b[8] = {}, g[8];
    weights8<D>(w + n * rowBytes, K, k, a);
    if (paired) weights8<D>(w + (size_t)(N + n) * rowBytes, K, k, b);
    if (normWeight) {
      load8(normWeight, F32, k, g);
#pragma unroll
      for (int i = 0; i < 8; i++) a[i] *= g[i], b[i] *= g[i];
    }
#pragma unroll
    for (int t = 0; t < TOKENS_PER_BLOCK; t++) {
      if (t >= tokens) break;
      float v[8];
      load8(x, F32, (size_t)t * K + k, v);
#pragma unroll
      for (int i = 0; i < 8; i++) sum[t] += a[i] * v[i], up[t] += b[i] * v[i];
    }
  }
  // Lane t keeps the sums of token t.
  float value = 0, other = 0;
#pragma unroll
  for (int t = 0; t < TOKENS_PER_BLOCK; t++) {
    const float a = warpSum(sum[t]), b = paired ? warpSum(up[t]) : 0.0f;
    if (lane == t) value = a, other = b;
  }
  if (lane >= tokens) return;
  const float scale = normWeight ? scales[lane] : 1.0f;
  value = value * scale + (bias ? bias[n] : 0.0f);
  if (paired) value = value / (1.0f + expf(-value)) * (other * scale + (bias ? bias[N + n] : 0.0f));
  const size_t at = (size_t)(out + lane) * stride + n;
  if (epilogue == ADD) value += loadNumber(y, yType, at);
  storeNumber(y, yType, at, value);
}
