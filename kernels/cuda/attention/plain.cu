// Attention of single queries over paged keys and values (Dao et al., "Flash-Decoding", 2023): a sequence's keys are
// split over blocks, and the query heads of a key/value head sit together in one, so that K and V are read once.
//
// Grid: (splits, kvHeads · head blocks, queries). A block is four warps in gangs of L lanes; a gang takes every n-th
// four keys, its lanes share a key's elements, eight each, and keep maximum, sum and output of an online softmax
// (Milakov & Gimelshein 2018) in registers. The gangs meet by shuffles, then through shared memory. A sequence with a
// single split writes its output at once, others leave maximum, sum and output for `attention_merge`. Bound by reading
// K and V, or by latency where they are few.

#include "cache.cuh"

const int THREADS = 128, WARPS = 4, BATCH = 4;
const float LOG2E = 1.4426950408889634f;

struct Attention {
  const u32* plan;
  const void* q;  // [T, numHeads, headDim]
  int qType;
  const u32* pageTable;
  const CacheNumber* keys;
  const CacheNumber* values;
  float* partial; // [queries, numHeads, splits, headDim + 2]
  void* output;   // [T, numHeads, headDim]
  int outputType, numHeads, numKvHeads, headDim, pageShift, pagesPerRow;
  float scale;    // of q·k, with log2(e)
  int window;     // 0 is none
  float cap;      // of scores, 0 for none
  const float* sinks;  // [numHeads], a further score of each head, or null
#ifdef INT8
  const float2* scales;
#endif
};

template <int L, int G> DEVICE void decode(const Attention& p) {
  letNextStart();
  waitForPrevious();
  __shared__ float meetingOutput[WARPS][G][L * 8], meetingMaximum[WARPS][G], meetingSum[WARPS][G];
  const u32 query = blockIdx.z;
  if (query >= p.plan[DECODES]) return;
  const u32* entry = p.plan + CONTENT_AT + 3 * query;
  const u32 token = entry[0], row = entry[1], position = entry[2];
  const u32 splitKeys = p.plan[SPLIT_KEYS], splits = p.plan[SPLITS];
  const u32 start = firstKey(position, p.window), first = start + blockIdx.x * splitKeys;
  if (first > position) return;
  const u32 end = min(first + splitKeys, position + 1), last = end - 1;
  const bool single = start + splitKeys > position;
  const int group = p.numHeads / p.numKvHeads, blocks = (group + G - 1) / G, kvHead = blockIdx.y / blocks;
  // The last block of a group begins earlier if it has to, and repeats heads of the one before it.
  const int head = kvHead * group + max(0, min((int)(blockIdx.y % blocks) * G, group - G));
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = threadIdx.x % L, gang = threadIdx.x / L;
  const int D = p.headDim;
  const bool inside = part * 8 < D;
  const int at = inside ? part * 8 : 0;
  float q[G][8], o[G][8] = {}, m[G], l[G];
#pragma unroll
  for (int h = 0; h < G; h++) {
    m[h] = -1e30f, l[h] = 0;
    load8(p.q, p.qType, ((size_t)token * p.numHeads + min(head + h, kvHead * group + group - 1)) * D + at, q[h]);
#pragma unroll
    for (int i = 0; i < 8; i++) q[h][i] = inside ? q[h][i] * p.scale : 0.0f;
  }
  const u32* pages = p.pageTable + (size_t)row * p.pagesPerRow;
  const u32 slotMask = (1u << p.pageShift) - 1;
  for (u32 j = first + gang * BATCH; j < end; j += THREADS / L * BATCH) {
    CacheEight k[BATCH], v[BATCH];
#ifdef INT8
    float2 scales[BATCH];
#endif
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const u32 key = min(j + i, last);
      const size_t number =
          (((size_t)pages[key >> p.pageShift] * p.numKvHeads + kvHead) << p.pageShift) + (key & slotMask);
      const size_t slot = number * D + at;
      k[i] = *(const CacheEight*)(p.keys + slot);
      v[i] = *(const CacheEight*)(p.values + slot);
#ifdef INT8
      scales[i] = p.scales[number];
#endif
    }
    float s[BATCH][G];
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      float x[8];
      unpackCache(k[i], x);
#pragma unroll
      for (int h = 0; h < G; h++) {
        float sum = 0;
#pragma unroll
        for (int e = 0; e < 8; e++) sum += q[h][e] * x[e];
        s[i][h] = sum;
      }
    }
