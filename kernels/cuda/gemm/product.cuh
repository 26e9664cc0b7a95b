// What every tiled product is given, and what it does with its sums.
//
// output[t, n] = epilogue(Σ_k input[t, k] · weight[n, k] · scale[t] + bias[n]); input and weight are 16-bit floats of
// one kind, rows of K numbers (K a multiple of 8). Grouped products (experts) take a list of tiles instead of all
// rows.
#pragma once
#include "common.cuh"

enum Mode { STORE = 0, STORE_F32 = 1, ADD_F32 = 2, SILU_MUL = 3 };

struct Product {
  const unsigned char* weight;  // [experts][N] rows of weightStride bytes
  const u16* input;             // [T, K]
  void* output;                 // [T, outputStride]: 16-bit floats, or float32 for STORE_F32 and ADD_F32
  const float* bias;            // [N] or null
  const float* rowScale;        // [T] or null: what the sums of a row are multiplied by
  // Experts, else null: tiles[0] is the number of tiles, then (expert, first pair, pairs) each; order[i] is the pair
  // at place i, its token is pair / perToken.
  const u32* tiles;
  const u32* order;
  // Where several workgroups share a tile's sums: [tile][split][BM · BN] float32, and zeros that are zeros again
  // after.
  float* partials;
  u32* counters;
  int T, N, K;
  int outputStride;  // numbers
  int weightStride;  // bytes; of q8 rows numbers, scales behind them
  int mode;
  int splits;
  int perToken;  // gathers input row order[i] / perToken when positive, input row i when 0
  int scatter;   // output row order[i] when 1, i when 0
  int format;    // of weights of four and six bits, see planes.cuh
};

// A tile's rows: activation rows first … first + count − 1 (places in `order` for experts), weight rows from
// `weightRow`.
struct TileRows {
  int first, count, weightRow;
};

__device__ __forceinline__ bool tileRows(const Product& p, int tile, int BM, TileRows& rows) {
  if (p.tiles == nullptr) {
    rows = {tile * BM, minimum(BM, p.T - tile * BM), 0};
    return true;
  }
  if (tile >= (int)p.tiles[0]) return false;
  const u32* entry = p.tiles + 1 + 3 * tile;
  rows = {(int)entry[1], (int)entry[2], (int)entry[0] * p.N};
  return true;
}

// Weight row that stands at row r of a staged tile that begins at column n0 of the sums. For SiLU · mul, where
// weights are N/2 gate rows and N/2 up rows, each `group` rows are half gate rows and half up rows of the same
// results.
__device__ __forceinline__ int weightRowOf(const Product& p, int n0, int r, int group) {
  if (p.mode != SILU_MUL) return minimum(n0 + r, p.N - 1);
  const int half = group / 2, of = r / group, at = r % group, F = p.N / 2;
  const int result = minimum(n0 / 2 + of * half + at % half, F - 1);
  return at < half ? result : F + result;
}

// Four results, columns n … n + 3, of output row `row`; `columns` is the width of the output.
template <class E>
__device__ __forceinline__ void storeFour(const Product& p, int row, int n, int columns, float4 v) {
  const size_t at = (size_t)row * p.outputStride + n;
  const bool wide = n + 3 < columns && (p.outputStride & 3) == 0;
  if (p.mode == STORE || p.mode == SILU_MUL) {
    const u32 low = E::pack(v.x, v.y), high = E::pack(v.z, v.w);
    u16* o = (u16*)p.output + at;
    if (wide)
      *(uint2*)o = make_uint2(low, high);
    else
      for (int e = 0; e < minimum(4, columns - n); e++) o[e] = (u16)((e < 2 ? low : high) >> (16 * (e & 1)));
    return;
  }
  float* o = (float*)p.output + at;
  if (wide) {
    if (p.mode == ADD_F32) {
#if __CUDA_ARCH__ >= 900
      addFour(o, v);
      return;
#else
      const float4 old = *(const float4*)o;
      v.x += old.x, v.y += old.y, v.z += old.z, v.w += old.w;
#endif
    }
    *(float4*)o = v;
  } else {
    const float values[4] = {v.x, v.y, v.z, v.w};
    for (int e = 0; e < minimum(4, columns - n); e++) o[e] = p.mode == ADD_F32 ? o[e] + values[e] : values[e];
  }
}

// The bias of columns n … n + 3 of the sums, zero behind the last.
__device__ __forceinline__ float4 biasFour(const Product& p, int n, int end) {
  const float* b = p.bias + n;
  return make_float4(n < end ? b[0] : 0, n + 1 < end ? b[1] : 0, n + 2 < end ? b[2] : 0, n + 3 < end ? b[3] : 0);
}

// Stores `count` rows of staged sums (float32 in shared memory, rows of `stride`): the sums of columns n0 … n0 +
// width − 1. For SiLU · mul each `group` columns are half gate, half up. Called by `threads` threads; r0 is the rows'
// place in the tile.
template <class E, int WIDTH, int GROUP, bool paired>
__device__ __forceinline__ void storeStaged(const Product& p, const TileRows& rows, int r0, int count, int n0,
                                            const float* staged, int stride, int thread, int threads) {
  const int columns = paired ? p.N / 2 : p.N, quads = paired ? WIDTH / 8 : WIDTH / 4;
#pragma unroll 1
  for (int i = thread; i < count * quads; i += threads) {
    const int r = i / quads, q = (i % quads) * 4;
    if (r0 + r >= rows.count) break;
    const int n = paired ? n0 / 2 + q : n0 + q;
    if (n >= columns) continue;
    const int place = rows.first + r0 + r, row = p.scatter ? (int)p.order[place] : place;
    const float scale =
        p.rowScale == nullptr ? 1.0f : p.rowScale[p.perToken > 0 ? p.order[place] / p.perToken : place];
    const float* from = staged + r * stride + (paired ? q / (GROUP / 2) * GROUP + q % (GROUP / 2) : q);
    float4 v = *(const float4*)from;
    v.x *= scale, v.y *= scale, v.z *= scale, v.w *= scale;
    if (p.bias != nullptr) {
      const float4 b = biasFour(p, n, columns);
      v.x += b.x, v.y += b.y, v.z += b.z, v.w += b.w;
    }
    if (paired) {
      float4 u = *(const float4*)(from + GROUP / 2);
      u.x *= scale, u.y *= scale, u.z *= scale, u.w *= scale;
      if (p.bias != nullptr) {
        const float4 b = biasFour(p, columns + n, p.N);
        u.x += b.x, u.y += b.y, u.z += b.z, u.w += b.w;
      }
      v.x = silu(v.x) * u.x, v.y = silu(v.y) * u.y, v.z = silu(v.z) * u.z, v.w = silu(v.w) * u.w;
    }
    storeFour<E>(p, row, n, columns, v);
  }
}
