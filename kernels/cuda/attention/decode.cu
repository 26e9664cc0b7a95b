// Attention of single queries over paged keys and values: flash-decoding (Dao et al. 2023), the query heads that
// share a key/value head in one workgroup, so that keys and values are read once.
//
// Grid: (splits, kvHeads · blocks of 8 heads, queries), fixed: lengths and the keys of a split are read from the plan
// and workgroups behind the end leave. Workgroup: WARPS warps that take 16 keys each in turn and meet at the end.
// Memory: both products run on mma.sync with operands straight from memory: keys (or values' columns) are the rows of
// A, the heads the columns of B. Which number stands where in a sum does not matter as long as both operands agree,
// so a lane's 16 bytes of a key serve two products as they come; values are paired by two byte permutations,
// probabilities turned by movmatrix. The next 16 keys are on their way during the softmax (online, Milakov &
// Gimelshein 2018). With several splits, the last workgroup to arrive merges them in order. Bound by reading keys and
// values.
//
// Fresh kernels take q, k and v as the layer's product leaves them, in steps in which every sequence computes one token:
// each workgroup norms and rotates its queries, for which a lane holds both numbers of every pair, and the warp that
// comes to the token's own key makes that, stores it and its value, and takes them from shared memory. Everything older
// than the step is asked for before the kernel in front has ended.
#include "single.cuh"

