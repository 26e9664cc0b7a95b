// Attention of single queries over paged keys and values of eight bits: what decode.cu does, with bytes that become
// float16 in registers on their way into mma.sync.
//
// Grid as in decode.cu. Workgroup: WARPS warps that take KEYS keys each in turn and meet at the end. Memory: sixteen
// bytes of a key, or of a value (eight of narrow heads), are a load, and serve four products, or the columns of two;
// a byte becomes a number by one permutation and one subtraction for two of them (Kim et al. 2022, arXiv 2211.10017).
// Scores are multiplied by the scale of their key; weights by the scale of their value relative to a power of two, the
// greatest so far, by which outputs are multiplied at the end: weights stay within what float16 holds well. The next
// keys are on their way during the softmax, and their places are known one round ahead. Bound by reading keys and values.
#include "single.cuh"

// Words of a value that a lane loads.
template <int WORDS>
__device__ __forceinline__ void streamWords(u32 (&to)[WORDS], const void* from) {
  if constexpr (WORDS == 4) {
    const uint4 v = stream16(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    const uint2 v = stream8(from);
    to[0] = v.x, to[1] = v.y;
  }
}

template <int D, int WARPS, int TILES>
__device__ __forceinline__ void decode(const Attention& p) {
  // A lane has 16 numbers of a key in each of KC chunks, COLUMNS of a value in each of VC.
  const int KEYS = 16 * TILES, KC = D / 64;
  const int COLUMNS = D < 128 ? 8 : 16, WORDS = COLUMNS / 4, VC = D / (8 * COLUMNS);
  __shared__ float outputs[WARPS][HEADS][D];
  __shared__ float maxima[WARPS][HEADS], sums[WARPS][HEADS];
  __shared__ float factors[HEADS][MOST_SPLITS];
  __shared__ u32 arrived;
  const int t = threadIdx.x, lane = t & 31, warp = t >> 5, g = lane >> 2, q = lane & 3;
  letLaterBegin();
  afterEarlier();
  const int query = blockIdx.z, split = blockIdx.x;
  if (query >= (int)p.plan[DECODES]) return;
  const u32* entry = p.plan + CONTENT + 3 * query;
  const u32 token = entry[0], row = entry[1];
  const int position = entry[2], splitKeys = p.plan[SPLIT_KEYS];
  const int first = p.window > 0 ? maximum(0, position + 1 - p.window) : 0;
  const int splits = (position + 1 - first + splitKeys - 1) / splitKeys;
  if (split >= splits) return;
  const int begin = first + split * splitKeys, end = minimum(begin + splitKeys, position + 1);
  const int perKv = p.numHeads / p.numKvHeads, blocks = (perKv + HEADS - 1) / HEADS;
  const int kvHead = blockIdx.y / blocks, of = blockIdx.y % blocks * HEADS, heads = minimum(HEADS, perKv - of);
  const int head = kvHead * perKv + of, dim = p.headDim;
  const float scale = p.scale * 1.4426950408889634f;
  const uint4 none = make_uint4(0, 0, 0, 0);

  uint4 query8[KC][2];
#pragma unroll
  for (int b = 0; b < KC; b++)
#pragma unroll
    for (int i = 0; i < 2; i++)
      query8[b][i] = g < heads && b * 64 + q * 16 < dim
                         ? *(const uint4*)(p.queries + (size_t)token * p.queryStride + (head + g) * dim + b * 64 +
                                           q * 16 + i * 8)
                         : none;
  // A lane finds the place of one key.
  auto find = [&](int from) { return slotOf(p, row, minimum(from + lane % KEYS, end - 1), kvHead); };
  uint4 keys[TILES][2][KC];
  float2 scales = make_float2(0, 0);
  auto loadKeys = [&](u32 places) {
    scales = __ldg(p.scales + places);
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const Cached* from = p.keys + (size_t)__shfl_sync(~0u, places, tile * 16 + r * 8 + g) * dim + q * 16;
#pragma unroll
        for (int b = 0; b < KC; b++) keys[tile][r][b] = b * 64 + q * 16 < dim ? stream16(from + b * 64) : none;
      }
  };
  float o[VC][COLUMNS / 2][4] = {};
  float max0 = -1e30f, max1 = -1e30f, sum0 = 0, sum1 = 0;
  u32 unit = 0x0d800000u;  // the power of two, at least 2^-100
  const int step = WARPS * KEYS;
  int at = begin + warp * KEYS;
  u32 places = 0, ahead = 0;
  if (at < end) places = find(at), loadKeys(places);
  if (at + step < end) ahead = find(at + step);
  for (; at < end; at += step) {
    const int next = at + step;
    u32 values[TILES][4][VC][WORDS];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int key = tile * 16 + 2 * q + (i & 1) + (i >> 1) * 8;
        const Cached* from = p.values + (size_t)__shfl_sync(~0u, places, key) * dim + g * COLUMNS;
#pragma unroll
        for (int v = 0; v < VC; v++) {
          if (v * 8 * COLUMNS + g * COLUMNS < dim) {
            streamWords(values[tile][i][v], from + v * 8 * COLUMNS);
          } else {
#pragma unroll
            for (int j = 0; j < WORDS; j++) values[tile][i][v][j] = 0;
          }
        }
      }
    float s[TILES][4] = {};
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
      for (int b = 0; b < KC; b++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const u32 w0 = wordOf(keys[tile][0][b], j), w1 = wordOf(keys[tile][1][b], j);
          const u32 a[4] = {lowTwo(w0), lowTwo(w1), highTwo(w0), highTwo(w1)};
          const uint4& of8 = query8[b][j >> 1];
          F16::mma(s[tile], a, wordOf(of8, 2 * (j & 1)), wordOf(of8, 2 * (j & 1) + 1));
        }
    const float keyScale = scales.x * scale, valueScale = scales.y;
    if (next < end) loadKeys(ahead);
    places = ahead;
    if (next + step < end) ahead = find(next + step);
    // s: keys g and g + 8 of a tile, heads 2 q and 2 q + 1.
    float top0 = max0, top1 = max1;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const int key = tile * 16 + r * 8 + g;
        const float factor = __shfl_sync(~0u, keyScale, key);
        const bool seen = at + key < end;
        float &s0 = s[tile][2 * r], &s1 = s[tile][2 * r + 1];
        s0 = seen ? s0 * factor : -1e30f, s1 = seen ? s1 * factor : -1e30f;
        top0 = fmaxf(top0, s0), top1 = fmaxf(top1, s1);
      }
