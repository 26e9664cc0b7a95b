// Attention of a step in which every sequence computes one token: flash-decoding as in `plain.cu`, with the norm and the
// rotation of q and k and the store of k and v done on the way, so that a layer's attention is one kernel.
//
// Grid: (splits, kvHeads · head blocks, queries). Every gang of L lanes prepares the block's queries for itself; the
// first gang of the split that ends the sequence prepares the token's own key and value, stores them, and takes them
// from its registers. No two queries are of one sequence, so no other block reads them. Page table and earlier keys are
// older than the step: the first four of each gang are loaded before the products of this layer are done.
// Bound by latency for few keys, by reading K and V for many.

#include "cache.cuh"

struct Own {
  const u32* plan;
  const void* qkv;      // [T, numHeads + 2 numKvHeads, headDim]
  int qkvType;
  const float* cosine;  // [positions, headDim / 2]
  const float* sine;
  const float* qNorm;   // [headDim] or null
  const float* kNorm;
  float qEpsilon, kEpsilon;
  const u32* pageTable;
  CacheNumber* keys;
  CacheNumber* values;
  float* partial;       // [queries, numHeads, splits, headDim + 2]
  void* output;         // [T, numHeads, headDim]
  int outputType, numHeads, numKvHeads, headDim, pageShift, pagesPerRow;
  float scale;          // of q·k, with log2(e)
  int window;           // 0 is none
#ifdef INT8
  float2* scales;
#endif
};

// Sum over a gang's lanes.
template <int L> DEVICE float gangSum(float x, u32 lanes) {
#pragma unroll
  for (int mask = L / 2; mask; mask >>= 1) x += __shfl_xor_sync(lanes, x, mask);
  return x;
}

#ifdef INT8
// The largest of a gang's bits.
template <int L> DEVICE u32 gangMax(u32 x, u32 lanes) {
#pragma unroll
  for (int mask = L / 2; mask; mask >>= 1) x = max(x, __shfl_xor_sync(lanes, x, mask));
  return x;
}
// A gang's head as it is stored, in each lane's eight numbers; its scale.
template <int L> DEVICE float roundHead(const float (&x)[8], u32 lanes, uint2& stored) {
  u32 largest = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) largest = max(largest, magnitude(x[i]));
  largest = gangMax<L>(largest, lanes);
  stored = packCache(x, inverseOf(largest));
  return scaleOf(largest);
}
#endif

// Eight elements of a head, x, and the eight that they turn with, y: normalised (a and b are the weights) and rotated; c and
// s are the angles'.
template <int L>
DEVICE void prepareHead(bool inside, bool norm, const float (&a)[8], const float (&b)[8], float perElement, float epsilon,
                        const float (&c)[8], const float (&s)[8], float sign, u32 lanes, float (&x)[8], float (&y)[8]) {
  if (norm) {
    float squares = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) squares += x[i] * x[i];
    const float scale = rsqrtf(gangSum<L>(inside ? squares : 0.0f, lanes) * perElement + epsilon);
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] *= scale * a[i], y[i] *= scale * b[i];
  }
#pragma unroll
  for (int i = 0; i < 8; i++) x[i] = x[i] * c[i] + sign * y[i] * s[i];
}