template <class E, int D, int WARPS, bool FRESH>
__device__ __forceinline__ void decode(const Attention& p, const Fresh& f) {
  const int KB = (D + 31) / 32, VS = (D + 63) / 64;
  __shared__ __align__(16) float outputs[WARPS][HEADS][D];
  __shared__ float maxima[WARPS][HEADS], sums[WARPS][HEADS];
  __shared__ float factors[HEADS][MOST_SPLITS];
  __shared__ u32 arrived;
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, g = lane >> 2, q = lane & 3;
  letLaterBegin();
  // Every workgroup waits, because the kernel behind this one relies on all that came before.
  if (!FRESH) afterEarlier();
  const int query = blockIdx.z, split = blockIdx.x;
  if (query >= (int)p.plan[DECODES]) {
    if (FRESH) afterEarlier();
    return;
  }
  const u32* entry = p.plan + CONTENT + 3 * query;
  const u32 token = entry[0], row = entry[1];
  const int position = entry[2], splitKeys = p.plan[SPLIT_KEYS];
  const int first = p.window > 0 ? maximum(0, position + 1 - p.window) : 0;
  const int splits = (position + 1 - first + splitKeys - 1) / splitKeys;
  if (split >= splits) {
    if (FRESH) afterEarlier();
    return;
  }
  const int begin = first + split * splitKeys, end = minimum(begin + splitKeys, position + 1);
  const int perKv = p.numHeads / p.numKvHeads, blocks = (perKv + HEADS - 1) / HEADS;
  const int kvHead = blockIdx.y / blocks, of = blockIdx.y % blocks * HEADS, heads = minimum(HEADS, perKv - of);
  const int head = kvHead * perKv + of, headDim = FRESH ? D : p.headDim, pieces = headDim / 8;
  // Keys that are in pages; a fresh token's own is not.
  const int stored = FRESH ? minimum(end, position) : end;
  const float scale = p.scale * 1.4426950408889634f;
  const uint4 none = make_uint4(0, 0, 0, 0);

  // Lane i finds the place of the i-th of 16 keys; of some key, behind the last.
  auto slots = [&](int from) {
    return slotOf(p, row, maximum(minimum(from + (lane & 15), stored - 1), 0), kvHead);
  };
  uint4 key0[KB], key1[KB];
  auto loadKeys = [&](u32 places) {
    const u16* a = p.keys + (size_t)__shfl_sync(~0u, places, g) * 8 + q * 8;
    const u16* b = p.keys + (size_t)__shfl_sync(~0u, places, g + 8) * 8 + q * 8;
#pragma unroll
    for (int i = 0; i < KB; i++) {
      const bool inside = i * 4 + q < pieces;
      key0[i] = inside ? stream16(a + i * 32) : none, key1[i] = inside ? stream16(b + i * 32) : none;
    }
  };
  uint4 value[VS][4];
  // Values of key 2 q + (i & 1) + 8 (i >> 1).
  auto loadValues = [&](u32 places) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const u16* from = p.values + (size_t)__shfl_sync(~0u, places, 2 * q + (i & 1) + (i >> 1) * 8) * 8 + g * 8;
#pragma unroll
      for (int v = 0; v < VS; v++) value[v][i] = v * 8 + g < pieces ? stream16(from + v * 64) : none;
    }
  };
  int at = begin + warp * 16;
  u32 places = at < end ? slots(at) : 0;
  if (at < end) loadKeys(places), loadValues(places);
  uint4 query8[KB];
  if constexpr (FRESH) {
    afterEarlier();
    const u16* all = f.qkv + (size_t)token * (p.numHeads + 2 * p.numKvHeads) * D;
    rotated<E, D>(f, all + (head + minimum(g, heads - 1)) * D, f.qNorm, f.qEpsilon, position, q, query8);
    if (end > position && warp == (position - begin) / 16 % WARPS) {
      uint4 key[KB];
      const u16* from = all + (p.numHeads + kvHead) * D;
      rotated<E, D>(f, from, f.kNorm, f.kEpsilon, position, q, key);
      // A head's key, then its value, in eight lanes' pieces of 16 bytes a row of 128.
      uint4* own = (uint4*)outputs[warp];
      const size_t place = (size_t)slotOf(p, row, position, kvHead);
      if (g == 0) {
#pragma unroll
        for (int b = 0; b < KB; b++) {
          own[b * 4 + q] = key[b];
          if (of == 0) *((uint4*)p.keys + place + b * 4 + q) = key[b];
        }
      }
      if (lane < D / 8) {
        float x[8];
        unpack8(*(const uint4*)(from + p.numKvHeads * D + lane * 8), f.type, x);
        const uint4 v = pack8<E>(x);
        own[D / 8 + lane] = v;
        if (of == 0) *((uint4*)p.values + place + lane) = v;
      }
      __syncwarp();
    }
#pragma unroll
    for (int b = 0; b < KB; b++)
      if (g >= heads) query8[b] = none;
  } else {
#pragma unroll
    for (int b = 0; b < KB; b++)
      query8[b] =
          g < heads && b * 4 + q < pieces
              ? *(const uint4*)(p.queries + (size_t)token * p.queryStride + (head + g) * headDim + b * 32 + q * 8)
              : none;
  }
  float o[VS * 4][4] = {};
  float max0 = -1e30f, max1 = -1e30f, sum0 = 0, sum1 = 0;
  for (; at < end; at += WARPS * 16) {
    const int next = at + WARPS * 16;
    if (FRESH && end > position && at + 16 > position) {
      // The token's own key and value, and zeros behind them: nothing may be left of what is in free slots.
      const uint4* own = (const uint4*)outputs[warp];
#pragma unroll
      for (int b = 0; b < KB; b++) {
        if (at + g == position) key0[b] = own[b * 4 + q];
        if (at + g + 8 == position) key1[b] = own[b * 4 + q];
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int key = at + 2 * q + (i & 1) + (i >> 1) * 8;
#pragma unroll
        for (int v = 0; v < VS; v++)
          if (key >= position) value[v][i] = key == position ? own[D / 8 + v * 8 + g] : none;
      }
    }
    if (next < end) places = slots(next);
    float s[4] = {};
#pragma unroll
    for (int b = 0; b < KB; b++) {
      const u32 low[4] = {key0[b].x, key1[b].x, key0[b].y, key1[b].y},
                high[4] = {key0[b].z, key1[b].z, key0[b].w, key1[b].w};
      E::mma(s, low, query8[b].x, query8[b].y);
      E::mma(s, high, query8[b].z, query8[b].w);
    }
    if (next < end) loadKeys(places);
    // s: keys g and g + 8, heads 2 q and 2 q + 1.
    s[0] = at + g < end ? s[0] * scale : -1e30f, s[1] = at + g < end ? s[1] * scale : -1e30f;
    s[2] = at + g + 8 < end ? s[2] * scale : -1e30f, s[3] = at + g + 8 < end ? s[3] * scale : -1e30f;
    float top0 = fmaxf(s[0], s[2]), top1 = fmaxf(s[1], s[3]);
#pragma unroll
    for (int m = 4; m < 32; m *= 2) {
      top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, m));
      top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, m));
    }
    top0 = fmaxf(top0, max0), top1 = fmaxf(top1, max1);
    const float less0 = exp2Fast(max0 - top0), less1 = exp2Fast(max1 - top1);
    max0 = top0, max1 = top1;
    s[0] = exp2Fast(s[0] - top0), s[1] = exp2Fast(s[1] - top1), s[2] = exp2Fast(s[2] - top0),
    s[3] = exp2Fast(s[3] - top1);
    sum0 = sum0 * less0 + s[0] + s[2], sum1 = sum1 * less1 + s[1] + s[3];
    const u32 b0 = turned(E::packUnit(s[0], s[1])), b1 = turned(E::packUnit(s[2], s[3]));