#pragma unroll
    for (int mask = L / 2; mask; mask >>= 1)
#pragma unroll
      for (int i = 0; i < BATCH; i++)
#pragma unroll
        for (int h = 0; h < G; h++) {
          // Gangs of a warp may be in different rounds: only the gang's own lanes take part.
          const u32 gangMask = L == 32 ? ~0u : ((1u << (L & 31)) - 1) << (lane / L * L);
          s[i][h] += __shfl_xor_sync(gangMask, s[i][h], mask);
        }
#pragma unroll
    for (int h = 0; h < G; h++) {
      float n = m[h];
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
#ifdef INT8
        s[i][h] *= scales[i].x;
#endif
        if (p.cap > 0) s[i][h] = softCap(s[i][h], p.cap * LOG2E);
        if (j + i >= end) s[i][h] = -3e38f;
        n = fmaxf(n, s[i][h]);
      }
      const float r = exp2f(m[h] - n);
      m[h] = n, l[h] *= r;
#pragma unroll
      for (int e = 0; e < 8; e++) o[h][e] *= r;
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        s[i][h] = exp2f(s[i][h] - n);
        l[h] += s[i][h];
#ifdef INT8
        s[i][h] *= scales[i].y;
#endif
      }
    }
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      float x[8];
      unpackCache(v[i], x);
#pragma unroll
      for (int h = 0; h < G; h++)
#pragma unroll
        for (int e = 0; e < 8; e++) o[h][e] += s[i][h] * x[e];
    }
  }
  __syncwarp();
#pragma unroll
  for (int h = 0; h < G; h++) {
#pragma unroll
    for (int mask = L; mask < 32; mask <<= 1) {
      const float n = fmaxf(m[h], __shfl_xor_sync(~0u, m[h], mask)), r = exp2f(m[h] - n);
      m[h] = n, l[h] *= r;
      l[h] += __shfl_xor_sync(~0u, l[h], mask);
#pragma unroll
      for (int e = 0; e < 8; e++) {
        o[h][e] *= r;
        o[h][e] += __shfl_xor_sync(~0u, o[h][e], mask);
      }
    }
    if (lane < L) {
#pragma unroll
      for (int e = 0; e < 8; e++) meetingOutput[warp][h][part * 8 + e] = o[h][e];
      if (part == 0) meetingMaximum[warp][h] = m[h], meetingSum[warp][h] = l[h];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < G * D; i += THREADS) {
    const int h = i / D, e = i % D;
    if (h >= group) continue;
    float n = -1e30f, sum = 0, value = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) n = fmaxf(n, meetingMaximum[w][h]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float r = exp2f(meetingMaximum[w][h] - n);
      sum += meetingSum[w][h] * r, value += meetingOutput[w][h][e] * r;
    }
    if (single) {
      if (p.sinks) sum += exp2f(p.sinks[head + h] * LOG2E - n);
      storeNumber(p.output, p.outputType, ((size_t)token * p.numHeads + head + h) * D + e, value / sum);
    } else {
      float* to = p.partial + (((size_t)query * p.numHeads + head + h) * splits + blockIdx.x) * (D + 2);
      to[2 + e] = value;
      if (e == 0) to[0] = n, to[1] = sum;
    }
  }
}

// LANES is chosen where this file is compiled: the smallest of 4, 8, 16, 32 that is headDim / 8 or more.
#ifdef INT8
#define SCALES_PARAMETER , const float2* scales
#define SCALES_ARGUMENT , scales
#else
#define SCALES_PARAMETER
#define SCALES_ARGUMENT
#endif
#define ATTENTION(name, G)                                                                                          \
  KERNEL __launch_bounds__(THREADS) name(const u32* plan, const void* q, int qType, const u32* pageTable,           \
                                         const CacheNumber* keys, const CacheNumber* values, float* partial,        \
                                         void* output, int outputType, int numHeads, int numKvHeads, int headDim,   \
                                         int pageShift, int pagesPerRow, float scale, int window, float cap,        \
                                         const float* sinks SCALES_PARAMETER) {                                     \
    decode<LANES, G>({plan, q, qType, pageTable, keys, values, partial, output, outputType, numHeads, numKvHeads,   \
                      headDim, pageShift, pagesPerRow, scale, window, cap, sinks SCALES_ARGUMENT});                 \
  }
ATTENTION(attention_h1, 1)
ATTENTION(attention_h2, 2)
ATTENTION(attention_h4, 4)