template <int L, int G> DEVICE void decode(const Own& p) {
  const int BATCH = G == 4 ? 2 : 4;
  letNextStart();
  extern __shared__ float meeting[]; // [warps][G][L · 8 + 2]
  const u32 query = blockIdx.z;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = threadIdx.x % L, gang = threadIdx.x / L;
  const int warps = blockDim.x >> 5, D = p.headDim, WIDTH = L * 8 + 2;
  const u32* entry = p.plan + CONTENT_AT + 3 * query;
  const u32 token = entry[0], row = entry[1], position = entry[2];
  const u32 splitKeys = p.plan[SPLIT_KEYS], splits = p.plan[SPLITS];
  const u32 start = firstKey(position, p.window), first = start + blockIdx.x * splitKeys;
  if (query >= p.plan[DECODES] || first > position) {
    waitForPrevious();
    return;
  }
  // The keys that are in pages already; there may be none.
  const u32 end = min(first + splitKeys, position), last = max(end, 1u) - 1;
  const bool single = start + splitKeys > position, own = first + splitKeys > position;
  const int group = p.numHeads / p.numKvHeads, blocks = (group + G - 1) / G, kvHead = blockIdx.y / blocks;
  // The last block of a group begins earlier if it has to, and repeats heads of the one before it.
  const int head = kvHead * group + max(0, min((int)(blockIdx.y % blocks) * G, group - G));
  const u32 lanes = L == 32 ? ~0u : ((1u << (L & 31)) - 1) << (lane / L * L);
  const bool inside = part * 8 < D;
  const int at = inside ? part * 8 : 0, half = D / 2;
  const u32* pages = p.pageTable + (size_t)row * p.pagesPerRow;
  const u32 slotMask = (1u << p.pageShift) - 1;
  const auto slotOf = [&](u32 key) {
    return (((size_t)pages[key >> p.pageShift] * p.numKvHeads + kvHead) << p.pageShift) + (key & slotMask);
  };
  CacheEight k[BATCH], v[BATCH];
#ifdef INT8
  float2 scales[BATCH];
#endif
  const auto loadBatch = [&](u32 j) {
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const size_t number = slotOf(min(j + i, last)), slot = number * D + at;
      k[i] = *(const CacheEight*)(p.keys + slot);
      v[i] = *(const CacheEight*)(p.values + slot);
#ifdef INT8
      scales[i] = p.scales[number];
#endif
    }
  };
  const u32 begin = first + gang * BATCH, step = blockDim.x / L * BATCH;
  if (begin < end) loadBatch(begin);
  // x turns with y, half a head away: at half = 4 (heads of 8) the partner is in the same eight elements.
  float c[8], s[8], q[G][8], o[G][8] = {}, m[G], l[G];
  const bool low = at < half;
  const int other = low ? at + half : at - half;
  const size_t angles = (size_t)position * half + (low ? at : at - half);
#pragma unroll
  for (int i = 0; i < 8; i++) c[i] = p.cosine[angles + i], s[i] = p.sine[angles + i];
  const float perElement = 1.0f / D, sign = low ? -1.0f : 1.0f;
  float weight[8], otherWeight[8], y[G][8];
  if (p.qNorm) load8(p.qNorm, F32, at, weight), load8(p.qNorm, F32, other, otherWeight);
  const size_t width = (size_t)(p.numHeads + 2 * p.numKvHeads) * D, kFrom = token * width + (size_t)(p.numHeads + kvHead) * D;
  const bool mine = own && gang == 0;
  waitForPrevious();
  float ownKey[8], ownOther[8], ownValue[8];
  if (mine) {
    load8(p.qkv, p.qkvType, kFrom + at, ownKey);
    load8(p.qkv, p.qkvType, kFrom + other, ownOther);
    load8(p.qkv, p.qkvType, kFrom + (size_t)p.numKvHeads * D + at, ownValue);
  }
#pragma unroll
  for (int h = 0; h < G; h++) {
    const size_t from = token * width + (size_t)min(head + h, kvHead * group + group - 1) * D;
    load8(p.qkv, p.qkvType, from + at, q[h]);
    load8(p.qkv, p.qkvType, from + other, y[h]);
  }
#pragma unroll
  for (int h = 0; h < G; h++) {
    m[h] = -1e30f, l[h] = 0;
    prepareHead<L>(inside, p.qNorm, weight, otherWeight, perElement, p.qEpsilon, c, s, sign, lanes, q[h], y[h]);
#pragma unroll
    for (int i = 0; i < 8; i++) q[h][i] = inside ? q[h][i] * p.scale : 0.0f;
  }
  const auto attend = [&](int count, u32 j) {
    float score[BATCH][G];
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      float x[8];
      unpackCache(k[i], x);
#pragma unroll
      for (int h = 0; h < G; h++) {
        float sum = 0;
#pragma unroll
        for (int e = 0; e < 8; e++) sum += q[h][e] * x[e];
        score[i][h] = sum;
      }
    }
#pragma unroll
    for (int mask = L / 2; mask; mask >>= 1)
#pragma unroll
      for (int i = 0; i < BATCH; i++)
#pragma unroll
        for (int h = 0; h < G; h++) score[i][h] += __shfl_xor_sync(lanes, score[i][h], mask);
#pragma unroll
    for (int h = 0; h < G; h++) {
      float n = m[h];
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
#ifdef INT8
        score[i][h] *= scales[i].x;
#endif
        if (i >= count) score[i][h] = -3e38f;
        n = fmaxf(n, score[i][h]);
      }
      const float r = exp2f(m[h] - n);
      m[h] = n, l[h] *= r;
