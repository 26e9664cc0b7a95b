// Norms of q and k, rotation at each token's position (NeoX order), and the store of k and v into the token's page.
//
// Grid: (heads, tokens), a warp each. q goes to an array of its own, k and v as halves into pages of
// [page][kvHead][slot][headDim]; with INT8, as bytes with a scale (cache.cuh). Bound by launch.

#include "cache.cuh"

#ifdef INT8
#define SCALES_PARAMETER , float* scales
#else
#define SCALES_PARAMETER
#endif

KERNEL __launch_bounds__(32) rope_store(const u32* plan, const void* qkv, int qkvType, const float* cosine,
                                        const float* sine, const float* qNorm, const float* kNorm, float qEpsilon,
                                        float kEpsilon, const u32* pageTable, CacheNumber* keys, CacheNumber* values,
                                        void* q, int qType, int numHeads, int numKvHeads, int headDim, int pageShift,
                                        int pagesPerRow SCALES_PARAMETER) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.y, h = blockIdx.x, lane = threadIdx.x;
  if (t >= plan[TOKENS]) return;
  const u32* token = plan + plan[TOKENS_AT] + 2 * t;
  const u32 row = token[0], position = token[1];
  const int half = headDim / 2, width = (numHeads + 2 * numKvHeads) * headDim;
  const size_t from = (size_t)t * width + h * headDim;
  const bool isQuery = h < numHeads, isValue = h >= numHeads + numKvHeads;
  CacheNumber* to = nullptr;
#ifdef INT8
  size_t number = 0;
#endif
  if (!isQuery) {
    const u32 page = pageTable[(size_t)row * pagesPerRow + (position >> pageShift)];
    const u32 head = isValue ? h - numHeads - numKvHeads : h - numHeads;
    const u32 slot = position & ((1u << pageShift) - 1);
    to = (isValue ? values : keys) + ((((size_t)page * numKvHeads + head) << pageShift) + slot) * headDim;
#ifdef INT8
    number = (((size_t)page * numKvHeads + head) << pageShift) + slot;
#endif
  }
#ifdef INT8
  // A lane's numbers, and those half a head further.
  float near[4], far[4];
  u32 largest = 0;
  const auto keep = [&](int n, float x, float y) {
    near[n] = x, far[n] = y;
    largest = max(largest, max(magnitude(x), magnitude(y)));
  };
  const auto store = [&] {
    largest = __reduce_max_sync(~0u, largest);
    const float inverse = inverseOf(largest);
    if (lane == 0) scales[2 * number + isValue] = scaleOf(largest);
#pragma unroll
    for (int n = 0; n < 4; n++) {
      const int i = lane + 32 * n;
      if (i < half) to[i] = (u8)toByte(near[n], inverse), to[i + half] = (u8)toByte(far[n], inverse);
    }
  };
  if (isValue) {
#pragma unroll
    for (int n = 0; n < 4; n++) {
      const int i = lane + 32 * n;
      if (i < half) keep(n, loadNumber(qkv, qkvType, from + i), loadNumber(qkv, qkvType, from + i + half));
    }
    store();
    return;
  }
#else
  if (isValue) {
    for (int i = lane; i < headDim; i += 32) to[i] = toF16(loadNumber(qkv, qkvType, from + i));
    return;
  }
#endif
  const float* norm = isQuery ? qNorm : kNorm;
  float scale = 1;
  if (norm) {
    float squares = 0;
    for (int i = lane; i < headDim; i += 32) {
      const float x = loadNumber(qkv, qkvType, from + i);
      squares += x * x;
    }
    scale = rsqrtf(warpSum(squares) / headDim + (isQuery ? qEpsilon : kEpsilon));
  }
#ifdef INT8
#pragma unroll
  for (int n = 0; n < 4; n++) {
    const int i = lane + 32 * n;
    if (i >= half) break;
#else
  for (int i = lane; i < half; i += 32) {
#endif
    float a = loadNumber(qkv, qkvType, from + i), b = loadNumber(qkv, qkvType, from + i + half);
    if (norm) a *= scale * norm[i], b *= scale * norm[i + half];
    const float c = cosine[(size_t)position * half + i], s = sine[(size_t)position * half + i];
    const float x = a * c - b * s, y = b * c + a * s;
    if (isQuery) {
      const size_t at = ((size_t)t * numHeads + h) * headDim + i;
      storeNumber(q, qType, at, x);
      storeNumber(q, qType, at + half, y);
    } else {
#ifdef INT8
      keep(n, x, y);
#else
      to[i] = toF16(x);
      to[i + half] = toF16(y);
#endif
    }
  }
#ifdef INT8
  if (!isQuery) store();
#endif
}