#pragma unroll
    for (int v = 0; v < VS; v++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float(&c)[4] = o[v * 4 + j];
        c[0] *= less0, c[1] *= less1, c[2] *= less0, c[3] *= less1;
        const u32 w0 = wordOf(value[v][0], j), w1 = wordOf(value[v][1], j), w2 = wordOf(value[v][2], j),
                  w3 = wordOf(value[v][3], j);
        // Columns 8 g + 2 j and 8 g + 2 j + 1 of keys 2 q, 2 q + 1 and 2 q + 8, 2 q + 9.
        const u32 a[4] = {__byte_perm(w0, w1, 0x5410), __byte_perm(w0, w1, 0x7632), __byte_perm(w2, w3, 0x5410),
                          __byte_perm(w2, w3, 0x7632)};
        E::mma(c, a, b0, b1);
      }
    if (next < end) loadValues(places);
  }
#pragma unroll
  for (int m = 4; m < 32; m *= 2) sum0 += __shfl_xor_sync(~0u, sum0, m), sum1 += __shfl_xor_sync(~0u, sum1, m);
  if (g == 0)
    maxima[warp][2 * q] = max0, maxima[warp][2 * q + 1] = max1, sums[warp][2 * q] = sum0,
                     sums[warp][2 * q + 1] = sum1;
#pragma unroll
  for (int v = 0; v < VS; v++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int d = v * 64 + g * 8 + j * 2;
      if (d < D) {
        *(float2*)&outputs[warp][2 * q][d] = make_float2(o[v * 4 + j][0], o[v * 4 + j][2]);
        *(float2*)&outputs[warp][2 * q + 1][d] = make_float2(o[v * 4 + j][1], o[v * 4 + j][3]);
      }
    }
  finish(p, outputs, maxima, sums, factors, arrived, headDim, query, token, head, heads, split, splits);
}

#define DECODE(D, WARPS, BLOCKS)                                                                                     \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) decode_##D(const __grid_constant__ Attention p) { \
    decode<ELEMENT, D, WARPS, false>(p, Fresh());                                                                    \
  }
#define DECODE_FRESH(D, WARPS, BLOCKS)                                                                  \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS)                                      \
      decode_fresh_##D(const __grid_constant__ Attention p, const __grid_constant__ Fresh f) { \
    decode<ELEMENT, D, WARPS, true>(p, f);                                                              \
  }
// Heads of up to 64, 128 and 256 numbers, a multiple of 8.
DECODE(64, 4, 4)
DECODE(128, 4, 4)
DECODE(256, 4, 2)
DECODE_FRESH(64, 4, 4)
DECODE_FRESH(128, 4, 4)
