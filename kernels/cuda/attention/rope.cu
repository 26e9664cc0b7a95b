// Norms of q and k, rotation at each token's position (NeoX order), and the store of k and v into the token's page.
//
// Grid: (heads, tokens), a warp each. q goes to an array of its own, k and v as halves into pages of
// [page][kvHead][slot][headDim]. Bound by launch.

#include "kernel.cuh"

KERNEL __launch_bounds__(32) rope_store(const u32* plan, const void* qkv, int qkvType, const float* cosine,
                                        const float* sine, const float* qNorm, const float* kNorm, float qEpsilon,
                                        float kEpsilon, const u32* pageTable, u16* keys, u16* values, void* q, int qType,
                                        int numHeads, int numKvHeads, int headDim, int pageShift, int pagesPerRow) {
  letNextStart();
  waitForPrevious();
  const u32 t = blockIdx.y, h = blockIdx.x, lane = threadIdx.x;
  if (t >= plan[TOKENS]) return;
  const u32* token = plan + plan[TOKENS_AT] + 2 * t;
  const u32 row = token[0], position = token[1];
  const int half = headDim / 2, width = (numHeads + 2 * numKvHeads) * headDim;
  const size_t from = (size_t)t * width + h * headDim;
  const bool isQuery = h < numHeads, isValue = h >= numHeads + numKvHeads;
  u16* to = nullptr;
  if (!isQuery) {
    const u32 page = pageTable[(size_t)row * pagesPerRow + (position >> pageShift)];
    const u32 head = isValue ? h - numHeads - numKvHeads : h - numHeads;
    const u32 slot = position & ((1u << pageShift) - 1);
    to = (isValue ? values : keys) + ((((size_t)page * numKvHeads + head) << pageShift) + slot) * headDim;
  }
  if (isValue) {
    for (int i = lane; i < headDim; i += 32) to[i] = toF16(loadNumber(qkv, qkvType, from + i));
    return;
  }
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
  for (int i = lane; i < half; i += 32) {
    float a = loadNumber(qkv, qkvType, from + i), b = loadNumber(qkv, qkvType, from + i + half);
    if (norm) a *= scale * norm[i], b *= scale * norm[i + half];
    const float c = cosine[(size_t)position * half + i], s = sine[(size_t)position * half + i];
    const float x = a * c - b * s, y = b * c + a * s;
    if (isQuery) {
      const size_t at = ((size_t)t * numHeads + h) * headDim + i;
      storeNumber(q, qType, at, x);
      storeNumber(q, qType, at + half, y);
    } else {
      to[i] = toF16(x);
      to[i + half] = toF16(y);
    }
  }
}