#pragma unroll
      for (int e = 0; e < 8; e++) o[h][e] *= r;
#pragma unroll
      for (int i = 0; i < BATCH; i++) {
        score[i][h] = exp2f(score[i][h] - n);
        l[h] += score[i][h];
#ifdef INT8
        score[i][h] *= scales[i].y;
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
        for (int e = 0; e < 8; e++) o[h][e] += score[i][h] * x[e];
    }
  };
  for (u32 j = begin; j < end; j += step) {
    if (j != begin) loadBatch(j);
    attend(min(end - j, (u32)BATCH), j);
  }
  if (mine) {
    if (p.kNorm) load8(p.kNorm, F32, at, weight), load8(p.kNorm, F32, other, otherWeight);
    prepareHead<L>(inside, p.kNorm, weight, otherWeight, perElement, p.kEpsilon, c, s, sign, lanes, ownKey, ownOther);
    // As they are stored.
#ifdef INT8
    scales[0].x = roundHead<L>(ownKey, lanes, k[0]), scales[0].y = roundHead<L>(ownValue, lanes, v[0]);
#pragma unroll
    for (int i = 1; i < BATCH; i++) k[i] = v[i] = make_uint2(0, 0), scales[i] = make_float2(0, 0);
#else
    k[0] = make_uint4(packF16(ownKey[0], ownKey[1]), packF16(ownKey[2], ownKey[3]), packF16(ownKey[4], ownKey[5]),
                      packF16(ownKey[6], ownKey[7]));
    v[0] = make_uint4(packF16(ownValue[0], ownValue[1]), packF16(ownValue[2], ownValue[3]),
                      packF16(ownValue[4], ownValue[5]), packF16(ownValue[6], ownValue[7]));
#pragma unroll
    for (int i = 1; i < BATCH; i++) k[i] = v[i] = make_uint4(0, 0, 0, 0);
#endif
    if (inside && blockIdx.y % blocks == 0) {
      const size_t number = slotOf(position), slot = number * D + at;
      *(CacheEight*)(p.keys + slot) = k[0];
      *(CacheEight*)(p.values + slot) = v[0];
#ifdef INT8
      if (part == 0) p.scales[number] = scales[0];
#endif
    }
    attend(1, 0);
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
      float* to = meeting + (warp * G + h) * WIDTH;
#pragma unroll
      for (int e = 0; e < 8; e++) to[2 + part * 8 + e] = o[h][e];
      if (part == 0) to[0] = m[h], to[1] = l[h];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < G * D; i += blockDim.x) {
    const int h = i / D, e = i % D;
    if (h >= group) continue;
    float n = -1e30f, sum = 0, value = 0;
#pragma unroll 8
    for (int w = 0; w < warps; w++) n = fmaxf(n, meeting[(w * G + h) * WIDTH]);
#pragma unroll 8
    for (int w = 0; w < warps; w++) {
      const float* of = meeting + (w * G + h) * WIDTH;
      const float r = exp2f(of[0] - n);
      sum += of[1] * r, value += of[2 + e] * r;
    }
    if (single) {
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
#define SCALES_PARAMETER , float2* scales
#define SCALES_ARGUMENT , scales
#else
#define SCALES_PARAMETER
#define SCALES_ARGUMENT
#endif
#define OWN(name, G)                                                                                                 \
  KERNEL __launch_bounds__(G == 4 ? 256 : 512) name(                                                                 \
      const u32* plan, const void* qkv, int qkvType, const float* cosine, const float* sine, const float* qNorm,     \
      const float* kNorm, float qEpsilon, float kEpsilon, const u32* pageTable, CacheNumber* keys,                   \
      CacheNumber* values, float* partial, void* output, int outputType, int numHeads, int numKvHeads, int headDim,  \
      int pageShift, int pagesPerRow, float scale, int window SCALES_PARAMETER) {                                    \
    decode<LANES, G>({plan, qkv, qkvType, cosine, sine, qNorm, kNorm, qEpsilon, kEpsilon, pageTable, keys, values,   \
                      partial, output, outputType, numHeads, numKvHeads, headDim, pageShift, pagesPerRow, scale,     \
                      window SCALES_ARGUMENT});                                                                      \
  }
OWN(own_h1, 1)
OWN(own_h2, 2)
OWN(own_h4, 4)