#pragma unroll
    for (int m = 4; m < 32; m *= 2) {
      top0 = fmaxf(top0, __shfl_xor_sync(~0u, top0, m));
      top1 = fmaxf(top1, __shfl_xor_sync(~0u, top1, m));
    }
    u32 greatest = __reduce_max_sync(~0u, __float_as_uint(valueScale) & 0x7f800000u);
    greatest = greatest > unit ? greatest : unit;
    const float perUnit = __uint_as_float((254u << 23) - greatest), change = __uint_as_float(unit) * perUnit;
    const float less0 = exp2Fast(max0 - top0), less1 = exp2Fast(max1 - top1);
    const float fewer0 = less0 * change, fewer1 = less1 * change, weightScale = valueScale * perUnit;
    unit = greatest, max0 = top0, max1 = top1, sum0 *= less0, sum1 *= less1;
#pragma unroll
    for (int v = 0; v < VC; v++)
#pragma unroll
      for (int j = 0; j < COLUMNS / 2; j++) {
        float(&c)[4] = o[v][j];
        c[0] *= fewer0, c[1] *= fewer1, c[2] *= fewer0, c[3] *= fewer1;
      }
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
      u32 weights[2];
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const float factor = __shfl_sync(~0u, weightScale, tile * 16 + r * 8 + g);
        const float p0 = exp2Fast(s[tile][2 * r] - top0), p1 = exp2Fast(s[tile][2 * r + 1] - top1);
        sum0 += p0, sum1 += p1;
        weights[r] = turned(F16::packUnit(p0 * factor, p1 * factor));
      }
#pragma unroll
      for (int v = 0; v < VC; v++)
#pragma unroll
        for (int j = 0; j < WORDS; j++) {
          const u32 w0 = values[tile][0][v][j], w1 = values[tile][1][v][j], w2 = values[tile][2][v][j],
                    w3 = values[tile][3][v][j];
          // Of keys 2 q, 2 q + 1 and 2 q + 8, 2 q + 9, the first two columns and the last two of four.
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const u32 which = half ? 0x7362 : 0x5140;
            const u32 near = __byte_perm(w0, w1, which), far = __byte_perm(w2, w3, which);
            const u32 a[4] = {lowTwo(near), highTwo(near), lowTwo(far), highTwo(far)};
            F16::mma(o[v][2 * j + half], a, weights[0], weights[1]);
          }
        }
    }
  }
#pragma unroll
  for (int m = 4; m < 32; m *= 2) sum0 += __shfl_xor_sync(~0u, sum0, m), sum1 += __shfl_xor_sync(~0u, sum1, m);
  if (g == 0)
    maxima[warp][2 * q] = max0, maxima[warp][2 * q + 1] = max1, sums[warp][2 * q] = sum0,
                     sums[warp][2 * q + 1] = sum1;
  const float times = __uint_as_float(unit);
#pragma unroll
  for (int v = 0; v < VC; v++)
#pragma unroll
    for (int j = 0; j < COLUMNS / 2; j++) {
      const int d = v * 8 * COLUMNS + g * COLUMNS + j * 2;
      const float(&c)[4] = o[v][j];
      *(float2*)&outputs[warp][2 * q][d] = make_float2(c[0] * times, c[2] * times);
      *(float2*)&outputs[warp][2 * q + 1][d] = make_float2(c[1] * times, c[3] * times);
    }
  finish(p, outputs, maxima, sums, factors, arrived, dim, query, token, head, heads, split, splits);
}

#define DECODE(D, WARPS, TILES, BLOCKS)                            \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) \
      decode_##D(const __grid_constant__ Attention p) {            \
    decode<D, WARPS, TILES>(p);                                    \
  }
// Heads of up to 64, 128 and 256 numbers, a multiple of 16. Three workgroups of heads of 128 on a multiprocessor: two,
// with a few registers more, are slower where rows are many.
DECODE(64, 4, 2, 4)
DECODE(128, 4, 2, 3)
DECODE(256, 4, 1, 1)
