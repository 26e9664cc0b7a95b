// Adds up the splits of attention over long contexts: every query and head that has several. Grid: (numHeads, queries).
// Bound by launch.

#include "kernel.cuh"

KERNEL __launch_bounds__(128) attention_merge(const u32* plan, const float* partial, void* output, int outputType,
                                              int numHeads, int headDim, int window, const float* sinks) {
  letNextStart();
  waitForPrevious();
  const u32 query = blockIdx.y, h = blockIdx.x;
  if (query >= plan[DECODES]) return;
  const u32* entry = plan + CONTENT_AT + 3 * query;
  const u32 token = entry[0], position = entry[2], splitKeys = plan[SPLIT_KEYS], splits = plan[SPLITS];
  const u32 start = firstKey(position, window), count = (position + 1 - start + splitKeys - 1) / splitKeys;
  if (count <= 1) return;
  const float* from = partial + ((size_t)query * numHeads + h) * splits * (headDim + 2);
  float n = -1e30f, sum = 0;
  for (u32 s = 0; s < count; s++) n = fmaxf(n, from[s * (headDim + 2)]);
  for (u32 s = 0; s < count; s++) sum += from[s * (headDim + 2) + 1] * exp2f(from[s * (headDim + 2)] - n);
  if (sinks) sum += exp2f(sinks[h] * 1.4426950408889634f - n);
  for (int e = threadIdx.x; e < headDim; e += blockDim.x) {
    float value = 0;
    for (u32 s = 0; s < count; s++) value += from[s * (headDim + 2) + 2 + e] * exp2f(from[s * (headDim + 2)] - n);
    storeNumber(output, outputType, ((size_t)token * numHeads + h) * headDim + e, value / sum);
  }
}
